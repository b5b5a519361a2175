//! Rooms as one user sees them.

use chat_core::{
    ids::{RoomId, RoomNo, Seq, UserId},
    store::{RoomRecord, RoomView, UNREAD_MAX},
};
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{
    people,
    rooms::by_id,
    rows::{ROOM_BY_NO, number, room_record, seq, sql, sql_len},
};

/// The room of this id as `user` sees it.
pub(super) fn room(tx: &Transaction<'_>, id: &RoomId, user: &UserId) -> rusqlite::Result<Option<RoomView>> {
    by_id(tx, id)?.map(|room| view(tx, room, user)).transpose()
}

/// The public rooms and those of `user`, less those that banned them, in order of ids.
///
/// Two ordered streams are merged, so that neither the private rooms of others nor what lies past the limit is read.
const ROOMS: &str = "
    SELECT id, no FROM rooms
    WHERE visibility = 'public' AND id > ?2
        AND NOT EXISTS (SELECT 1 FROM members WHERE room = no AND user = ?1 AND banned)
    UNION
    SELECT id, no FROM members JOIN rooms ON no = room
    WHERE user = ?1 AND role IS NOT NULL AND id > ?2
    ORDER BY id LIMIT ?3";

/// The rooms that are listed for `user`.
pub(super) fn rooms(
    tx: &Transaction<'_>,
    user: &UserId,
    after: Option<&RoomId>,
    limit: usize,
) -> rusqlite::Result<Vec<RoomView>> {
    let after = after.map_or("", RoomId::as_str);
    let mut numbers = tx.prepare_cached(ROOMS)?;
    let mut records = tx.prepare_cached(ROOM_BY_NO)?;
    let numbers = numbers.query_map((user.as_str(), after, sql_len(limit)), |row| number(row, 1))?;
    let views = numbers.map(|no| view(tx, records.query_row([sql(no?)], room_record)?, user));
    views.collect()
}

fn view(conn: &Connection, room: RoomRecord, user: &UserId) -> rusqlite::Result<RoomView> {
    let standing = people::read(conn, room.no, user)?.map(|person| person.standing).unwrap_or_default();
    let read = read_mark(conn, room.no, user)?;
    let unread = unread(conn, room.no, user, read)?;
    Ok(RoomView { room, standing, read, unread })
}

fn read_mark(conn: &Connection, room: RoomNo, user: &UserId) -> rusqlite::Result<Seq> {
    let mut statement = conn.prepare_cached("SELECT seq FROM read_marks WHERE room = ?1 AND user = ?2")?;
    let mark = statement.query_row((sql(room.0), user.as_str()), |row| seq(row, 0)).optional()?;
    Ok(mark.unwrap_or_default())
}

fn unread(conn: &Connection, room: RoomNo, user: &UserId, read: Seq) -> rusqlite::Result<u64> {
    let mut statement = conn.prepare_cached(
        "SELECT count(*) FROM (
            SELECT 1 FROM events
            WHERE room = ?1 AND seq > ?2 AND kind = 1 AND NOT deleted AND author <> ?3
            LIMIT ?4
         )",
    )?;
    statement.query_row((sql(room.0), sql(read.0), user.as_str(), sql(UNREAD_MAX)), |row| number(row, 0))
}
