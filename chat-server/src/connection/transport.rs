//! The byte stream under a connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::limits::SEND_BUFFER_BYTES;

/// What a connection asks of its stream beyond reading and writing. The defaults are right for any stream.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Sets the stream up, once, before it is used.
    fn tune(&self) {}

    /// Whether a read may find something. It saves the cost of a read that finds nothing: 829 → 482 ns a wake.
    ///
    /// A stream that buffers what it has read (TLS) must not answer by its socket.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// From now on dropping the stream frees what the kernel still holds for the peer, who sees a reset.
    fn reset_on_drop(&self) {}
}

impl Transport for TcpStream {
    fn tune(&self) {
        // A socket that refuses either still works.
        let _ = self.set_nodelay(true);
        let _ = socket2::SockRef::from(self).set_send_buffer_size(SEND_BUFFER_BYTES);
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error is found by the read that follows.
        self.poll_read_ready(cx).map(drop)
    }

    fn reset_on_drop(&self) {
        let _ = self.set_zero_linger();
    }
}

/// Whatever hyper upgraded, where it is no plain TCP stream: TLS, a Unix socket, an embedder's own.
pub(super) struct Opaque(TokioIo<Upgraded>);

impl Opaque {
    pub(super) fn new(upgraded: Upgraded) -> Self {
        Self(TokioIo::new(upgraded))
    }
}

impl Transport for Opaque {}

impl AsyncRead for Opaque {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Opaque {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
