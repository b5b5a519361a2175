//! Moving the write-ahead log into the database, mostly off the commit path.
//!
//! Every [`WAL_PAGES_PASSIVE`] pages a thread of its own copies what it can while commits go on. Where no commit fell
//! into that copying, the next one starts the log from its beginning. Under constant writing one always does, and the
//! log would grow without end: past [`WAL_PAGES_MAX`] the writer itself copies the little that is left, and starts it
//! anew. Once nobody writes, the log is emptied, so that texts deleted meanwhile are in no file any more.

use std::{
    sync::{
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use rusqlite::Connection;

use super::{
    fault::{Health, health},
    open::BUSY_MAX,
    shared::Shared,
};

/// Pages of the log after which they are copied beside the commits: 4 MiB. SQLite's own default.
pub(super) const WAL_PAGES_PASSIVE: u32 = 1000;

/// Pages of the log after which the writer stops to start it anew: 16 MiB. A reader that stays in one transaction
/// meanwhile can make it grow on; ours do not.
pub(super) const WAL_PAGES_MAX: u32 = 4 * WAL_PAGES_PASSIVE;

/// Without a commit for this long the log is emptied.
const IDLE: Duration = Duration::from_secs(2);

/// Pages after which the writer tries again where a reader was in the way.
const RETRY_PAGES: u32 = WAL_PAGES_PASSIVE / 4;

/// How long the writer waits for readers when it starts the log anew; a history page takes well under 1 ms.
const RESTART_WAIT_MAX: Duration = Duration::from_millis(20);

/// How far a checkpoint goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Copies what is in nobody's way.
    Passive,
    /// Copies everything; the next commit starts the log from its beginning.
    Restart,
    /// The same, and cuts the log to 0 bytes.
    Truncate,
}

/// What a checkpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Done {
    /// Somebody was in the way of all that the mode asks for.
    pub(super) busy: bool,
    /// Pages in the log.
    pub(super) pages: i64,
    /// Those of them that are in the database now.
    pub(super) copied: i64,
}

/// Copies pages from the log into the database.
pub(super) fn checkpoint(conn: &Connection, mode: Mode) -> rusqlite::Result<Done> {
    let sql = match mode {
        Mode::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Mode::Restart => "PRAGMA wal_checkpoint(RESTART)",
        Mode::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    conn.query_row(sql, [], |row| Ok(Done { busy: row.get(0)?, pages: row.get(1)?, copied: row.get(2)? }))
}

/// The checkpointer's thread: until the writer is gone.
pub(super) fn run(shared: &Shared, wakes: &Receiver<()>) {
    let mut commits_before = 0;
    loop {
        let mode = match wakes.recv_timeout(IDLE) {
            Ok(()) => Mode::Passive,
            Err(RecvTimeoutError::Timeout) => Mode::Truncate,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let commits = shared.commits.load(Ordering::Acquire);
        let quiet = commits == commits_before && shared.wal_pages.load(Ordering::Acquire) > 0;
        commits_before = commits;
        if mode == Mode::Passive || quiet {
            work(shared, mode);
        }
    }
}

fn work(shared: &Shared, mode: Mode) {
    let slot = shared.checkpointer.lock();
    let Some(conn) = slot.as_ref() else { return };
    match checkpoint(conn, mode) {
        Ok(done) if mode == Mode::Truncate && !done.busy => shared.wal_pages.store(0, Ordering::Release),
        Ok(_) => {}
        Err(error) if health(&error) == Health::Broken => shared.break_down(),
        Err(error) => tracing::debug!(%error, "a checkpoint was put off"),
    }
}

/// When to do what about the log, decided by the writer after each commit.
#[derive(Debug)]
pub(super) struct Pace {
    passive_at: u32,
    restart_at: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { passive_at: WAL_PAGES_PASSIVE, restart_at: WAL_PAGES_MAX }
    }
}

impl Pace {
    /// What is due with this many pages in the log.
    pub(super) fn due(&mut self, pages: u32) -> Option<Mode> {
        if pages < WAL_PAGES_PASSIVE {
            *self = Self::default();
            None
        } else if pages >= self.restart_at {
            // Where somebody is in the way, not at each of the next commits again.
            self.restart_at = pages + RETRY_PAGES;
            Some(Mode::Restart)
        } else if pages >= self.passive_at {
            self.passive_at = pages + WAL_PAGES_PASSIVE;
            Some(Mode::Passive)
        } else {
            None
        }
    }
}

/// Starts the log anew from the writer's own connection.
pub(super) fn restart(shared: &Shared, conn: &Connection) -> Health {
    // SQLite lets one checkpoint run at a time and refuses the second: wait for the other thread's, milliseconds.
    let _alone = shared.checkpointer.lock();
    let restarted = conn.busy_timeout(RESTART_WAIT_MAX).and_then(|()| checkpoint(conn, Mode::Restart));
    let reset = conn.busy_timeout(BUSY_MAX);
    match restarted.and_then(|done| reset.map(|()| done)) {
        Ok(done) if done.busy => {
            tracing::warn!(pages = done.pages, "the write-ahead log cannot be started anew");
        }
        Ok(_) => {}
        Err(error) if health(&error) == Health::Broken => return Health::Broken,
        Err(error) => tracing::warn!(%error, "the write-ahead log cannot be started anew"),
    }
    Health::Sound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_copied_now_and_then_and_started_anew_at_its_bound() {
        let mut pace = Pace::default();
        assert_eq!(pace.due(999), None);
        assert_eq!(pace.due(1000), Some(Mode::Passive));
        assert_eq!(pace.due(1999), None);
        assert_eq!(pace.due(2500), Some(Mode::Passive));
        assert_eq!(pace.due(4000), Some(Mode::Restart));
        assert_eq!(pace.due(4001), Some(Mode::Passive), "a reader was in the way");
        assert_eq!(pace.due(4250), Some(Mode::Restart));
        assert_eq!(pace.due(10), None);
        assert_eq!(pace.due(1000), Some(Mode::Passive));
    }
}
