//! Between the socket and tungstenite: what the peer sends goes through in whole steps, what tungstenite writes is held back.
//!
//! Frames to the reader are encoded once for everybody, so they do not go through tungstenite, which would copy each
//! into each connection's buffer. It still answers pings, and a pong that slipped into the middle of a half-written
//! frame would break the stream. So [`Gate`] only collects tungstenite's bytes; [`Output`](super::output::Output), the
//! one writer, puts them between two frames.
//!
//! Of what comes, tungstenite is handed no more than one frame at a time. So once it has told of a message it holds
//! nothing of the next, and between two messages there need be no tungstenite at all.

use std::{
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tungstenite::protocol::{CloseFrame, frame::Frame};

use super::frames::Frames;
use crate::limits::CONTROL_BYTES_MAX;

/// The stream as tungstenite may use it.
#[derive(Debug)]
pub(super) struct Gate<S> {
    stream: S,
    /// Whole control frames that wait for their place in the output.
    control: Vec<u8>,
    /// What was read and has had no turn yet.
    unread: Bytes,
    frames: Frames,
    /// All that was ever read.
    read_bytes: u64,
    message_bytes_max: u32,
    /// Whether tungstenite was told to come again: nothing else will wake it.
    refused: bool,
    /// Whether our close frame is queued: after it nothing may follow.
    closed: bool,
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
    pub(super) fn new(stream: S, part: Bytes, message_bytes_max: u32) -> Self {
        Self {
            stream,
            control: Vec::new(),
            read_bytes: part.len() as u64,
            unread: part,
            frames: Frames::default(),
            message_bytes_max,
            refused: false,
            closed: false,
            fault: None,
        }
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

    /// Whether tungstenite must write again, now that its bytes may have room. Asking forgets it.
    pub(super) fn take_refused(&mut self) -> bool {
        self.control.len() < CONTROL_BYTES_MAX && std::mem::take(&mut self.refused)
    }

    /// Whether tungstenite holds bytes that were refused.
    pub(super) const fn has_refused(&self) -> bool {
        self.refused
    }

    /// Takes what was read and has had no turn yet.
    pub(super) fn take_unread(&mut self) -> Bytes {
        std::mem::take(&mut self.unread)
    }

    /// Keeps what has had no turn yet.
    pub(super) fn keep_unread(&mut self, bytes: Bytes) {
        self.unread = bytes;
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

    /// Hands on what `bytes` begin with: some of one frame, or all of it.
    fn hand_on(&mut self, bytes: &mut &[u8], buf: &mut [u8]) -> io::Result<usize> {
        let most = bytes.len().min(buf.len());
        let followed = self.frames.follow(&bytes[..most]);
        self.fault = match followed {
            Err(_overlong) => Some(Fault::Malformed),
            Ok(_) if self.frames.message_bytes() > self.message_bytes_max.into() => Some(Fault::Overrun),
            Ok(_) => self.fault,
        };
        let (Ok(handed), None) = (followed, self.fault) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let (now, later) = bytes.split_at(handed);
        buf[..handed].copy_from_slice(now);
        *bytes = later;
        Ok(handed)
    }
}

impl<S: AsyncRead + Unpin> Gate<S> {
    /// Reads from the stream once.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.read_bytes += (buf.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

/// Bytes that were read, on their way through a gate: what tungstenite takes for its socket.
#[derive(Debug)]
pub(super) struct Passage<'a, S> {
    pub(super) gate: &'a mut Gate<S>,
    /// What is not handed on yet.
    pub(super) bytes: &'a [u8],
}

impl<S> Read for Passage<'_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.gate.hand_on(&mut self.bytes, buf)
    }
}

impl<S> Write for Passage<'_, S> {
    /// Takes all or nothing: so `control` always holds whole frames.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let gate = &mut *self.gate;
        if gate.closed {
            return Ok(buf.len());
        }
        if gate.control.len() >= CONTROL_BYTES_MAX {
            gate.refused = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        gate.control.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
