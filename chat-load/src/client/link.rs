//! A socket that takes all that is written to it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::Frames;

/// While more than this is unwritten, 1 MiB, pings are not answered: who asks without end and does not read gets no more
/// of our memory, and who reads hears from us without it.
const UNANSWERED_BYTES_MAX: usize = 1 << 20;

/// What the socket has not taken yet. Its bound is that of the messages that wait for acks; where there are none, whoever
/// talks looks at it.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    pub(crate) frames: Frames,
    unwritten: Vec<u8>,
}

impl Link {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, frames: Frames::default(), unwritten: Vec::new() }
    }

    /// Writes all of `bytes`, now or later. What the socket does not take at once goes out with
    /// [`poll_flush`](Self::poll_flush). An error is left for the next read to tell.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let taken = if self.unwritten.is_empty() { self.stream.try_write(bytes).unwrap_or(0) } else { 0 };
        self.unwritten.extend_from_slice(&bytes[taken..]);
    }

    /// How much the socket has not taken yet.
    pub(crate) const fn unwritten_bytes(&self) -> usize {
        self.unwritten.len()
    }

    pub(crate) const fn answers_pings(&self) -> bool {
        self.unwritten.len() <= UNANSWERED_BYTES_MAX
    }

    pub(crate) const fn is_flushed(&self) -> bool {
        self.unwritten.is_empty()
    }

    #[cfg(test)]
    pub(crate) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unwritten.is_empty() {
            let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unwritten))?;
            self.unwritten.drain(..taken);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads into `buffer`. A read that does not fill it says that there is no more for now, and spares the system call
    /// that would only say so.
    pub(crate) fn poll_read<'a>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &'a mut [u8],
    ) -> Poll<io::Result<&'a [u8]>> {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        let length = read.filled().len();
        Poll::Ready(Ok(&buffer[..length]))
    }
}
