//! `/healthz`, `/readyz` and `/metrics`: for whoever runs the server.

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{Server, api::ApiError, limits::READY_WAIT_MAX, peer::ClientAddress};

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
    if !request.extensions().get().is_some_and(ClientAddress::is_local) {
        return Err(ApiError::forbidden("metrics are for the machine itself"));
    }
    let metrics = server.metrics().ok_or_else(ApiError::not_found)?;
    Ok(([(CONTENT_TYPE, METRICS_MIME)], metrics.render()).into_response())
}
