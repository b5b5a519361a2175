//! `/rooms` and `/rooms/{room}`.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use chat_core::{
    Identity, NewRoomOutcome, RoomDraft,
    ids::{Epoch, RoomId, Seq, UserId},
    protocol::{CommandError, RoomPatch},
    rights::{Authority, Role, Visibility},
    store::{RoomKind, RoomView},
};
use serde::Serialize;

use super::{
    ApiError,
    extract::{Caller, Fields, RoomPath, required},
};
use crate::{Server, limits::LIST_PAGE_MAX, query::Query};

pub(super) fn routes() -> Router<Server> {
    Router::new()
        .route("/rooms", get(list).post(create))
        .route("/rooms/{room}", get(read).patch(update).delete(delete))
}

/// A room as its caller sees it.
#[derive(Debug, Serialize)]
struct Room {
    id: RoomId,
    name: Box<str>,
    kind: RoomKind,
    visibility: Visibility,
    topic: Box<str>,
    epoch: Epoch,
    first_seq: Seq,
    last_seq: Seq,
    role: Option<Role>,
    unread: u64,
}

impl Room {
    fn new(view: RoomView, caller: &Identity) -> Self {
        let role = view.role(Authority::User(caller.role));
        let room = view.room;
        Self {
            id: room.id,
            name: room.name,
            kind: room.kind,
            visibility: room.visibility,
            topic: room.topic,
            epoch: room.epoch,
            first_seq: room.first_seq,
            last_seq: room.last_seq,
            role,
            unread: view.unread,
        }
    }
}

#[derive(Debug, Serialize)]
struct Rooms {
    rooms: Vec<Room>,
    more: bool,
}

async fn list(
    State(server): State<Server>,
    Caller(who): Caller,
    query: Query,
) -> Result<Json<Rooms>, ApiError> {
    let after = query.one("after")?.map(RoomId::new).transpose();
    let after = after.map_err(|invalid| ApiError::parameter("after", &invalid.to_string()))?;
    let limit = query.limit(LIST_PAGE_MAX)?;
    // One more than asked for tells whether there are more.
    let mut views = server.engine().rooms(&who, after, limit + 1).await?;
    let more = views.len() > limit;
    views.truncate(limit);
    Ok(Json(Rooms { rooms: views.into_iter().map(|view| Room::new(view, &who)).collect(), more }))
}

async fn create(
    State(server): State<Server>,
    Caller(who): Caller,
    body: Fields,
) -> Result<Response, ApiError> {
    let (status, view) = match server.engine().create_room(&who, draft(&body)?).await? {
        NewRoomOutcome::New(view) => (StatusCode::CREATED, view),
        NewRoomOutcome::Exists(view) => (StatusCode::OK, view),
    };
    Ok((status, Json(Room::new(view, &who))).into_response())
}

async fn read(
    State(server): State<Server>,
    Caller(who): Caller,
    RoomPath(room): RoomPath,
) -> Result<Json<Room>, ApiError> {
    let view = server.engine().room(&who, &room).await?;
    Ok(Json(Room::new(view, &who)))
}

async fn update(
    State(server): State<Server>,
    Caller(who): Caller,
    RoomPath(room): RoomPath,
    body: Fields,
) -> Result<Json<Room>, ApiError> {
    server.engine().update_room(&who, &room, patch(&body)?).await?;
    let view = server.engine().room(&who, &room).await?;
    Ok(Json(Room::new(view, &who)))
}

async fn delete(
    State(server): State<Server>,
    Caller(who): Caller,
    RoomPath(room): RoomPath,
) -> Result<StatusCode, ApiError> {
    server.engine().delete_room(&who, &room).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn draft(body: &Fields) -> Result<RoomDraft, CommandError> {
    let kind = body.named("kind", "must be group or direct", RoomKind::parse)?.unwrap_or_default();
    let with = body.string("with")?.map(|user| id("with", UserId::new(&user))).transpose()?;
    let visibility = visibility(body)?.unwrap_or(Visibility::Private);
    let mut draft = match (kind, with, visibility) {
        (RoomKind::Direct, with, Visibility::Private) => RoomDraft::direct(required("with", with)?),
        (RoomKind::Direct, ..) => {
            return Err(CommandError::invalid("visibility", "a direct room is private"));
        }
        (_, Some(_), _) => return Err(CommandError::invalid("with", "is for direct rooms")),
        (_, None, visibility) => RoomDraft::group(visibility),
    };
    draft.id = body.string("id")?.map(|room| id("id", RoomId::new(&room))).transpose()?;
    draft.name = body.string("name")?.map(Into::into);
    draft.topic = body.string("topic")?.unwrap_or_default().into();
    Ok(draft)
}

fn patch(body: &Fields) -> Result<RoomPatch, CommandError> {
    Ok(RoomPatch {
        name: body.string("name")?.map(Into::into),
        topic: body.string("topic")?.map(Into::into),
        visibility: visibility(body)?,
        state: None,
    })
}

fn visibility(body: &Fields) -> Result<Option<Visibility>, CommandError> {
    body.named("visibility", "must be public or private", |name| match name {
        "public" => Some(Visibility::Public),
        "private" => Some(Visibility::Private),
        _ => None,
    })
}

fn id<T>(field: &'static str, id: Result<T, chat_core::ids::InvalidId>) -> Result<T, CommandError> {
    id.map_err(|invalid| CommandError::invalid(field, &invalid.to_string()))
}
