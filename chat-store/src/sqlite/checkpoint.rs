//! Moving the write-ahead log into the database, mostly off the commit path.
//!
//! A thread of its own copies what it can while commits go on: once the log has [`WAL_PAGES_COPY_MIN`] pages, but no
//! more often than every [`COPY_PAUSE`], or at [`WAL_PAGES_COPY`]. What was written many times meanwhile is copied once.
//! Where no commit fell into that copying, the next one starts the log from its beginning. Under constant writing one
//! always does, and the log would grow without end: past [`WAL_PAGES_RESTART_MIN`] what came meanwhile is copied too,
//! until it is little, and then the writer itself copies the rest and starts the log anew; past [`WAL_PAGES_MAX`] it does
//! so whatever the rest is. Once nobody writes, the log is emptied, so that texts deleted meanwhile are in no file any more.

use std::{
    sync::{
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{
    fault::{Health, health},
    open::BUSY_MAX,
    shared::Shared,
};

/// Pages of the log that are worth copying: 4 MiB. SQLite's own default.
const WAL_PAGES_COPY_MIN: u32 = 1000;

/// From one copying to the next, where the log has not got long meanwhile.
const COPY_PAUSE: Duration = Duration::from_secs(2);

/// Pages of the log after which they are copied however short ago that was: 48 MiB. With 2,500 rooms of two users, whose
/// messages change some 5,000 pages in turn, the group `commit/rooms` of the benches tells what a longer log saves.
const WAL_PAGES_COPY: u32 = 12_000;

/// A log of fewer pages than this, 16 MiB, goes on where its copying ended, and the writer is spared the fsyncs.
const WAL_PAGES_RESTART_MIN: u32 = 4000;

/// The writer copies no more pages than this by itself, unless the log gets too long: some 3 ms.
const WAL_PAGES_REST_MAX: u32 = 500;

/// Pages of the log after which the writer stops to start it anew: 64 MiB, which a start after a crash reads and copies
/// in a second. A reader that stays in one transaction meanwhile can make it grow on; ours do not.
pub(super) const WAL_PAGES_MAX: u32 = 16_000;

/// Without a commit for this long the log is emptied.
const IDLE: Duration = Duration::from_secs(2);

/// Pages after which the writer tries again where a reader was in the way.
const RETRY_PAGES: u32 = 1000;

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
        // Where a reader was in the way, copying again at once would do no better.
        Ok(done) if done.copied == done.pages => {
            shared.copied_pages.store(u32::try_from(done.copied).unwrap_or(0), Ordering::Release);
        }
        Ok(_) => {}
        Err(error) if health(&error) == Health::Broken => shared.break_down(),
        Err(error) => tracing::debug!(%error, "a checkpoint was put off"),
    }
}

/// When to do what about the log, decided by the writer after each commit.
#[derive(Debug)]
pub(super) struct Pace {
    /// Pages in the log when it was last asked.
    pages: u32,
    copied_at: Instant,
    copy_pages: u32,
    restart_pages: u32,
}

impl Pace {
    /// Of a log that begins now.
    pub(super) const fn new(now: Instant) -> Self {
        Self { pages: 0, copied_at: now, copy_pages: WAL_PAGES_COPY, restart_pages: WAL_PAGES_MAX }
    }

    /// What is due with this many pages in the log; `copied` of them are in the file, where the other thread has told
    /// so since the writer last asked.
    pub(super) fn due(&mut self, now: Instant, pages: u32, copied: Option<u32>) -> Option<Mode> {
        // The log began anew. Where a commit has many pages, it may never be seen short.
        if pages < self.pages {
            (self.copy_pages, self.restart_pages) = (WAL_PAGES_COPY, WAL_PAGES_MAX);
        }
        self.pages = pages;
        if pages < WAL_PAGES_COPY_MIN {
            return None;
        }
        // Without an answer, or with one about an earlier log, nothing follows from it.
        let rest =
            copied.filter(|_| pages >= WAL_PAGES_RESTART_MIN).and_then(|copied| pages.checked_sub(copied));
        if pages >= self.restart_pages || rest.is_some_and(|rest| rest <= WAL_PAGES_REST_MAX) {
            // Where somebody is in the way, not at each of the next commits again.
            self.restart_pages = self.restart_pages.max(pages + RETRY_PAGES);
            Some(Mode::Restart)
        } else if rest.is_some() || pages >= self.copy_pages || now >= self.copied_at + COPY_PAUSE {
            self.copied_at = now;
            self.copy_pages = self.copy_pages.max(pages + WAL_PAGES_COPY_MIN);
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
    fn a_slow_log_is_copied_now_and_then() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.due(start + COPY_PAUSE, 999, None), None);
        assert_eq!(pace.due(start + COPY_PAUSE, 1000, None), Some(Mode::Passive));
        assert_eq!(pace.due(start + COPY_PAUSE, 1001, Some(1000)), None, "it is short");
        let later = start + 2 * COPY_PAUSE;
        assert_eq!(pace.due(start + COPY_PAUSE + COPY_PAUSE / 2, 4100, None), None);
        assert_eq!(pace.due(later, 4110, None), Some(Mode::Passive));
        assert_eq!(pace.due(later, 4800, None), None, "the copying goes on");
        assert_eq!(pace.due(later, 4810, Some(4110)), Some(Mode::Passive), "much came meanwhile");
        assert_eq!(pace.due(later, 4910, Some(4810)), Some(Mode::Restart));
        assert_eq!(pace.due(later, 10, None), None);
    }

    #[test]
    fn a_fast_log_is_copied_when_it_is_long_and_started_anew_at_its_bound() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(pace.due(now, 11_999, None), None);
        assert_eq!(pace.due(now, 12_000, None), Some(Mode::Passive));
        assert_eq!(pace.due(now, 12_999, None), None);
        assert_eq!(pace.due(now, 13_500, None), Some(Mode::Passive));
        assert_eq!(pace.due(now, 16_000, None), Some(Mode::Restart));
        assert_eq!(pace.due(now, 16_001, None), Some(Mode::Passive), "a reader was in the way");
        assert_eq!(pace.due(now, 16_999, None), None);
        assert_eq!(pace.due(now, 17_000, None), Some(Mode::Restart));
        assert_eq!(pace.due(now, 10, None), None);
        assert_eq!(pace.due(now, 12_000, Some(17_000)), Some(Mode::Passive), "that was an earlier log");
        assert_eq!(pace.due(now, 12_001, None), None);
    }

    #[test]
    fn a_log_of_large_commits_is_started_anew_at_the_same_bound_each_time() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        let (mut pages, mut restarts) = (0, 0);
        for _ in 0..1000 {
            pages += 1500;
            assert!(pages < WAL_PAGES_MAX + 1500, "{pages} pages");
            if pace.due(now, pages, None) == Some(Mode::Restart) {
                (pages, restarts) = (0, restarts + 1);
            }
        }
        assert_eq!(restarts, 1000 / 11, "at 16,500 pages");
    }
}
