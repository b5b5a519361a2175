//! The HTTP API under `/api/v1`.

mod cors;
mod extract;
mod members;
mod messages;
mod rooms;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header::CACHE_CONTROL, request::Parts},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use chat_core::{Identity, ids::UserId, rights::Role};
use serde::Serialize;

use self::extract::Caller;
use crate::{
    Server, SignIn, auth::AuthError, error::ApiError, limits::BODY_BYTES_MAX, origin::Page, peer::scheme_of,
};

/// All of the API, to be nested under its prefix.
pub(crate) fn routes(server: &Server) -> Router<Server> {
    Router::new()
        .route("/auth", get(auth))
        .route("/me", get(me))
        .merge(rooms::routes())
        .merge(members::routes())
        .merge(messages::routes())
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || {
            ApiError::invalid(StatusCode::METHOD_NOT_ALLOWED, "this method is not for this resource")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(server.clone(), guard))
}

/// Turns away pages of foreign origins, lets those of allowed ones read what they get, and keeps answers out of caches.
async fn guard(State(server): State<Server>, request: Request, next: Next) -> Response {
    let mut answer = match server.origins().check(request.headers(), scheme_of(request.extensions())) {
        Ok(Page::OwnOrNone) => next.run(request).await,
        Ok(Page::Allowed(origin)) => {
            let is_preflight = cors::is_preflight(&request);
            let mut answer = if is_preflight { cors::preflight_answer() } else { next.run(request).await };
            cors::let_read(answer.headers_mut(), origin);
            answer
        }
        Err(refusal) => refusal.into_response(),
    };
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[derive(Debug, Serialize)]
struct User {
    id: UserId,
    name: Box<str>,
    role: Role,
}

impl From<Identity> for User {
    fn from(Identity { user, name, role }: Identity) -> Self {
        Self { id: user, name, role }
    }
}

async fn me(Caller(who): Caller) -> Json<User> {
    Json(who.into())
}

/// Who is asking, if that is known, and how else one says it.
#[derive(Debug, Serialize)]
struct Access {
    user: Option<User>,
    by: SignIn,
}

/// Asked before anybody has signed in, so it is no error that nobody has.
async fn auth(State(server): State<Server>, request: Parts) -> Result<Json<Access>, ApiError> {
    let user = match server.authentication().of_request(&request).await {
        Ok(grant) => Some(grant.identity.into()),
        Err(AuthError::Missing | AuthError::Refused | AuthError::NoOrigin) => None,
        Err(error @ AuthError::Unavailable(_)) => return Err(error.into()),
    };
    Ok(Json(Access { user, by: server.authentication().sign_in() }))
}
