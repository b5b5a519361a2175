//! A bug in one handler, kept from everything else.

use std::panic::AssertUnwindSafe;

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use chat_core::protocol::ErrorCode;
use futures_util::FutureExt;
use metrics::counter;

use crate::error::ApiError;

/// Answers 500 for a handler that panics; its connection and all others go on. The panic hook has reported what and
/// where, which is the one line that a bug needs.
pub(crate) async fn catch(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // Unwind safe: the request is gone with its handler, and the state that handlers share is the engine's, which keeps
    // none between two calls that a panic could have left half done.
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(answer) => answer,
        Err(_panic) => {
            tracing::debug!(%method, path, "a handler panicked");
            counter!("chat_errors_total", "code" => ErrorCode::Internal.as_str()).increment(1);
            ApiError::internal().into_response()
        }
    }
}
