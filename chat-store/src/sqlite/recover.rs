//! Opening a database again after a failure, and making sure of what it holds.
//!
//! After a failed fsync nobody knows which pages reached the disk. Linux reports the failure once, marks the pages
//! clean, and answers the next fsync with success though nothing was written (Rebello et al., "Can Applications Recover
//! from fsync Failures?", USENIX ATC 2020; "fsyncgate"). Asking again is therefore a lie. What was lost can be
//!
//! - frames of the log: those of the failed commit, and under [`Synchronous::Normal`](super::Synchronous::Normal)
//!   those of commits before it. Read back from the page cache they look whole;
//! - pages of the database file, from a checkpoint. SQLite's shared memory may count their frames as copied already
//!   (a checkpoint that stops short of the log's end counts without an fsync), and would then throw away the log with
//!   the only good copy.
//!
//! So: every connection is closed **without** the checkpoint that SQLite makes when the last one closes; the database is
//! opened anew, by one connection that has it for itself and so needs no shared memory and knows no count; and all frames
//! of the log are written into the database file once more and fsynced there (`wal_checkpoint(TRUNCATE)`). A page that is
//! written again is dirty again, so that this fsync says the truth. If it fails too, or while another program (a backup,
//! for example) has the database open, all begins anew after a pause. Then the file is checked, and the rooms against
//! their events, before anybody is answered.
//!
//! The failed commit itself may turn out to have happened or not: its sender was told that nobody knows.

use std::path::Path;

use rusqlite::Connection;

use super::{
    OpenError,
    checkpoint::{Mode, checkpoint},
    open::{self, quick_check},
    rows::{END_NOTED_EVERY, sql},
    shared::Shared,
};

/// Why a database is not yet used again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsound {
    /// It cannot be opened, or cannot be made durable.
    #[error("the database cannot be opened again")]
    Sqlite(#[from] rusqlite::Error),
    /// Somebody holds a part of the log.
    #[error("another program reads the database and keeps its log from being written back")]
    Held,
    /// It does not hold what it should.
    #[error("the database is damaged: {0}")]
    Damaged(String),
}

impl Unsound {
    /// The same of a database that is opened for the first time.
    pub(super) fn at(self, path: &Path) -> OpenError {
        match self {
            Self::Sqlite(error) => OpenError::database(path, error),
            Self::Held => OpenError::InUse { path: path.to_owned() },
            Self::Damaged(detail) => OpenError::Damaged { path: path.to_owned(), detail },
        }
    }
}

/// Opens the writer's connection anew, with everything in the database file and on the disk.
pub(super) fn reopen(shared: &Shared) -> Result<Connection, Unsound> {
    settle(&open::alone(&shared.path)?)?;
    let conn = open::writer(&shared.path, &shared.options)?;
    quick_check(&conn)?.map_err(Unsound::Damaged)?;
    check_ends(&conn)?;
    Ok(conn)
}

/// Makes durable whatever the log holds. At a start, too: a process that was killed between a write and its fsync leaves
/// frames that look committed, and that a power loss could still take back after somebody has seen them.
pub(super) fn settle(conn: &Connection) -> Result<(), Unsound> {
    let done = checkpoint(conn, Mode::Truncate)?;
    // A foreign reader can keep the log from being cut; what counts is that all of it was copied.
    if done.busy && (done.pages < 0 || done.copied != done.pages) {
        return Err(Unsound::Held);
    }
    Ok(())
}

/// Holds the rooms' numbers against the events there are: none is missing between the first and the newest, and that is
/// not before the number that was noted last, nor so far past it that it would have been noted again.
pub(super) fn check_ends(conn: &Connection) -> Result<(), Unsound> {
    let mut wrong = conn.prepare(
        "SELECT no FROM rooms
         LEFT JOIN (
            SELECT room, min(seq) AS oldest, max(seq) AS newest, count(*) AS events FROM events GROUP BY room
         ) ON room = no
         WHERE coalesce(oldest, first_seq) <> first_seq
            OR coalesce(newest, first_seq - 1) NOT BETWEEN last_seq AND last_seq + ?1 - 1
            OR coalesce(events, 0) <> coalesce(newest, first_seq - 1) - first_seq + 1
         LIMIT 1",
    )?;
    match wrong.query([sql(END_NOTED_EVERY)])?.next()? {
        Some(row) => Err(Unsound::Damaged(format!("room {} lacks events", row.get::<_, i64>(0)?))),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use chat_core::ids::{RoomNo, Seq};

    use super::*;
    use crate::sqlite::{migrations, rooms};

    /// A database with one room, the oldest of whose events is 5 and the newest 24.
    pub(in crate::sqlite) const ROOM: &str = "
        INSERT INTO rooms (no, first_seq, last_seq, version, created_at, id, epoch, kind, visibility, name, topic)
            VALUES (1, 5, 24, 0, 0, 'r', 'e', 'group', 'public', '', '');
        INSERT INTO events (room, seq, at, author, kind, deleted)
            WITH RECURSIVE seqs (seq) AS (VALUES (5) UNION ALL SELECT seq + 1 FROM seqs WHERE seq < 24)
            SELECT 1, seq, 0, 'ann', 1, 0 FROM seqs;";

    fn database() -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        migrations::run(&mut conn).unwrap();
        conn.execute_batch(ROOM).unwrap();
        conn
    }

    #[test]
    fn a_room_that_lacks_events_is_found() {
        let is_sound = |change: &str| {
            let conn = database();
            conn.execute_batch(change).unwrap();
            check_ends(&conn).is_ok()
        };
        for sound in [
            "",
            "UPDATE rooms SET last_seq = 9",
            "DELETE FROM events; UPDATE rooms SET first_seq = 25",
            "DELETE FROM events; DELETE FROM rooms",
        ] {
            assert!(is_sound(sound), "{sound}");
        }
        for damaged in [
            "DELETE FROM events WHERE seq = 5",
            "DELETE FROM events WHERE seq = 14",
            "DELETE FROM events WHERE seq = 24",
            "DELETE FROM events",
            "UPDATE rooms SET last_seq = 8",
            "UPDATE rooms SET last_seq = 25",
            "UPDATE rooms SET first_seq = 4",
        ] {
            assert!(!is_sound(damaged), "{damaged}");
        }
    }

    #[test]
    fn an_end_is_that_of_the_events_whatever_was_noted() {
        let conn = database();
        let noted = || conn.query_row("SELECT last_seq FROM rooms", [], |row| row.get::<_, i64>(0)).unwrap();
        conn.execute_batch("UPDATE rooms SET last_seq = 9").unwrap();
        assert_eq!(rooms::ends(&conn, &[RoomNo(1), RoomNo(2)]).unwrap(), [Some(Seq(24)), None]);
        assert_eq!(noted(), 9);
        rooms::note_ends(&conn).unwrap();
        assert_eq!(noted(), 24);
        conn.execute_batch("DELETE FROM events").unwrap();
        assert_eq!(rooms::ends(&conn, &[RoomNo(1)]).unwrap(), [Some(Seq(24))]);
    }
}
