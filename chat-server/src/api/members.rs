//! `/rooms/{room}/members`.

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use chat_core::{
    ids::{Seq, Timestamp, UserId},
    rights::{Role, Standing},
    store::Member,
};
use serde::Serialize;

use super::{
    ApiError,
    extract::{Caller, Fields, RoomPath, UserPath, required},
};
use crate::{Server, limits::LIST_PAGE_MAX, query::Query};

pub(super) fn routes() -> Router<Server> {
    Router::new()
        .route("/rooms/{room}/members", get(list))
        .route("/rooms/{room}/members/{user}", axum::routing::put(set).delete(remove))
}

#[derive(Debug, Serialize)]
struct Members {
    members: Vec<Member>,
    more: bool,
}

/// Where in the timeline a change stands.
#[derive(Debug, Serialize)]
struct Changed {
    seq: Seq,
    at: Timestamp,
}

async fn list(
    State(server): State<Server>,
    Caller(who): Caller,
    RoomPath(room): RoomPath,
    query: Query,
) -> Result<Json<Members>, ApiError> {
    let after = query.one("after")?.map(UserId::new).transpose();
    let after = after.map_err(|invalid| ApiError::parameter("after", &invalid.to_string()))?;
    let limit = query.limit(LIST_PAGE_MAX)?;
    // One more than asked for tells whether there are more.
    let mut members = server.engine().members(&who, &room, after, limit + 1).await?;
    let more = members.len() > limit;
    members.truncate(limit);
    Ok(Json(Members { members, more }))
}

async fn set(
    State(server): State<Server>,
    Caller(who): Caller,
    RoomPath(room): RoomPath,
    UserPath(user): UserPath,
    body: Fields,
) -> Result<Json<Changed>, ApiError> {
    let rule = "must be member, operator, manager, admin or banned";
    let standing = body.named("role", rule, |name| match name {
        "banned" => Some(Standing::Banned),
        role => Role::parse(role).map(Standing::Member),
    })?;
    let ack = server.engine().set_member(&who, &room, &user, required("role", standing)?).await?;
    Ok(Json(Changed { seq: ack.seq, at: ack.at }))
}

async fn remove(
    State(server): State<Server>,
    Caller(who): Caller,
    RoomPath(room): RoomPath,
    UserPath(user): UserPath,
) -> Result<StatusCode, ApiError> {
    server.engine().set_member(&who, &room, &user, Standing::Outsider).await?;
    Ok(StatusCode::NO_CONTENT)
}
