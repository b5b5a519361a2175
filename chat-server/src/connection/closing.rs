//! The orderly end of a connection.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use chat_core::protocol::CloseCode;
use tokio::time::Instant;
use tungstenite::protocol::CloseFrame;

use super::{Connection, Phase, conversation::Conversation, transport::Transport};
use crate::limits::{ANSWER_WAIT_MAX, CLOSE_WAIT_MAX, FIN_WAIT_MAX};

/// The other end of a connection that is being closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// It may still send, its own close frame for example.
    Open,
    /// It has shut its side too, or is gone.
    Closed,
}

/// The steps of an orderly end (RFC 6455, section 7.1.1), in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClosingStep {
    Flush,
    /// The peer's close frame is waited for, where the end of our side would cut it off.
    AwaitAnswer,
    Shutdown,
    AwaitPeer,
}

impl<S: Transport, C: Conversation> Connection<S, C> {
    pub(super) fn close(&mut self, code: CloseCode) {
        let frame = CloseFrame { code: code.number().into(), reason: code.reason().into() };
        self.begin_close(code, Some(frame));
    }

    /// The peer has closed, with `frame`. Where that had a code that nobody may send, tungstenite put 1002 in its place.
    pub(super) fn answer_close(&mut self, frame: Option<CloseFrame>) {
        let is_fault =
            frame.as_ref().is_some_and(|frame| u16::from(frame.code) == CloseCode::Protocol.number());
        self.begin_close(if is_fault { CloseCode::Protocol } else { CloseCode::Normal }, frame);
    }

    /// Begins the end: the user goes now, the peer gets the rest of the frame under way, then `frame`.
    fn begin_close(&mut self, why: CloseCode, frame: Option<CloseFrame>) {
        self.open.ends_with(why);
        self.conversation.end();
        self.output.cut();
        self.input.gate().close(frame);
        let wait = Instant::now() + CLOSE_WAIT_MAX;
        let end_by = self.lifecycle.drain_times().map_or(wait, |drain| wait.min(drain.end_by));
        self.alarm.set(end_by);
        self.phase = Phase::Closing { step: ClosingStep::Flush, peer: Peer::Open, end_by };
    }

    pub(super) fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Phase::Closing { step, peer, end_by } = &mut self.phase else { return Poll::Pending };
        if *peer == Peer::Open && self.input.poll_peer_closed(cx).is_ready() {
            *peer = Peer::Closed;
        }
        if self.alarm.poll(cx).is_ready() {
            if *step == ClosingStep::AwaitAnswer && Instant::now() < *end_by {
                *step = ClosingStep::Shutdown;
                self.alarm.set(*end_by);
                return self.poll_closing(cx);
            }
            // What the socket did not take it never will: without a reset the kernel would go on trying.
            if matches!(step, ClosingStep::Flush | ClosingStep::Shutdown) {
                self.input.gate().stream().reset_on_drop();
            }
            return Poll::Ready(());
        }
        if *step == ClosingStep::Flush {
            if ready!(self.output.poll_flush(self.input.gate(), cx)).is_err() {
                return Poll::Ready(());
            }
            *step = ClosingStep::AwaitAnswer;
        }
        if *step == ClosingStep::AwaitAnswer {
            let ends_both = self.input.gate().stream().ends_both_sides_at_once();
            if ends_both && *peer == Peer::Open && !self.input.has_close_frame() {
                let is_moved = self.alarm.no_later_than(Instant::now() + ANSWER_WAIT_MAX);
                return if is_moved { self.poll_closing(cx) } else { Poll::Pending };
            }
            *step = ClosingStep::Shutdown;
            self.alarm.set(*end_by);
        }
        if *step == ClosingStep::Shutdown {
            let (stream, _) = self.input.gate().writer();
            if ready!(Pin::new(stream).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            *step = ClosingStep::AwaitPeer;
        }
        if *peer == Peer::Closed {
            return Poll::Ready(());
        }
        // All is said on both sides: only the peer's FIN is missing, and some never send it.
        if self.input.has_close_frame() && self.alarm.no_later_than(Instant::now() + FIN_WAIT_MAX) {
            return self.poll_closing(cx);
        }
        Poll::Pending
    }
}
