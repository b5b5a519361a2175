//! Rooms: made, deleted, trimmed, and how far they and their readers are.

use chat_core::{
    ids::{RoomId, RoomNo, Seq},
    protocol::{Event, EventBody, MemberChange},
    rights::{Actor, Role, role_in_room},
    store::{Created, NewRoom, ReadMark, Refused, RoomRecord, judge::Facts},
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    batch::Batch,
    fault::Transaction,
    known::Known,
    rows::{ROOM_BY_ID, number, room_end, room_record, seq, sql},
};
use crate::keys::KeyCheck;

/// Empties the tables in which rows hang on a room's number.
const DELETE_FROM_EACH: [&str; 6] = [
    "DELETE FROM bodies WHERE id IN (SELECT body FROM events WHERE room = ?1)",
    "DELETE FROM events WHERE room = ?1",
    "DELETE FROM room_changes WHERE room = ?1",
    "DELETE FROM reactions WHERE room = ?1",
    "DELETE FROM members WHERE room = ?1",
    "DELETE FROM read_marks WHERE room = ?1",
];

pub(super) fn by_id(conn: &Connection, id: &RoomId) -> rusqlite::Result<Option<RoomRecord>> {
    conn.prepare_cached(ROOM_BY_ID)?.query_row([id.as_str()], room_record).optional()
}

/// Makes a room with its first members.
pub(super) fn create(tx: &Transaction<'_>, new: &NewRoom, rooms_max: u64) -> rusqlite::Result<Created> {
    if let Some(room) = by_id(tx, &new.id)? {
        return Ok(Created::Exists(room));
    }
    let rooms = tx.prepare_cached("SELECT rooms FROM totals")?.query_row([], |row| number(row, 0))?;
    if rooms >= rooms_max {
        return Ok(Created::Full);
    }
    let no = insert(tx, new)?;
    let mut batch = Batch::new(tx, KeyCheck::LookUp, Known::default());
    for (seq, (user, role)) in (1..).map(Seq).zip(&new.members) {
        let body = EventBody::Member { user: user.clone(), change: MemberChange::Added(*role) };
        let event = Event { room: new.id.clone(), seq, at: new.at, from: new.creator.clone(), body };
        batch.write(no, &event)?;
    }
    batch.finish()?;
    by_id(tx, &new.id)?.map(Created::New).ok_or(rusqlite::Error::QueryReturnedNoRows)
}

fn insert(tx: &Transaction<'_>, new: &NewRoom) -> rusqlite::Result<RoomNo> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO rooms (first_seq, last_seq, version, created_at, id, epoch, kind, visibility, name, topic)
         VALUES (1, 0, 0, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let no = statement.insert(params![
        new.at.0,
        new.id.as_str(),
        new.epoch.as_str(),
        new.kind.as_str(),
        new.visibility.as_str(),
        new.name,
        new.topic,
    ])?;
    tx.execute("UPDATE totals SET rooms = rooms + 1", [])?;
    // SQLite counts up from 1.
    Ok(RoomNo(no.unsigned_abs()))
}

/// Deletes a room with all that hangs on it, where `actor` manages it.
pub(super) fn delete(
    tx: &Transaction<'_>,
    no: RoomNo,
    actor: &Actor,
) -> rusqlite::Result<Result<(), Refused>> {
    let mut batch = Batch::new(tx, KeyCheck::LookUp, Known::default());
    let Some(room) = batch.room(no)? else { return Ok(Err(Refused::NoRoom)) };
    let standing = batch.standing(no, &actor.user)?;
    match role_in_room(room.visibility, standing, actor.authority) {
        None => return Ok(Err(Refused::NoRoom)),
        Some(role) if role < Role::Manager => return Ok(Err(Refused::Forbidden)),
        Some(_) => {}
    }
    for statement in DELETE_FROM_EACH {
        tx.execute(statement, [sql(no.0)])?;
    }
    tx.execute("DELETE FROM rooms WHERE no = ?1", [sql(no.0)])?;
    tx.execute("UPDATE totals SET rooms = rooms - 1", [])?;
    Ok(Ok(()))
}

/// Drops the events before `first`, with what hangs on them; the oldest now kept.
pub(super) fn trim(tx: &Transaction<'_>, no: RoomNo, first: Seq) -> rusqlite::Result<Option<Seq>> {
    let Some(room) = Batch::new(tx, KeyCheck::LookUp, Known::default()).room(no)? else { return Ok(None) };
    let first = first.min(room.last_seq.next());
    if first <= room.first_seq {
        return Ok(Some(room.first_seq));
    }
    for statement in [
        "DELETE FROM bodies WHERE id IN (SELECT body FROM events WHERE room = ?1 AND seq < ?2)",
        "DELETE FROM events WHERE room = ?1 AND seq < ?2",
        "DELETE FROM room_changes WHERE room = ?1 AND seq < ?2",
        "DELETE FROM reactions WHERE room = ?1 AND target < ?2",
        "UPDATE rooms SET first_seq = ?2, last_seq = max(last_seq, ?2 - 1) WHERE no = ?1",
    ] {
        tx.prepare_cached(statement)?.execute((sql(no.0), sql(first.0)))?;
    }
    Ok(Some(first))
}

/// Moves read marks forward.
pub(super) fn save_read_marks(tx: &Transaction<'_>, marks: &[ReadMark]) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO read_marks (room, user, seq) SELECT no, ?2, ?3 FROM rooms WHERE no = ?1
         ON CONFLICT (room, user) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq",
    )?;
    for mark in marks {
        statement.execute((sql(mark.room.0), mark.user.as_str(), sql(mark.seq.0)))?;
    }
    Ok(())
}

/// The newest number of each room.
pub(super) fn ends(conn: &Connection, rooms: &[RoomNo]) -> rusqlite::Result<Vec<Option<Seq>>> {
    let end = concat!("SELECT ", room_end!(), " FROM rooms WHERE no = ?1");
    let mut statement = conn.prepare_cached(end)?;
    rooms.iter().map(|no| statement.query_row([sql(no.0)], |row| seq(row, 0)).optional()).collect()
}

/// Notes the newest number of each room exactly: fewer events than [`END_NOTED_EVERY`](super::rows::END_NOTED_EVERY) would else be lost unnoticed while
/// the database is closed.
pub(super) fn note_ends(conn: &Connection) -> rusqlite::Result<()> {
    let note = concat!("UPDATE rooms SET last_seq = ", room_end!(), " WHERE last_seq <> ", room_end!());
    conn.execute(note, []).map(drop)
}
