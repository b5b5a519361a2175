//! `/healthz`, `/readyz` and `/metrics`: for whoever runs the server.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{Server, api::ApiError, limits::READY_WAIT_MAX};

/// The format's own name and version (Prometheus exposition formats, text 0.0.4).
const METRICS_MIME: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

pub(crate) fn routes() -> Router<Server> {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

/// Whether the server should get work: it does not drain, and its store answers in time.
async fn ready(State(server): State<Server>) -> Result<&'static str, ApiError> {
    if server.lifecycle().is_draining() {
        return Err(ApiError::draining());
    }
    match tokio::time::timeout(READY_WAIT_MAX, server.engine().ping()).await {
        Ok(Ok(())) => Ok("ready"),
        Ok(Err(_)) | Err(_) => Err(chat_core::protocol::CommandError::unavailable().into()),
    }
}

async fn metrics(State(server): State<Server>, request: Request) -> Result<Response, ApiError> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if !peer.is_some_and(|ConnectInfo(peer)| is_local(*peer, request.headers())) {
        return Err(ApiError::forbidden("metrics are for the machine itself"));
    }
    let metrics = server.metrics().ok_or_else(ApiError::not_found)?;
    Ok(([(CONTENT_TYPE, METRICS_MIME)], metrics.render()).into_response())
}

/// Whether a request comes from this machine, and was not passed on by a proxy that runs on it.
fn is_local(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let was_passed_on = headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded");
    peer.ip().to_canonical().is_loopback() && !was_passed_on
}
