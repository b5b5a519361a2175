//! A conversation behind a fence: its bugs end one connection and nothing else.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
};

use bytes::Bytes;
use chat_core::{
    ids::{ConnId, UserId},
    protocol::CloseCode,
};
use tokio::time::Instant;

use super::{Exit, conversation::Conversation};

/// A conversation that is dropped at the end or at its first panic, whichever comes first.
#[derive(Debug)]
pub(super) struct Fence<C>(Option<C>);

impl<C: Conversation> Fence<C> {
    pub(super) const fn new(conversation: C) -> Self {
        Self(Some(conversation))
    }

    pub(super) fn wants_input(&self) -> bool {
        self.0.as_ref().is_some_and(Conversation::wants_input)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.0.as_ref().is_none_or(Conversation::is_idle)
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        self.0.as_ref().and_then(Conversation::due_at)
    }

    pub(super) fn who(&self) -> Option<(ConnId, &UserId)> {
        self.0.as_ref().and_then(Conversation::who)
    }

    pub(super) fn handle_text(&mut self, text: &str) -> Result<(), Exit> {
        self.call(|conversation| conversation.handle_text(text))
    }

    pub(super) fn handle_binary(&mut self, bytes: &[u8]) -> Result<(), Exit> {
        self.call(|conversation| conversation.handle_binary(bytes))
    }

    pub(super) fn handle_time(&mut self, now: Instant) -> Result<(), Exit> {
        self.call(|conversation| conversation.handle_time(now))
    }

    pub(super) fn poll_progress(&mut self, cx: &mut Context<'_>) -> Result<(), Exit> {
        self.call(|conversation| conversation.poll_progress(cx))
    }

    pub(super) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Result<Poll<Bytes>, Exit> {
        self.call(|conversation| conversation.poll_bytes(cx))
    }

    /// Ends the conversation: the rooms of its user see it go now.
    pub(super) fn end(&mut self) {
        // A panic in its drop was reported by the panic hook; there is nothing left to end.
        let _ = catch_unwind(AssertUnwindSafe(|| self.0 = None));
    }

    fn call<T>(&mut self, f: impl FnOnce(&mut C) -> Result<T, Exit>) -> Result<T, Exit> {
        const BUG: Exit = Exit::Close(CloseCode::Internal);
        let conversation = self.0.as_mut().ok_or(BUG)?;
        // Unwind safe: a conversation that panicked is dropped, and never looked at again.
        if let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| f(conversation))) {
            return outcome;
        }
        self.end();
        Err(BUG)
    }
}
