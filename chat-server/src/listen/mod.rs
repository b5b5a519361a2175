//! Accepting connections and speaking HTTP on them.

mod patient;

use std::{convert::Infallible, future::Future, io, net::SocketAddr, pin::pin, sync::Arc};

use axum::{
    Router,
    extract::ConnectInfo,
    http::header::STRICT_TRANSPORT_SECURITY,
    response::{IntoResponse, Response},
};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::server::TlsStream;
use tower::Service;

pub(crate) use self::patient::Patient;
use crate::{
    admission::{Admission, Full, Permit},
    connection::transport::{Counted, Transport},
    headers,
    lifecycle::Lifecycle,
    limits::{ACCEPT_PAUSE, HEAD_BYTES_MAX, HEAD_WAIT_MAX, HEADERS_MAX, TLS_HANDSHAKE_WAIT_MAX},
    origin::Scheme,
    peer::Proxies,
    refusal::Refusals,
    seldom::Seldom,
    target,
    tls::Tls,
};

/// What stands behind a listening address. A clone is the same.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) app: Router,
    pub(crate) admission: Admission,
    pub(crate) proxies: Proxies,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) tls: Option<Tls>,
}

/// Lets whoever connects in, until `shutdown` is ready.
pub(crate) async fn accept(listener: TcpListener, door: Door, shutdown: impl Future<Output = ()>) {
    let refusals = Refusals::default();
    let mut failures = Seldom::default();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match door.admit(peer) {
                Ok(permit) => door.lifecycle.spawn(door.clone().serve(stream, peer, permit)),
                // A handshake to say so would cost more than the connection.
                Err(_full) if door.tls.is_some() => {}
                Err(full) => refusals.refuse(stream, full, &door.lifecycle),
            },
            Err(error) if is_of_peer(&error) => {}
            Err(error) => {
                // The connection waits in the kernel's queue, so the next try would fail at once, again and again.
                if let Some(unsaid) = failures.speak() {
                    tracing::error!(%error, unsaid, "no new connection can be taken");
                }
                tokio::select! {
                    () = &mut shutdown => return,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

/// Whether only this one connection failed, before it was accepted.
fn is_of_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// What a connection's requests are told of it.
#[derive(Debug, Clone)]
struct Arrival {
    peer: SocketAddr,
    scheme: Scheme,
    /// Shared with each request: a WebSocket that begins with one keeps it.
    permit: Arc<Permit>,
}

impl Door {
    fn admit(&self, peer: SocketAddr) -> Result<Arc<Permit>, Full> {
        self.admission.connection(peer.ip(), &self.proxies).map(Arc::new)
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr, permit: Arc<Permit>) {
        stream.tune();
        let Some(tls) = self.tls else {
            let arrival = Arrival { peer, scheme: Scheme::Http, permit };
            return speak(stream, self.app, arrival, &self.lifecycle).await;
        };
        if let Some(stream) = shake_hands(&tls, Counted::new(stream), peer, &self.lifecycle).await {
            let arrival = Arrival { peer, scheme: Scheme::Https, permit };
            speak(stream, self.app, arrival, &self.lifecycle).await;
        }
    }
}

/// Begins TLS on a connection, in its own time and not in that of others. A drain does not wait for it: nothing was
/// asked yet.
async fn shake_hands<S>(tls: &Tls, stream: S, peer: SocketAddr, lifecycle: &Lifecycle) -> Option<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = tokio::select! {
        handshake = tokio::time::timeout(TLS_HANDSHAKE_WAIT_MAX, tls.accept(stream)) => handshake,
        () = lifecycle.drain_begins() => return None,
    };
    match handshake {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
        Err(_elapsed) => tracing::debug!(%peer, "a TLS handshake took too long"),
    }
    None
}

/// Speaks HTTP on one connection until it ends or becomes a WebSocket; a drain lets the request under way end.
///
/// hyper is given a type that the upgrade knows how to unwrap: any other would hide the stream from it.
async fn speak<S>(stream: S, app: Router, arrival: Arrival, lifecycle: &Lifecycle)
where
    S: Transport,
{
    let peer = arrival.peer;
    let service = service_fn(move |mut request: Request<Incoming>| {
        let Arrival { peer, scheme, permit } = arrival.clone();
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(scheme);
        request.extensions_mut().insert(permit);
        answer(app.clone(), scheme, request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = lifecycle.drain_begins() => {
            connection.as_mut().graceful_shutdown();
            lifecycle.within_drain(connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "an HTTP connection broke");
    }
}

async fn answer(mut app: Router, scheme: Scheme, request: Request<Incoming>) -> Result<Response, Infallible> {
    let mut answer = match target::check(&request) {
        Ok(()) => app.call(request).await?,
        Err(refusal) => refusal.into_response(),
    };
    headers::add_security(answer.headers_mut());
    if scheme == Scheme::Https {
        answer.headers_mut().insert(STRICT_TRANSPORT_SECURITY, headers::ONLY_HTTPS);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests;
