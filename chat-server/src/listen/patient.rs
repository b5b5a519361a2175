//! Patience with whoever asks and does not read the answer.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::{connection::transport::Transport, limits::STALL_MAX};

/// A stream on which writing fails once no byte has moved for [`STALL_MAX`]. hyper bounds how long a request may
/// take, but not how long its answer: a peer that never reads would hold its connection for ever.
///
/// A WebSocket has its own rule, and gets the stream back.
#[derive(Debug)]
pub(crate) struct Patient<S> {
    stream: S,
    /// `None` while bytes move.
    stall: Option<Stall>,
}

/// A time in which no byte moves.
#[derive(Debug)]
struct Stall {
    /// What the stream had sent when it began.
    sent_bytes: u64,
    /// Goes off when it is too late.
    until: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, stall: None }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: Transport> Patient<S> {
    /// Bounds the time for which writing is pending. What TLS took but did not send has not moved; what it sends of that
    /// later has.
    fn bound<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let sent_bytes = self.stream.sent_bytes();
        if written.is_ready() {
            // A stream that does not count sends what it takes.
            self.stall.take_if(|stall| sent_bytes == 0 || sent_bytes != stall.sent_bytes);
            return written;
        }
        let stall = match &mut self.stall {
            Some(stall) if stall.sent_bytes == sent_bytes => stall,
            stall => stall.insert(Stall { sent_bytes, until: Box::pin(sleep(STALL_MAX)) }),
        };
        stall.until.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: Transport> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bound(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bound(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.bound(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bound(cx, shut)
    }
}
