//! The one writer of a socket.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{io::AsyncWrite, time::Instant};

use super::{gate::Gate, transport::Transport};
use crate::capacity;

/// What is on its way to the peer: a run of whole frames, and the control frames that wait in the [`Gate`].
///
/// A run is loaded only when no control byte waits, and control bytes go only when no run is under way: so each of
/// them begins where a frame has ended.
#[derive(Debug, Default)]
pub(super) struct Output {
    run: Bytes,
    /// How much of `run` the socket has taken.
    run_sent_bytes: usize,
    /// How much of the gate's control bytes the socket has taken.
    control_sent_bytes: usize,
    /// All of all runs that the socket ever took, and what went out of it later than it was taken.
    moved_bytes: u64,
    /// `None` while the socket takes something, or there is nothing for it; boxed, as that is nearly always.
    stall: Option<Box<Stall>>,
}

/// A time in which no byte moves.
#[derive(Debug)]
struct Stall {
    since: Instant,
    /// What the stream had sent when it began.
    sent_bytes: u64,
}

impl Output {
    /// Takes the next run, once [`poll_flush`](Self::poll_flush) was ready.
    pub(super) fn load(&mut self, run: Bytes) {
        debug_assert_eq!(self.run_sent_bytes, self.run.len(), "the run before is written");
        self.run = run;
        self.run_sent_bytes = 0;
    }

    /// Writes all there is; ready when nothing is left.
    pub(super) fn poll_flush<S: Transport>(
        &mut self,
        gate: &mut Gate<S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let flushed = self.poll_write_all(gate, cx);
        if flushed.is_pending() {
            self.note_stall(gate.stream().sent_bytes());
        }
        flushed
    }

    /// The socket takes nothing now. A stream that had taken more than it sent may have sent some of that: then the
    /// stall begins anew, and the peer has shown that it is there.
    fn note_stall(&mut self, sent_bytes: u64) {
        let before = self.stall.as_ref().map_or(sent_bytes, |stall| stall.sent_bytes);
        self.moved_bytes += sent_bytes - before;
        if self.stall.is_none() || sent_bytes != before {
            self.stall = Some(Box::new(Stall { since: Instant::now(), sent_bytes }));
        }
    }

    fn poll_write_all<S: Transport>(
        &mut self,
        gate: &mut Gate<S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let (stream, control) = gate.writer();
        if self.stall.is_some() {
            // What the stream took before goes first: else a ping that it takes on top would pass for a byte that moved.
            ready!(Pin::new(&mut *stream).poll_flush(cx))?;
        }
        while self.run_sent_bytes < self.run.len() {
            let written = ready!(poll_write_some(stream, cx, &self.run[self.run_sent_bytes..]))?;
            self.run_sent_bytes += written;
            self.moved_bytes += written as u64;
            self.stall = None;
        }
        self.run = Bytes::new();
        self.run_sent_bytes = 0;
        while self.control_sent_bytes < control.len() {
            self.control_sent_bytes +=
                ready!(poll_write_some(stream, cx, &control[self.control_sent_bytes..]))?;
            self.stall = None;
        }
        if self.control_sent_bytes > 0 {
            // Control frames are rare: between two of them nothing is kept.
            *control = Vec::new();
            self.control_sent_bytes = 0;
        }
        Pin::new(stream).poll_flush(cx)
    }

    /// Drops what has not begun: only the frame that is partly out remains, as its peer waits for the rest of it.
    pub(super) fn cut(&mut self) {
        let end = frame_end(&self.run, self.run_sent_bytes);
        self.run.truncate(end);
    }

    pub(super) const fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }

    /// Since when no byte moves to a peer for whom there are some.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stall.as_ref().map(|stall| stall.since)
    }
}

/// Writes once; a stream that takes nothing at all is broken.
fn poll_write_some<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(stream).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => {
            capacity::wrote(written);
            Poll::Ready(Ok(written))
        }
    }
}

/// The first end of a frame at or after `at` in a run of whole unmasked frames.
fn frame_end(run: &[u8], at: usize) -> usize {
    let mut end = 0;
    while end < at {
        end += frame_bytes(&run[end..]);
    }
    end
}

/// The length of the unmasked frame that `bytes` begins with (RFC 6455, section 5.2).
fn frame_bytes(bytes: &[u8]) -> usize {
    let (header, payload) = match bytes {
        [_, 126, high, low, ..] => (4, u64::from(u16::from_be_bytes([*high, *low]))),
        [_, 127, rest @ ..] => match rest.first_chunk() {
            Some(length) => (10, u64::from_be_bytes(*length)),
            None => return bytes.len(),
        },
        [_, length, ..] => (2, u64::from(*length)),
        _ => return bytes.len(),
    };
    usize::try_from(payload).map_or(bytes.len(), |payload| bytes.len().min(header + payload))
}

#[cfg(test)]
mod tests {
    use chat_core::protocol::codec::put_frame;

    use super::*;

    #[test]
    fn a_cut_run_ends_where_the_frame_under_way_ends() {
        let mut run = Vec::new();
        let mut ends = vec![0];
        for payload_bytes in [0, 5, 125, 126, 70_000, 1] {
            put_frame(&mut run, |out| out.resize(out.len() + payload_bytes, b'x'));
            ends.push(run.len());
        }
        for sent in 0..=run.len() {
            let mut output = Output { run: run.clone().into(), run_sent_bytes: sent, ..Output::default() };
            output.cut();
            let expected = ends.iter().copied().find(|end| *end >= sent).unwrap();
            assert_eq!(output.run.len(), expected, "after {sent} bytes");
        }
    }
}
