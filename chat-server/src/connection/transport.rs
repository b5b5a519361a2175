//! The byte stream under a connection.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::limits::SEND_BUFFER_BYTES;

/// What a connection asks of its stream beyond reading and writing. The defaults are right for any stream.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Sets the stream up, before it is used. A second time changes nothing.
    fn tune(&self) {}

    /// All bytes that ever went out to the network, of a stream that takes more than it passes on (TLS). Of one that
    /// does not, what it takes is what moves, and it need not count: 0.
    fn sent_bytes(&self) -> u64 {
        0
    }

    /// Whether bytes of the peer are known to wait in the kernel, of which the runtime need not have heard yet.
    fn has_unread(&self) -> bool {
        false
    }

    /// Whether the peer is known to send no more, also where bytes of its wait to be read. False where that cannot be
    /// told.
    fn is_shut_by_peer(&self) -> bool {
        false
    }

    /// Whether a peer that hears of the end of our side gives up its own too. Many do under TLS: their close frame can
    /// be sent no more then, and some take ours for lost.
    fn ends_both_sides_at_once(&self) -> bool {
        false
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

    fn has_unread(&self) -> bool {
        // The runtime's sockets do not block: where nothing is there, this is an error.
        let peeked = socket2::SockRef::from(self).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_ok_and(|bytes| bytes > 0)
    }

    fn is_shut_by_peer(&self) -> bool {
        // With bytes unread it is readable too, so this has an answer at once.
        let ready = self.ready(Interest::READABLE).now_or_never();
        ready.and_then(Result::ok).is_some_and(tokio::io::Ready::is_read_closed)
    }

    fn reset_on_drop(&self) {
        let _ = self.set_zero_linger();
    }
}

/// A stream that counts what it sends: TLS above it takes more than it passes on at once.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    stream: S,
    sent_bytes: u64,
}

impl<S> Counted<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, sent_bytes: 0 }
    }

    fn count(&mut self, sent: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &sent {
            self.sent_bytes += *bytes as u64;
        }
        sent
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.count(sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.count(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: Transport> Transport for TlsStream<Counted<S>> {
    fn tune(&self) {
        self.get_ref().0.stream.tune();
    }

    fn sent_bytes(&self) -> u64 {
        self.get_ref().0.sent_bytes
    }

    fn has_unread(&self) -> bool {
        self.get_ref().0.stream.has_unread()
    }

    fn is_shut_by_peer(&self) -> bool {
        self.get_ref().0.stream.is_shut_by_peer()
    }

    fn ends_both_sides_at_once(&self) -> bool {
        true
    }

    fn reset_on_drop(&self) {
        self.get_ref().0.stream.reset_on_drop();
    }
}

/// What hyper upgraded, if it is an `S`: the stream itself and what was read from it already. It is as hyper has it, or
/// wrapped once more by hyper-util, as `axum::serve` does.
///
/// The bytes are copied: hyper's would keep its whole read buffer, 8 KiB a connection.
pub(super) fn take<S>(upgraded: Upgraded) -> Result<(S, Bytes), Upgraded>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match upgraded.downcast::<TokioIo<S>>() {
        Ok(parts) => Ok((parts.io.into_inner(), Bytes::copy_from_slice(&parts.read_buf))),
        Err(upgraded) => hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<S>>(upgraded)
            .map(|parts| (parts.io.into_inner(), Bytes::copy_from_slice(&parts.read_buf))),
    }
}

/// Whatever hyper upgraded, where it is no stream of ours: a Unix socket, an embedder's own.
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
