//! What the threads of one store share.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
        mpsc::Receiver,
    },
};

use rusqlite::Connection;

use super::{fault::Health, known::Memory, open, options::SqliteOptions, place::Place, queue::Job};

/// A connection that its thread uses and the writer's thread puts in and takes out. Who holds the lock uses it.
#[derive(Default)]
pub(super) struct Slot(Mutex<Option<Connection>>);

impl Slot {
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the threads of one store share.
///
/// The writer's thread owns the write connection and decides over all others: it opens them, and closes them all when
/// the database has to be opened again.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) options: SqliteOptions,
    /// Whether work is taken; false while the database is opened again.
    pub(super) serving: Arc<AtomicBool>,
    /// Set by a thread that met a failure after which the database has to be opened again.
    pub(super) broken: AtomicBool,
    /// Pages in the WAL after the last commit.
    pub(super) wal_pages: AtomicU32,
    /// Pages of the WAL that are in the file, told by the checkpointer and taken by the writer; 0 where there is no news.
    pub(super) copied_pages: AtomicU32,
    /// Commits since the start.
    pub(super) commits: AtomicU64,
    /// What the writer knows between two batches.
    pub(super) memory: Arc<Memory>,
    pub(super) readers: Vec<Slot>,
    pub(super) checkpointer: Slot,
    // Last: given back once these connections are closed.
    _place: Place,
}

impl Shared {
    pub(super) fn new(place: Place, options: SqliteOptions, serving: Arc<AtomicBool>) -> Self {
        let readers = std::iter::repeat_with(Slot::default).take(options.readers.get()).collect();
        Self {
            path: place.path().to_owned(),
            options,
            serving,
            broken: AtomicBool::new(false),
            wal_pages: AtomicU32::new(0),
            copied_pages: AtomicU32::new(0),
            commits: AtomicU64::new(0),
            memory: Arc::default(),
            readers,
            checkpointer: Slot::default(),
            _place: place,
        }
    }

    /// Opens the connections of the other threads.
    pub(super) fn open_slots(&self) -> rusqlite::Result<()> {
        for slot in &self.readers {
            *slot.lock() = Some(open::reader(&self.path)?);
        }
        *self.checkpointer.lock() = Some(open::checkpointer(&self.path, &self.options)?);
        Ok(())
    }

    /// Closes the connections of the other threads, once what they are doing is done.
    pub(super) fn close_slots(&self) {
        for slot in self.readers.iter().chain([&self.checkpointer]) {
            *slot.lock() = None;
        }
    }

    pub(super) fn break_down(&self) {
        self.broken.store(true, Ordering::Release);
    }
}

/// A reader's thread: takes jobs as they come, until the queue is closed.
pub(super) fn read(shared: &Shared, index: usize, jobs: &Mutex<Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let mut slot = shared.readers[index].lock();
        // Without a connection the job is dropped, which answers it.
        if let Some(conn) = slot.as_mut() {
            run_guarded(job, conn);
        }
    }
}

/// Runs a job. Our own mistake in one must not end the thread that all others need.
pub(super) fn run_guarded(job: Job, conn: &mut Connection) -> Health {
    catch_unwind(AssertUnwindSafe(|| job.run(conn))).unwrap_or_else(|_| {
        tracing::error!("a job on the database panicked");
        Health::Broken
    })
}
