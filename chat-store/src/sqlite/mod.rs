//! [`SqliteStore`]: rooms and timelines in one SQLite file.
//!
//! One thread writes ([`writer`]), some read ([`shared`]), one moves the write-ahead log into the file ([`checkpoint`]).
//! A call is a closure that waits in a [`queue`] for its thread. [`batch`] applies the rules of
//! [`chat_core::store::judge`] inside the transaction; [`recover`] says what a failed fsync means.

mod backup;
mod batch;
mod checkpoint;
mod epochs;
mod events;
#[cfg(feature = "postgres")]
pub(crate) mod export;
mod fault;
#[cfg(target_os = "linux")]
mod inode;
mod known;
pub(crate) mod maintenance;
mod migrations;
mod open;
mod options;
mod page;
mod people;
mod place;
mod plain;
mod queue;
mod reading;
mod recover;
mod rooms;
mod rows;
mod shared;
mod views;
mod writer;

use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::AtomicBool,
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
};

use chat_core::{
    ids::{RoomId, RoomNo, Seq, UserId},
    rights::Actor,
    store::{
        Append, BoxFuture, Created, Member, NewRoom, NoPage, Outcomes, Page, PageQuery, ReadMark, Refused,
        RoomView, Store, StoreError,
    },
};
use rusqlite::TransactionBehavior;
use tokio::sync::oneshot;

#[cfg(feature = "postgres")]
pub(crate) use self::rows::room_end;
use self::{
    checkpoint::Mode,
    fault::{Transaction, transaction},
    place::Place,
    queue::{Job, Queue},
    shared::Shared,
    writer::Writer,
};
pub use self::{
    open::OpenError,
    options::{SqliteOptions, Synchronous},
};

/// A store in one SQLite file, for one server at a time.
///
/// It has threads of its own: one writes, some read, one moves the write-ahead log into the file. It needs no runtime.
/// Dropping it waits for what they are doing, closes the file and gives it free, so that it can be opened again at once.
///
/// After a failed fsync it closes the file, opens and checks it, and goes on by itself; meanwhile everything is answered
/// with [`StoreError::Unavailable`]. A full disk refuses changes and lets reads go on.
///
/// Beside `chat.db` stand `chat.db-wal` and `chat.db-shm` while it is open, and `chat.db.lock` for ever. A network file
/// system is no place for it. SQLite's locks on it are lost where the process opens and closes the file by other means.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use chat_core::store::Store;
/// use chat_store::SqliteStore;
/// let dir = tempfile::tempdir()?;
/// let store = SqliteStore::open(dir.path().join("chat.db")).await?;
/// store.ping().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SqliteStore {
    // Fields drop in this order: threads end once their queue is closed, and are then waited for.
    readers: Queue,
    writer: Queue,
    shared: Arc<Shared>,
    _threads: Threads,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

/// Waits for its threads when it is dropped.
#[derive(Default)]
struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.0.push(thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the database panicked");
            }
        }
    }
}

impl SqliteStore {
    /// Opens a database with the default options; it is made where there is none, and so are the directories above it.
    ///
    /// # Errors
    /// [`OpenError`]; the file is then as it was.
    ///
    /// # Cancel safety
    /// Dropping the future waits until the file is closed again.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        SqliteOptions::new().open(path).await
    }

    /// Opens a throw-away database: see [`SqliteOptions::open_in_memory`].
    ///
    /// # Errors
    /// [`OpenError`] where no temporary file can be made.
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing behind.
    pub async fn in_memory() -> Result<Self, OpenError> {
        SqliteOptions::new().open_in_memory().await
    }

    /// The database's one absolute path.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Moves the whole write-ahead log into the file and empties it, as it also happens by itself when nobody writes.
    /// Whether it could: a reader may have been in the way.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the disk refuses.
    ///
    /// # Cancel safety
    /// A dropped future leaves open whether it happened.
    pub async fn checkpoint(&self) -> Result<bool, StoreError> {
        self.writer.run(|conn| Ok(!checkpoint::checkpoint(conn, Mode::Truncate)?.busy)).await
    }

    /// Claims the place, opens the database there, and starts the threads.
    async fn start(
        claim: impl FnOnce() -> Result<Place, OpenError> + Send + 'static,
        options: SqliteOptions,
    ) -> Result<Self, OpenError> {
        // First, and so dropped last: it waits for threads that end once their queues are closed.
        let mut threads = Threads::default();
        let serving = Arc::new(AtomicBool::new(false));
        let (readers, read_jobs) = Queue::new(Arc::clone(&serving));
        let (writer, write_jobs) = Queue::new(Arc::clone(&serving));
        let (wake, wakes) = sync_channel(1);
        let (opened, open) = oneshot::channel();
        let io = |source| OpenError::Io { path: "database".into(), source };
        let run = move || {
            let writer = claim().and_then(|place| {
                let shared = Arc::new(Shared::new(place, options, serving));
                Writer::open(Arc::clone(&shared), write_jobs, wake).map(|writer| (writer, shared))
            });
            match writer {
                Ok((writer, shared)) => {
                    // Where nobody waits any more, the queue is closed too, and the writer ends at once.
                    let _ = opened.send(Ok(shared));
                    writer.run();
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        };
        threads.spawn("chat-writer".into(), run).map_err(io)?;
        let gone = |_| io(io::Error::other("the database's thread ended"));
        let shared = open.await.map_err(gone)??;
        threads.spawn_readers(&shared, read_jobs).map_err(io)?;
        let checkpointed = Arc::clone(&shared);
        threads
            .spawn("chat-checkpoint".into(), move || checkpoint::run(&checkpointed, &wakes))
            .map_err(io)?;
        Ok(Self { readers, writer, shared, _threads: threads })
    }

    /// Runs `work` in a write transaction.
    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        Box::pin(self.writer.run(|conn| transaction(conn, work)))
    }

    /// Runs `work` in a read transaction.
    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let read = |conn: &mut rusqlite::Connection| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Deferred)?;
            Ok(work(&tx)?)
        };
        Box::pin(self.readers.run(read))
    }
}

impl Threads {
    fn spawn_readers(&mut self, shared: &Arc<Shared>, jobs: Receiver<Job>) -> io::Result<()> {
        let jobs = Arc::new(Mutex::new(jobs));
        for index in 0..shared.readers.len() {
            let (shared, jobs) = (Arc::clone(shared), Arc::clone(&jobs));
            self.spawn(format!("chat-reader-{index}"), move || shared::read(&shared, index, &jobs))?;
        }
        Ok(())
    }
}

impl Store for SqliteStore {
    fn append(&self, mut batch: Vec<Append>) -> BoxFuture<'_, Result<Outcomes, StoreError>> {
        let memory = Arc::clone(&self.shared.memory);
        Box::pin(self.writer.run(move |conn| batch::append(conn, &memory, &mut batch)))
    }

    fn create_room(&self, room: NewRoom, rooms_max: u64) -> BoxFuture<'_, Result<Created, StoreError>> {
        self.write(move |tx| rooms::create(tx, &room, rooms_max))
    }

    fn delete_room(
        &self,
        room: RoomNo,
        actor: Actor,
    ) -> BoxFuture<'_, Result<Result<(), Refused>, StoreError>> {
        let memory = Arc::clone(&self.shared.memory);
        self.write(move |tx| {
            memory.forget(room);
            rooms::delete(tx, room, &actor)
        })
    }

    fn trim(&self, room: RoomNo, first: Seq) -> BoxFuture<'_, Result<Option<Seq>, StoreError>> {
        let memory = Arc::clone(&self.shared.memory);
        self.write(move |tx| {
            memory.forget(room);
            rooms::trim(tx, room, first)
        })
    }

    fn save_read_marks(&self, marks: Vec<ReadMark>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(move |tx| rooms::save_read_marks(tx, &marks))
    }

    fn room(&self, id: RoomId, user: UserId) -> BoxFuture<'_, Result<Option<RoomView>, StoreError>> {
        self.read(move |tx| views::room(tx, &id, &user))
    }

    fn rooms(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<RoomView>, StoreError>> {
        self.read(move |tx| views::rooms(tx, &user, after.as_ref(), limit))
    }

    fn members(
        &self,
        room: RoomNo,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Member>, StoreError>> {
        self.read(move |tx| people::members(tx, room, after.as_ref(), limit))
    }

    /// Asks the writer, after all that was handed in before.
    fn ends(&self, rooms: Vec<RoomNo>) -> BoxFuture<'_, Result<Vec<Option<Seq>>, StoreError>> {
        Box::pin(self.writer.run(move |conn| Ok(rooms::ends(conn, &rooms)?)))
    }

    fn page(&self, query: PageQuery) -> BoxFuture<'_, Result<Result<Page, NoPage>, StoreError>> {
        self.read(move |tx| page::page(tx, &query))
    }

    /// Asks the writer: a store that cannot commit does not answer.
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.writer.run(|conn| Ok(conn.query_row("SELECT 1", [], |_| Ok(()))?)))
    }
}
