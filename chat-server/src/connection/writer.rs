//! The one writer by itself, over a socket that takes what it is told to.

use std::{
    collections::VecDeque,
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::CloseFrame;

use super::{
    gate::{Gate, Passage},
    output::Output,
    transport::Transport,
};

/// What writes to a socket, without sessions and tasks: runs of frames, and between them control frames.
///
/// Nothing here decides anything: each function does what a connection does at that moment.
#[derive(Debug)]
pub struct Writer {
    output: Output,
    gate: Gate<Socket>,
    is_idle: bool,
}

impl Default for Writer {
    fn default() -> Self {
        Self { output: Output::default(), gate: Gate::new(Socket::default(), Bytes::new(), 0), is_idle: true }
    }
}

impl Writer {
    /// Whether all is written: then the next run may be loaded.
    pub const fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Takes the next run of whole frames. It must be idle.
    pub fn load(&mut self, run: Bytes) {
        self.output.load(run);
        self.is_idle = false;
    }

    /// A ping of ours is due.
    pub fn ping(&mut self) {
        self.gate.ping();
        self.is_idle = false;
    }

    /// tungstenite answers a ping, with at most 125 bytes. Whether there was room for it.
    pub fn pong(&mut self, payload: &[u8]) -> bool {
        let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
        let bytes = [&[0x8a, length], payload].concat();
        let taken = Passage { gate: &mut self.gate, bytes: &[] }.write(&bytes);
        self.is_idle = false;
        taken.is_ok()
    }

    /// The connection ends, with at most 123 bytes of a reason: what has not begun is not written any more.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.output.cut();
        self.gate.close(Some(CloseFrame { code: code.into(), reason: reason.into() }));
        self.is_idle = false;
    }

    /// Writes while the socket takes something: as many bytes as each of `takes` says, in one write each, and none
    /// where it says 0. Then it takes no more.
    ///
    /// # Errors
    /// Those of the socket, which has none.
    pub fn flush(&mut self, takes: &[usize]) -> io::Result<()> {
        let (socket, _) = self.gate.writer();
        socket.takes = takes.iter().copied().collect();
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(done) = self.output.poll_flush(&mut self.gate, &mut cx) {
                self.is_idle = true;
                return done;
            }
            // The socket says that it is ready again, as long as it will take something.
            if self.gate.stream().takes.is_empty() {
                return Ok(());
            }
        }
    }

    /// Everything that the socket has taken.
    pub fn written(&self) -> &[u8] {
        &self.gate.stream().taken
    }
}

#[derive(Debug, Default)]
struct Socket {
    taken: Vec<u8>,
    takes: VecDeque<usize>,
}

impl Transport for Socket {}

impl AsyncRead for Socket {
    /// Its peer says nothing.
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.takes.pop_front() {
            None | Some(0) => Poll::Pending,
            Some(most) => {
                let part = buf.get(..most).unwrap_or(buf);
                self.taken.extend_from_slice(part);
                Poll::Ready(Ok(part.len()))
            }
        }
    }

    /// A socket under TLS may have to wait here too.
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.takes.front() == Some(&0) {
            self.takes.pop_front();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
