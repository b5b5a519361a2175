//! The reading side of a connection.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use chat_core::protocol::CloseCode;
use futures_util::StreamExt;
use tokio::{io::ReadBuf, time::Instant};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        error::ProtocolError,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    Exit,
    gate::{Fault, Gate},
    pace::Pace,
    transport::Transport,
};
use crate::limits::{CONTROL_BYTES_MAX, DISCARD_BYTES, FRAGMENTATION_MAX, READ_BYTES};

/// A whole message.
#[derive(Debug)]
pub(super) enum Received {
    Text(Utf8Bytes),
    Binary(Bytes),
}

/// Whether tungstenite still looks for frames in what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FramesLeft {
    Some,
    /// The peer has sent its last.
    NoneAfterClose,
    /// tungstenite failed on what came.
    NoneAfterFault,
}

/// The messages of one peer, read by tungstenite.
#[derive(Debug)]
pub(super) struct Input<S> {
    socket: WebSocketStream<Gate<S>>,
    /// Whether the stream had no more bytes when it was last read. Only then does tungstenite hold no whole message.
    dry: bool,
    /// Since when a message, or a frame, has begun and not ended.
    unfinished_since: Option<Instant>,
    control_pace: Pace,
    frames: FramesLeft,
}

impl<S: Transport> Input<S> {
    /// Reads `part` first: what came together with the request.
    pub(super) async fn new(stream: S, part: Vec<u8>, message_bytes_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max))
            // tungstenite writes pongs only, and those at once.
            .write_buffer_size(0)
            .max_write_buffer_size(CONTROL_BYTES_MAX);
        let gate = Gate::new(stream, &part, message_bytes_max.saturating_mul(FRAGMENTATION_MAX));
        // Like every other read, the first counts for nothing where it has what tungstenite would let pass.
        let part = if gate.fault().is_some() { Vec::new() } else { part };
        let socket = WebSocketStream::from_partially_read(gate, part, Role::Server, Some(config)).await;
        Self {
            socket,
            dry: false,
            unfinished_since: None,
            control_pace: Pace::of_control_frames(),
            frames: FramesLeft::Some,
        }
    }

    pub(super) fn gate(&mut self) -> &mut Gate<S> {
        self.socket.get_mut()
    }

    pub(super) const fn unfinished_since(&self) -> Option<Instant> {
        self.unfinished_since
    }

    /// The next message; pings and pongs are dealt with on the way.
    pub(super) fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Exit>> {
        loop {
            let message = match ready!(self.poll_message(cx)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(Err(self.exit_after(&error))),
                None => return Poll::Ready(Err(Exit::Gone)),
            };
            let received = match message {
                Message::Text(text) => Received::Text(text),
                Message::Binary(bytes) => Received::Binary(bytes),
                Message::Ping(_) | Message::Pong(_) => {
                    if !self.control_pace.allows() {
                        return Poll::Ready(Err(Exit::Close(CloseCode::Policy)));
                    }
                    continue;
                }
                Message::Close(frame) => {
                    self.frames = FramesLeft::NoneAfterClose;
                    return Poll::Ready(Err(Exit::Answer(frame)));
                }
                // tungstenite reads none of these.
                Message::Frame(_) => return Poll::Ready(Err(Exit::Close(CloseCode::Unsupported))),
            };
            self.unfinished_since = None;
            return Poll::Ready(Ok(received));
        }
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        if self.dry {
            ready!(self.gate().stream().poll_readable(cx));
        }
        // A pong is queued by one read and written by the next: so it is always read until there is nothing more.
        let message = self.socket.poll_next_unpin(cx);
        self.dry = message.is_pending();
        if self.dry {
            let since =
                self.gate().is_unfinished().then(|| self.unfinished_since.unwrap_or_else(Instant::now));
            self.unfinished_since = since;
        }
        message
    }

    fn exit_after(&mut self, error: &Error) -> Exit {
        self.frames = FramesLeft::NoneAfterFault;
        match error {
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Exit::Gone,
            Error::Protocol(_) => Exit::Close(CloseCode::Protocol),
            Error::Utf8(_) => Exit::Close(CloseCode::BadUtf8),
            Error::Capacity(_) => Exit::Close(CloseCode::TooLarge),
            _ => match self.gate().fault() {
                Some(Fault::Overrun) => Exit::Close(CloseCode::Policy),
                Some(Fault::Malformed) => Exit::Close(CloseCode::Protocol),
                None => Exit::Gone,
            },
        }
    }

    /// Nothing is read for now: the time that this takes is not the peer's.
    pub(super) const fn pause(&mut self) {
        self.unfinished_since = None;
    }

    /// Whether [`poll_received`](Self::poll_received) must be called again, as pongs now have room that had none.
    pub(super) fn is_owed_a_poll(&mut self) -> bool {
        let owed = self.gate().take_refused();
        self.dry &= !owed;
        owed
    }

    /// Whether the peer has sent its close frame, after which it may send nothing.
    pub(super) fn has_close_frame(&self) -> bool {
        self.frames == FramesLeft::NoneAfterClose
    }

    /// Reads on, after the last message that counts; ready once the peer has shut its side too, or just gone.
    ///
    /// A socket that is closed with bytes unread resets the connection, and the peer may lose our close frame.
    pub(super) fn poll_peer_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.frames == FramesLeft::Some {
            match ready!(self.socket.poll_next_unpin(cx)) {
                None => return Poll::Ready(()),
                Some(Ok(Message::Close(_))) => self.frames = FramesLeft::NoneAfterClose,
                Some(Err(_)) => self.frames = FramesLeft::NoneAfterFault,
                Some(Ok(_)) => {}
            }
        }
        let (stream, _) = self.gate().writer();
        let mut bytes = [0; DISCARD_BYTES];
        loop {
            let mut buf = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}
