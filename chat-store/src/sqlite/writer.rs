//! The thread that owns the write connection.

use std::{
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, SyncSender},
    },
    time::{Duration, Instant},
};

use chat_core::limits::{STORE_RETRY_MAX, STORE_RETRY_MIN};
use rusqlite::Connection;

use super::{
    OpenError,
    checkpoint::{self, Mode, Pace},
    fault::Health,
    open,
    queue::Job,
    recover::{self, Unsound},
    rooms,
    shared::{Shared, run_guarded},
};

/// How often an idle writer looks whether another thread met a failure.
const TICK: Duration = Duration::from_secs(1);

/// Pause before a damaged database is looked at again: that reads all of it, and seldom helps.
const DAMAGED_PAUSE: Duration = Duration::from_mins(1);

/// The write connection and all that decides over it.
pub(super) struct Writer {
    // First: the place, which is shared, is given back once the connection is closed.
    conn: Option<Connection>,
    shared: Arc<Shared>,
    jobs: Receiver<Job>,
    /// Wakes the checkpointer; a wake on top of a wake is dropped.
    checkpoint: SyncSender<()>,
    pace: Pace,
}

/// The queue was closed: the store is gone.
struct Closed;

impl Writer {
    /// Opens the database for the first time.
    pub(super) fn open(
        shared: Arc<Shared>,
        jobs: Receiver<Job>,
        checkpoint: SyncSender<()>,
    ) -> Result<Self, OpenError> {
        let (path, options) = (&shared.path, &shared.options);
        open::inspect(path, options.start_check)?;
        let database = |error| OpenError::database(path, error);
        let conn = open::writer(path, options).map_err(database)?;
        recover::settle(&conn).map_err(|unsound| unsound.at(path))?;
        shared.open_slots().map_err(database)?;
        let mut writer = Self { conn: None, shared, jobs, checkpoint, pace: Pace::new(Instant::now()) };
        writer.take(conn).map_err(|error| OpenError::database(&writer.shared.path, error))?;
        Ok(writer)
    }

    /// Does what comes, until the store is dropped; then closes everything.
    pub(super) fn run(mut self) {
        while let Ok(health) = self.step() {
            let broken = self.shared.broken.swap(false, Ordering::AcqRel);
            if (broken || health == Health::Broken) && self.recover().is_err() {
                break;
            }
        }
        self.shared.close_slots();
        let sound = self.conn.take().filter(|_| !self.shared.broken.load(Ordering::Acquire));
        let close = |conn| rooms::note_ends(&conn).and_then(|()| open::close(conn));
        if let Some(Err(error)) = sound.map(close) {
            tracing::warn!(%error, "the database was closed with its log left beside it");
        }
    }

    fn step(&mut self) -> Result<Health, Closed> {
        let job = match self.jobs.recv_timeout(TICK) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => return Ok(Health::Sound),
            Err(RecvTimeoutError::Disconnected) => return Err(Closed),
        };
        let Some(conn) = &mut self.conn else { return Ok(Health::Broken) };
        let health = run_guarded(job, conn);
        // A transaction that could not even be rolled back would swallow the next one.
        if health == Health::Broken || !conn.is_autocommit() {
            return Ok(Health::Broken);
        }
        let pages = self.shared.wal_pages.load(Ordering::Acquire);
        let copied = Some(self.shared.copied_pages.swap(0, Ordering::AcqRel)).filter(|copied| *copied > 0);
        Ok(match self.pace.due(Instant::now(), pages, copied) {
            Some(Mode::Passive) => {
                // Full: it has been woken already.
                let _ = self.checkpoint.try_send(());
                Health::Sound
            }
            Some(Mode::Restart | Mode::Truncate) => checkpoint::restart(&self.shared, conn),
            None => Health::Sound,
        })
    }

    /// Takes a connection into use.
    fn take(&mut self, mut conn: Connection) -> rusqlite::Result<()> {
        let shared = Arc::clone(&self.shared);
        conn.wal_hook(Some(move |_: &mut _, pages| {
            shared.wal_pages.store(u32::try_from(pages).unwrap_or(0), Ordering::Release);
            shared.commits.fetch_add(1, Ordering::AcqRel);
            Ok(())
        }))?;
        self.conn = Some(conn);
        // What was committed last may not be there any more.
        drop(self.shared.memory.take());
        self.pace = Pace::new(Instant::now());
        self.shared.wal_pages.store(0, Ordering::Release);
        self.shared.serving.store(true, Ordering::Release);
        Ok(())
    }

    /// Closes every connection and opens them again, however long that takes: see [`recover`].
    fn recover(&mut self) -> Result<(), Closed> {
        self.shared.serving.store(false, Ordering::Release);
        tracing::error!("the database failed and is opened again");
        let mut pause = STORE_RETRY_MIN;
        self.refuse_jobs_for(Duration::ZERO)?;
        loop {
            self.shared.close_slots();
            self.conn = None;
            // With its connections the database has lost every failure so far; what follows is a new one.
            self.shared.broken.store(false, Ordering::Release);
            match self.reopen() {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the database is still out of use"
                    );
                    let damaged = matches!(error, Unsound::Damaged(_));
                    self.refuse_jobs_for(if damaged { DAMAGED_PAUSE } else { pause })?;
                    pause = (pause * 2).min(STORE_RETRY_MAX);
                }
            }
        }
        tracing::info!("the database is in use again");
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), Unsound> {
        let conn = recover::reopen(&self.shared)?;
        self.shared.open_slots()?;
        self.take(conn)?;
        Ok(())
    }

    /// Drops the jobs that come meanwhile, which answers them.
    fn refuse_jobs_for(&self, pause: Duration) -> Result<(), Closed> {
        let until = Instant::now() + pause;
        loop {
            match self.jobs.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(job) => drop(job),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(Closed),
            }
        }
    }
}
