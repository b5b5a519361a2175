//! Standings of users in rooms, as rows of the table `members`.

use chat_core::{
    ids::{RoomNo, UserId},
    rights::{Role, Standing},
    store::Member,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{maybe_seq, role, seq, sql, sql_len, standing, user};
use crate::people::Person;

pub(super) fn read(conn: &Connection, room: RoomNo, user: &UserId) -> rusqlite::Result<Option<Person>> {
    let mut statement =
        conn.prepare_cached("SELECT role, banned, seq, lost_seq FROM members WHERE room = ?1 AND user = ?2")?;
    let person = statement.query_row((sql(room.0), user.as_str()), |row| {
        Ok(Person { standing: standing(row, 0)?, seq: seq(row, 2)?, lost: maybe_seq(row, 3)? })
    });
    person.optional()
}

pub(super) fn save(conn: &Connection, room: RoomNo, user: &UserId, person: Person) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(
        "INSERT OR REPLACE INTO members (room, user, role, banned, seq, lost_seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    statement.execute(params![
        sql(room.0),
        user.as_str(),
        person.role().map(Role::as_str),
        person.standing == Standing::Banned,
        sql(person.seq.0),
        person.lost.map(|lost| sql(lost.0)),
    ])?;
    Ok(())
}

/// Members in order of ids.
pub(super) fn members(
    conn: &Connection,
    room: RoomNo,
    after: Option<&UserId>,
    limit: usize,
) -> rusqlite::Result<Vec<Member>> {
    let mut statement = conn.prepare_cached(
        "SELECT user, role FROM members WHERE room = ?1 AND user > ?2 AND role IS NOT NULL ORDER BY user LIMIT ?3",
    )?;
    // Every id is longer than no text at all, and so comes after it.
    let after = after.map_or("", UserId::as_str);
    let members = statement.query_map((sql(room.0), after, sql_len(limit)), |row| {
        Ok(Member { user: user(row, 0)?, role: role(row, 1)? })
    })?;
    members.collect()
}
