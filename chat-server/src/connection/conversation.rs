//! What a connection needs of whoever its peer talks to.

use std::task::{Context, Poll};

use bytes::Bytes;
use chat_core::{
    ids::{ConnId, UserId},
    protocol::CloseCode,
};
use tokio::time::Instant;

use super::Exit;

/// The other side of a connection: messages go in, runs of whole frames come out.
///
/// An `Err` ends the connection.
pub(super) trait Conversation: Send + Unpin + 'static {
    /// Whether another message is welcome. While it is not, nothing is read; [`poll_bytes`](Self::poll_bytes) wakes the
    /// task when that may have changed.
    fn wants_input(&self) -> bool;

    /// Takes one message.
    fn handle_text(&mut self, text: &str) -> Result<(), Exit>;

    /// Takes one binary message. There is none in any protocol of ours.
    fn handle_binary(&mut self, bytes: &[u8]) -> Result<(), Exit> {
        let _ = bytes;
        Err(Exit::Close(CloseCode::Unsupported))
    }

    /// Goes on with what needs no room in the output; it wakes the task when there is more to do.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Result<(), Exit> {
        let _ = cx;
        Ok(())
    }

    /// The next run of whole frames, unmasked and with their headers.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Result<Poll<Bytes>, Exit>;

    /// Whether all that came has been answered, and the answers have been given out.
    fn is_idle(&self) -> bool;

    /// When [`handle_time`](Self::handle_time) is to be called next, if at all. It may change with every other call.
    fn due_at(&self) -> Option<Instant>;

    /// Time has passed.
    fn handle_time(&mut self, now: Instant) -> Result<(), Exit>;

    /// Whose connection it is, once that is known; for the log.
    fn who(&self) -> Option<(ConnId, &UserId)>;
}
