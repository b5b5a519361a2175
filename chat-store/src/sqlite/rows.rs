//! Rows and what they stand for.

use chat_core::{
    ids::{Epoch, RoomId, RoomNo, Seq, Timestamp, UserId},
    protocol::Json,
    rights::{Role, Standing, Visibility},
    store::{RoomKind, RoomRecord, judge::RoomFacts},
};
use rusqlite::{
    Row,
    types::{Type, ValueRef},
};

use crate::people::standing_of;

/// The database holds a value that this program never writes.
#[derive(Debug, thiserror::Error)]
#[error("column {0} holds what is no such value")]
struct BadValue(usize);

pub(super) fn bad(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, BadValue(column).into())
}

/// A number as SQLite keeps it. Ours count up one by one and never get near the end: past it is a number that somebody
/// asked for and that nothing has.
pub(super) fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count or a limit as SQLite takes it.
pub(super) fn sql_len(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).ok().ok_or_else(|| bad(column))
}

pub(super) fn seq(row: &Row<'_>, column: usize) -> rusqlite::Result<Seq> {
    number(row, column).map(Seq)
}

pub(super) fn maybe_seq(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Seq>> {
    if row.get_ref(column)? == ValueRef::Null { Ok(None) } else { seq(row, column).map(Some) }
}

pub(super) fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp)
}

fn maybe_text<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<Option<&'r str>> {
    row.get_ref(column)?.as_str_or_null().ok().ok_or_else(|| bad(column))
}

/// A text that stands for something, read by `parse`.
pub(super) fn parsed<T>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    maybe_text(row, column)?.and_then(parse).ok_or_else(|| bad(column))
}

/// The same where it may be missing.
pub(super) fn maybe<T>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<Option<T>> {
    let Some(text) = maybe_text(row, column)? else { return Ok(None) };
    parse(text).map(Some).ok_or_else(|| bad(column))
}

pub(super) fn json(text: &str) -> Option<Json> {
    Json::parse(text).ok()
}

pub(super) fn user(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    parsed(row, column, |text| UserId::new(text).ok())
}

pub(super) fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    parsed(row, column, Role::parse)
}

/// A standing from its columns `role` and `banned`, which may both be missing.
pub(super) fn standing(row: &Row<'_>, column_role: usize) -> rusqlite::Result<Standing> {
    let role = maybe(row, column_role, Role::parse)?;
    let banned: Option<bool> = row.get(column_role + 1)?;
    Ok(standing_of(role, banned == Some(true)))
}

/// How far the column `last_seq` of a room may be behind its newest event: it is written when as many events came. With
/// many rooms its page would else be written for each of them; with 16 it is for one of 16, and fewer would lack unnoticed
/// (see [`check_ends`](super::recover::check_ends)).
pub(super) const END_NOTED_EVERY: u64 = 16;

/// The number of a room's newest event, in SQL over `rooms`.
macro_rules! room_end {
    () => {
        "coalesce((SELECT max(events.seq) FROM events WHERE events.room = rooms.no), rooms.last_seq)"
    };
}
pub(crate) use room_end;

macro_rules! select_room {
    ($rest:literal) => {
        concat!(
            "SELECT no, id, epoch, kind, visibility, name, topic, state, version, first_seq, ",
            room_end!(),
            " FROM rooms ",
            $rest
        )
    };
}

/// Reads a [`room_record`] by its id.
pub(super) const ROOM_BY_ID: &str = select_room!("WHERE id = ?1");

/// Reads a [`room_record`] by its number.
pub(super) const ROOM_BY_NO: &str = select_room!("WHERE no = ?1");

pub(super) fn room_record(row: &Row<'_>) -> rusqlite::Result<RoomRecord> {
    Ok(RoomRecord {
        no: RoomNo(number(row, 0)?),
        id: parsed(row, 1, |text| RoomId::new(text).ok())?,
        epoch: parsed(row, 2, |text| Some(Epoch::from_text(text)))?,
        kind: parsed(row, 3, RoomKind::parse)?,
        visibility: parsed(row, 4, Visibility::parse)?,
        name: row.get(5)?,
        topic: row.get(6)?,
        state: maybe(row, 7, json)?,
        version: number(row, 8)?,
        first_seq: seq(row, 9)?,
        last_seq: seq(row, 10)?,
    })
}

/// Reads [`room_facts`] by a room's number, then `private_seq`, and `last_seq` as it is noted.
pub(super) const FACTS_BY_NO: &str = concat!(
    "SELECT id, visibility, version, first_seq, ",
    room_end!(),
    ", private_seq, last_seq FROM rooms WHERE no = ?1"
);

/// Reads a row of [`FACTS_BY_NO`].
pub(super) fn room_facts(row: &Row<'_>) -> rusqlite::Result<RoomFacts> {
    Ok(RoomFacts {
        id: parsed(row, 0, |text| RoomId::new(text).ok())?,
        visibility: parsed(row, 1, Visibility::parse)?,
        version: number(row, 2)?,
        first_seq: seq(row, 3)?,
        last_seq: seq(row, 4)?,
    })
}
