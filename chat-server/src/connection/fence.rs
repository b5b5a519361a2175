//! A session behind a fence: its bugs end one connection and nothing else.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
};

use bytes::Bytes;
use chat_core::WireSession;

/// The session's code panicked; it is never called again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panicked;

/// A session that is dropped at the end or at its first panic, whichever comes first.
#[derive(Debug)]
pub(super) struct Fence(Option<WireSession>);

impl Fence {
    pub(super) const fn new(session: WireSession) -> Self {
        Self(Some(session))
    }

    pub(super) fn wants_input(&self) -> bool {
        self.0.as_ref().is_some_and(WireSession::wants_input)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.0.as_ref().is_none_or(WireSession::is_idle)
    }

    pub(super) fn handle_text(&mut self, text: &str) -> Result<(), Panicked> {
        self.call(|session| session.handle_text(text))
    }

    pub(super) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Result<Poll<Bytes>, Panicked> {
        self.call(|session| session.poll_bytes(cx))
    }

    /// Detaches the session: its rooms see it go now.
    pub(super) fn end(&mut self) {
        // A panic in its drop was reported by the panic hook; there is nothing left to end.
        let _ = catch_unwind(AssertUnwindSafe(|| self.0 = None));
    }

    fn call<T>(&mut self, f: impl FnOnce(&mut WireSession) -> T) -> Result<T, Panicked> {
        let session = self.0.as_mut().ok_or(Panicked)?;
        // Unwind safe: a session that panicked is dropped, and never looked at again.
        if let Ok(value) = catch_unwind(AssertUnwindSafe(|| f(session))) {
            return Ok(value);
        }
        self.end();
        Err(Panicked)
    }
}
