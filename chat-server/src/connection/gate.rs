//! tungstenite's view of the socket: it reads through, but what it writes is held back.
//!
//! Frames to the reader are encoded once for everybody, so they do not go through tungstenite, which would copy each
//! into each connection's buffer. It still answers pings, and a pong that slipped into the middle of a half-written
//! frame would break the stream. So [`Gate`] only collects tungstenite's bytes; [`Output`](super::output::Output), the
//! one writer, puts them between two frames.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::Frame};

use super::frames::Frames;
use crate::limits::CONTROL_BYTES_MAX;

/// The stream as tungstenite may use it.
#[derive(Debug)]
pub(super) struct Gate<S> {
    stream: S,
    /// Whole control frames that wait for their place in the output.
    control: Vec<u8>,
    /// Whether tungstenite was told to come again: nothing else will wake it.
    refused: bool,
    /// Whether our close frame is queued: after it nothing may follow.
    closed: bool,
    /// All that was ever read.
    read_bytes: u64,
    frames: Frames,
    message_bytes_max: usize,
    /// Why reading fails from now on.
    fault: Option<Fault>,
}

/// What tungstenite would let pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A message takes too many bytes on the wire.
    Overrun,
    /// A frame that breaks RFC 6455.
    Malformed,
}

impl<S> Gate<S> {
    /// A stream from which `part` was read already. Reading fails once more than `message_bytes_max` went into one
    /// message.
    pub(super) fn new(stream: S, part: &[u8], message_bytes_max: usize) -> Self {
        let mut gate = Self {
            stream,
            control: Vec::new(),
            refused: false,
            closed: false,
            read_bytes: 0,
            frames: Frames::default(),
            message_bytes_max,
            fault: None,
        };
        gate.follow(part);
        gate
    }

    pub(super) const fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream and the control frames that wait, for the one writer.
    pub(super) const fn writer(&mut self) -> (&mut S, &mut Vec<u8>) {
        (&mut self.stream, &mut self.control)
    }

    /// Queues a ping of our own.
    pub(super) fn ping(&mut self) {
        self.queue(Frame::ping(Bytes::new()));
    }

    /// Queues the close frame. It is the last: what tungstenite still wants to say, its own close frame among it, is
    /// dropped.
    pub(super) fn close(&mut self, frame: Option<CloseFrame>) {
        self.queue(Frame::close(frame));
        self.closed = true;
    }

    fn queue(&mut self, frame: Frame) {
        if self.closed {
            return;
        }
        frame.format(&mut self.control).expect("a Vec takes every write");
    }

    /// Whether tungstenite must be polled again, now that its bytes may have room. Asking forgets it.
    pub(super) fn take_refused(&mut self) -> bool {
        self.control.len() < CONTROL_BYTES_MAX && std::mem::take(&mut self.refused)
    }

    pub(super) const fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Whether a message, or a frame of any kind, has begun and not ended.
    pub(super) const fn is_unfinished(&self) -> bool {
        self.frames.is_unfinished()
    }

    /// Why reading fails.
    pub(super) const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    fn follow(&mut self, bytes: &[u8]) {
        let followed = self.frames.follow(bytes);
        self.fault = match followed {
            Err(_overlong) => Some(Fault::Malformed),
            Ok(()) if self.frames.message_bytes() > self.message_bytes_max => Some(Fault::Overrun),
            Ok(()) => self.fault,
        };
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.fault.is_none() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            let read = &buf.filled()[before..];
            self.read_bytes += read.len() as u64;
            self.follow(read);
        }
        Poll::Ready(if self.fault.is_some() { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) })
    }
}

impl<S: Unpin> AsyncWrite for Gate<S> {
    /// Takes all or nothing: so `control` always holds whole frames.
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.closed {
            return Poll::Ready(Ok(buf.len()));
        }
        if self.control.len() >= CONTROL_BYTES_MAX {
            self.refused = true;
            return Poll::Pending;
        }
        self.control.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
