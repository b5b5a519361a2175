//! Standings of users in rooms, and where a right to read ended.

use chat_core::{
    ids::{RoomNo, Seq, UserId},
    rights::{Role, Standing},
    store::Member,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{maybe_seq, role, seq, sql, sql_len, standing, user};

/// A row of `members`: somebody of whom a `member` event told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) standing: Standing,
    /// The newest `member` event about them.
    pub(super) seq: Seq,
    /// The event that ended the right to read, as of `seq`. It says nothing while they may read.
    pub(super) lost: Option<Seq>,
}

/// The event that ended somebody's right to read; `None` where they never had it. It means nothing while they may read.
///
/// Who was an outsider when the room turned private lost it there; whom a later event concerned, or who was banned at
/// that time, lost it where their row says.
pub(super) fn lost(person: Option<Person>, private_seq: Option<Seq>) -> Option<Seq> {
    match person {
        None => private_seq,
        Some(Person { standing: Standing::Outsider, seq, .. }) if private_seq > Some(seq) => private_seq,
        Some(person) => person.lost,
    }
}

pub(super) fn read(conn: &Connection, room: RoomNo, user: &UserId) -> rusqlite::Result<Option<Person>> {
    let mut statement =
        conn.prepare_cached("SELECT role, banned, seq, lost_seq FROM members WHERE room = ?1 AND user = ?2")?;
    let person = statement.query_row((sql(room.0), user.as_str()), |row| {
        Ok(Person { standing: standing(row, 0)?, seq: seq(row, 2)?, lost: maybe_seq(row, 3)? })
    });
    person.optional()
}

pub(super) fn save(conn: &Connection, room: RoomNo, user: &UserId, person: Person) -> rusqlite::Result<()> {
    let role = match person.standing {
        Standing::Member(role) => Some(role),
        Standing::Outsider | Standing::Banned => None,
    };
    let mut statement = conn.prepare_cached(
        "INSERT OR REPLACE INTO members (room, user, role, banned, seq, lost_seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    statement.execute(params![
        sql(room.0),
        user.as_str(),
        role.map(Role::as_str),
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

#[cfg(test)]
mod tests {
    use super::*;

    const BANNED: Standing = Standing::Banned;
    const OUTSIDER: Standing = Standing::Outsider;

    #[test]
    fn a_right_ends_where_the_room_turned_private_or_where_the_user_left_it() {
        let person =
            |standing, seq, lost: Option<u64>| Some(Person { standing, seq: Seq(seq), lost: lost.map(Seq) });
        for (person, private_seq, ended) in [
            (None, None, None),
            (None, Some(7), Some(7)),
            (person(OUTSIDER, 5, Some(5)), None, Some(5)),
            (person(OUTSIDER, 5, None), Some(7), Some(7)),
            (person(OUTSIDER, 9, Some(9)), Some(7), Some(9)),
            (person(OUTSIDER, 9, Some(3)), Some(7), Some(3)), // was banned from 3 to 9
            (person(BANNED, 5, Some(5)), Some(7), Some(5)),
            (person(BANNED, 5, None), None, None),
        ] {
            assert_eq!(lost(person, private_seq.map(Seq)), ended.map(Seq), "{person:?} {private_seq:?}");
        }
    }
}
