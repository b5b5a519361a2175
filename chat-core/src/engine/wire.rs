//! Connections for transports.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::Engine;
use crate::{
    ids::ConnId,
    protocol::{BadRequest, Codec, CommandError, CommandId, Request},
    rights::Identity,
    session::Session,
    sink::WireSink,
};

/// One connection of one user, for whoever owns the socket: text frames in, whole WebSocket frames out.
///
/// Dropping it is the end of the connection: the user leaves every room.
#[derive(Debug)]
pub struct WireSession {
    engine: Engine,
    session: Session,
    codec: Codec,
    drained: bool,
}

impl WireSession {
    pub(super) const fn new(engine: Engine, session: Session, codec: Codec) -> Self {
        Self { engine, session, codec, drained: false }
    }

    /// This connection's number, for logs.
    pub const fn conn(&self) -> ConnId {
        self.session.conn()
    }

    /// Whose connection it is.
    pub const fn who(&self) -> &Identity {
        self.session.who()
    }

    /// Whether another frame is welcome. While it is not, read nothing from the peer: [`WireSession::poll_bytes`] wakes
    /// its task when that may have changed.
    pub fn wants_input(&self) -> bool {
        self.session.wants_input()
    }

    /// Takes one text frame. What it leads to comes out of [`WireSession::poll_bytes`].
    pub fn handle_text(&mut self, text: &str) {
        self.handle_request(Request::decode(text));
    }

    /// Takes one command that the transport has read already, or what is wrong with it: so a transport can refuse a
    /// command ([`Request::refused`]), and the refusal still keeps its place among the replies.
    pub fn handle_request(&mut self, request: Result<Request, BadRequest>) {
        self.drained = false;
        self.session.handle_request(self.engine.inner.clock.now(), request);
    }

    /// Gives out `ok` or an error for a command that the transport has dealt with itself, as it does with
    /// [`Command::Auth`](crate::protocol::Command::Auth).
    pub fn answer(&mut self, id: Option<CommandId>, outcome: Result<(), CommandError>) {
        self.drained = false;
        self.session.answer(id, outcome);
    }

    /// The next run of whole frames, unmasked and with their headers: some
    /// [`Limits::flush_bytes`](crate::limits::Limits::flush_bytes) of them, as much as has gathered.
    ///
    /// Write all of it before anything else goes to the socket, then ask again, until it is pending.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        loop {
            // Whatever is new by itself rings: without a ring, a wake for another reason costs no look at the rooms.
            if self.drained && self.session.bell().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let mut sink = WireSink::new(self.codec, self.engine.limits().flush_bytes);
            self.session.drain(self.engine.inner.clock.now(), &mut sink);
            self.drained = self.session.is_drained();
            if let Some((bytes, messages)) = sink.finish() {
                self.engine.inner.hub.metrics.delivered(messages);
                return Poll::Ready(bytes);
            }
        }
    }

    /// Whether every frame taken has been answered, and the answers have been given out.
    pub const fn is_idle(&self) -> bool {
        self.drained && self.session.is_answered()
    }
}

impl Drop for WireSession {
    fn drop(&mut self) {
        self.session.close(self.engine.inner.clock.now());
    }
}
