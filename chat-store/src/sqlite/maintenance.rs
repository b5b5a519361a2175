//! What is done to a SQLite file beside serving it: see [`crate::maintenance`].

use std::{
    fs, future, io,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::oneshot;

pub use super::backup::{BackupError, Copied};
use super::{
    OpenError, SqliteOptions, Threads, backup, epochs, migrations,
    open::{self, inspect},
    options::StartCheck,
    place::Place,
    recover::settle,
};
use crate::maintenance::Migrated;

/// Copies a database while a server, in this process or another, goes on reading and writing it. The copy holds
/// everything that was committed before the call, has new epochs for all rooms, and is no larger than it must be.
///
/// The copy is made and checked beside `copy` and gets its name once all of it is on the disk; nothing that is there
/// already is replaced: neither `copy` nor a log of an earlier file of that name. It has the permissions of the
/// database, which is not changed. While the database is read, its write-ahead log grows by what is committed
/// meanwhile. A server that starts just then waits for some seconds, and may find the database in use.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use chat_store::{SqliteStore, maintenance};
/// let dir = tempfile::tempdir()?;
/// let (database, copy) = (dir.path().join("chat.db"), dir.path().join("copy.db"));
/// let store = SqliteStore::open(&database).await?;
/// let copied = maintenance::backup(&database, &copy).await?;
/// assert_eq!(copied.rooms, 0);
/// SqliteStore::open(&copy).await?;
/// # drop(store);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`BackupError`]; nothing is then left of the copy.
///
/// # Cancel safety
/// Dropping the future stops it, and waits until nothing is left of the copy.
pub async fn backup(database: impl AsRef<Path>, copy: impl AsRef<Path>) -> Result<Copied, BackupError> {
    backup_until(database, copy, future::pending()).await
}

/// The same as [`backup`], but stops when `end` is done, and tells whether there is a copy all the same: one that has
/// its name by then is not taken back.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use chat_store::{SqliteStore, maintenance};
/// let dir = tempfile::tempdir()?;
/// let (database, copy) = (dir.path().join("chat.db"), dir.path().join("copy.db"));
/// drop(SqliteStore::open(&database).await?);
/// let copied = maintenance::backup_until(&database, &copy, std::future::ready(())).await;
/// assert_eq!(copied.is_ok(), copy.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`BackupError`], [`Stopped`](BackupError::Stopped) among them; nothing is then left of the copy.
///
/// # Cancel safety
/// As with [`backup`].
pub async fn backup_until(
    database: impl AsRef<Path>,
    copy: impl AsRef<Path>,
    end: impl Future<Output = ()>,
) -> Result<Copied, BackupError> {
    let (path, copy) = (database.as_ref().to_owned(), copy.as_ref().to_owned());
    on_a_thread(database.as_ref(), end, move |stop| backup::run(&path, &copy, stop)).await?
}

/// Gives every room of a database a new epoch, in one transaction. For after a restore by other means than a copy that
/// [`backup`] made. How many rooms there are.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use chat_store::{SqliteStore, maintenance};
/// let dir = tempfile::tempdir()?;
/// let database = dir.path().join("chat.db");
/// drop(SqliteStore::open(&database).await?);
/// assert_eq!(maintenance::renew_epochs(&database).await?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`OpenError`], [`InUse`](OpenError::InUse) among them where a server has it; every epoch is then as it was, unless
/// it was the commit itself that failed.
///
/// # Cancel safety
/// Dropping the future waits until it is done.
pub async fn renew_epochs(database: impl AsRef<Path>) -> Result<usize, OpenError> {
    let path = database.as_ref().to_owned();
    let renew = |place: &Place, _| {
        let path = place.path();
        let database = |error| OpenError::database(path, error);
        let conn = open::unmigrated_writer(path, &SqliteOptions::new()).map_err(database)?;
        settle(&conn).map_err(|unsound| unsound.at(path))?;
        let rooms = epochs::renew(&conn).map_err(database)?;
        open::close(conn).map_err(database)?;
        Ok(rooms)
    };
    alone_with(path, Absent::Refused, renew).await
}

/// Brings the schema of a database to the version that this program knows, as opening it does too. The database is made
/// where there is none.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use chat_store::maintenance;
/// let dir = tempfile::tempdir()?;
/// let migrated = maintenance::migrate(dir.path().join("chat.db")).await?;
/// assert!(migrated.from == 0 && migrated.to > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`OpenError`]; the database is then at a version between the two, each step being a transaction of its own.
///
/// # Cancel safety
/// Dropping the future waits until it is done.
pub async fn migrate(database: impl AsRef<Path>) -> Result<Migrated, OpenError> {
    let path = database.as_ref().to_owned();
    let migrate = |place: &Place, from| {
        let path = place.path();
        let database = |error| OpenError::database(path, error);
        let conn = open::writer(path, &SqliteOptions::new()).map_err(database)?;
        settle(&conn).map_err(|unsound| unsound.at(path))?;
        open::close(conn).map_err(database)?;
        Ok(Migrated { from, to: migrations::known() })
    };
    alone_with(path, Absent::Made, migrate).await
}

/// What happens where there is no database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    Refused,
    Made,
}

/// Claims a sound database against every server and does something to it, given the version of its schema.
async fn alone_with<T: Send + 'static>(
    path: PathBuf,
    absent: Absent,
    work: impl FnOnce(&Place, u32) -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    let asked = path.clone();
    let run = move |_: &Arc<AtomicBool>| {
        let io = |source| OpenError::Io { path: asked.clone(), source };
        // Before the claim, which makes directories and a lock.
        if absent == Absent::Refused && !fs::exists(&asked).map_err(io)? {
            return Err(OpenError::Missing { path: asked });
        }
        let place = Place::claim(&asked)?;
        match inspect(place.path(), StartCheck::Full)? {
            0 if absent == Absent::Refused => Err(OpenError::Missing { path: asked }),
            version => work(&place, version),
        }
    };
    on_a_thread(&path, future::pending(), run).await?
}

/// Does work for a database on a thread of its own. When `end` is done, the flag asks the work to stop. So it does where
/// the future is dropped, and the drop waits for the work.
pub(crate) async fn on_a_thread<T: Send + 'static>(
    database: &Path,
    end: impl Future<Output = ()>,
    work: impl FnOnce(&Arc<AtomicBool>) -> T + Send + 'static,
) -> Result<T, OpenError> {
    let io = |source| OpenError::Io { path: database.to_owned(), source };
    let (answer, mut done) = oneshot::channel();
    let stop = Arc::new(AtomicBool::new(false));
    // Dropped in the other order: asked first, then waited for.
    let mut threads = Threads::default();
    let asks = StopOnDrop(Arc::clone(&stop));
    threads
        .spawn("chat-maintenance".into(), move || {
            // Nobody waits any more where the future was dropped.
            let _ = answer.send(work(&stop));
        })
        .map_err(io)?;
    let mut end = pin!(async {
        end.await;
        asks.ask();
        future::pending::<()>().await;
    });
    let done = future::poll_fn(|context| {
        // It is never done.
        let _ = end.as_mut().poll(context);
        Pin::new(&mut done).poll(context)
    });
    done.await.map_err(|lost| io(io::Error::other(lost)))
}

struct StopOnDrop(Arc<AtomicBool>);

impl StopOnDrop {
    fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.ask();
    }
}
