//! Accepting connections and speaking HTTP on them.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, pin::pin};

use axum::{Router, extract::ConnectInfo, response::Response};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tower::Service;

use crate::{
    lifecycle::Lifecycle,
    limits::{ACCEPT_PAUSE, HEAD_BYTES_MAX, HEAD_WAIT_MAX, HEADERS_MAX},
};

/// Serves `app` to whoever connects, until `shutdown` is ready.
pub(crate) async fn accept(
    listener: TcpListener,
    app: Router,
    lifecycle: &Lifecycle,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => lifecycle.spawn(serve(stream, peer, app.clone(), lifecycle.clone())),
            Err(error) if is_of_peer(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no new connection can be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
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

/// Serves one connection until it ends or becomes a WebSocket; a drain lets the request under way end.
///
/// hyper is given the bare socket: whatever wrapped it would hide it from the upgrade.
async fn serve(stream: TcpStream, peer: SocketAddr, app: Router, lifecycle: Lifecycle) {
    // Only for latency: a socket that refuses still works.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        answer(app.clone(), request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
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

async fn answer(mut app: Router, request: Request<Incoming>) -> Result<Response, Infallible> {
    app.call(request).await
}
