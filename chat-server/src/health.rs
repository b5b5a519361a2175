//! `/healthz`, `/readyz` and `/metrics`: for whoever runs the server.

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, header::CONTENT_TYPE, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};

use chat_core::rights::Role;

use crate::{
    Server,
    auth::AuthError,
    error::ApiError,
    limits::READY_WAIT_MAX,
    peer::{ClientAddress, scheme_of},
};

/// The format's own name and version (Prometheus exposition formats, text 0.0.4).
const METRICS_MIME: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

pub(crate) fn routes() -> Router<Server> {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(guarded_metrics))
}

/// What an address of its own shows to whoever reaches it.
pub(crate) fn open_routes() -> Router<Server> {
    Router::new().route("/healthz", get(async || "ok")).route("/metrics", get(metrics))
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

/// The figures, for this machine and for admins.
async fn guarded_metrics(State(server): State<Server>, request: Request) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    if !parts.extensions.get().is_some_and(ClientAddress::is_local) {
        require_admin(&server, &parts).await?;
    }
    metrics(State(server)).await
}

async fn require_admin(server: &Server, request: &Parts) -> Result<(), ApiError> {
    server.origins().check(&request.headers, scheme_of(&request.extensions))?;
    match server.authentication().of_request(request).await {
        Ok(grant) if grant.identity.role == Role::Admin => Ok(()),
        Err(error @ AuthError::Unavailable(_)) => Err(error.into()),
        _ => Err(ApiError::forbidden("metrics are for the machine itself and for admins")),
    }
}

async fn metrics(State(server): State<Server>) -> Result<Response, ApiError> {
    let metrics = server.metrics().ok_or_else(ApiError::not_found)?;
    Ok(([(CONTENT_TYPE, METRICS_MIME)], metrics.render()).into_response())
}
