//! `/rooms/{room}/messages`.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use chat_core::{
    Draft,
    ids::{Seq, Timestamp},
    protocol::{CommandError, EventKind, HistoryFrom, HistoryPage, HistoryQuery},
};
use serde::Serialize;

use super::{
    ApiError,
    extract::{Caller, Fields, RoomPath, required},
};
use crate::{Server, query::Query};

pub(super) fn routes() -> Router<Server> {
    Router::new().route("/rooms/{room}/messages", get(history).post(send))
}

/// A message that is committed.
#[derive(Debug, Serialize)]
struct Sent {
    seq: Seq,
    at: Timestamp,
}

async fn history(
    State(server): State<Server>,
    Caller(who): Caller,
    RoomPath(room): RoomPath,
    query: Query,
) -> Result<Json<HistoryPage>, ApiError> {
    let page = page(&query, server.engine().limits().history_page)?;
    Ok(Json(server.engine().history(&who, &room, &page).await?))
}

async fn send(
    State(server): State<Server>,
    Caller(who): Caller,
    RoomPath(room): RoomPath,
    body: Fields,
) -> Result<Response, ApiError> {
    let ack = server.engine().send(&who, &room, draft(&body)?).await?;
    let status = if ack.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(Sent { seq: ack.seq, at: ack.at })).into_response())
}

fn page(query: &Query, events_max: usize) -> Result<HistoryQuery, ApiError> {
    let from = match (query.number("before")?, query.number("after")?) {
        (None, None) => HistoryFrom::Newest,
        (Some(before), None) => HistoryFrom::Before(Seq(before)),
        (None, Some(after)) => HistoryFrom::After(Seq(after)),
        (Some(_), Some(_)) => return Err(ApiError::parameter("before", "not together with after")),
    };
    let names = query.one("kinds")?.unwrap_or_default();
    let kinds = names.split(',').filter(|name| !name.is_empty()).map(|name| {
        EventKind::parse(name).ok_or_else(|| ApiError::parameter("kinds", "there is no such kind of events"))
    });
    Ok(HistoryQuery { from, limit: Some(query.limit(events_max)?), kinds: kinds.collect::<Result<_, _>>()? })
}

fn draft(body: &Fields) -> Result<Draft, CommandError> {
    let mut draft = Draft::text(required("text", body.string("text")?)?);
    draft.key = body.string("key")?.map(Into::into);
    draft.reply_to = body.seq("reply_to")?;
    draft.meta = body.json("meta")?;
    Ok(draft)
}
