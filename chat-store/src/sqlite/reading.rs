//! A database that is read while a server may have it: what every copy begins with.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::{Connection, OpenFlags};

#[cfg(target_os = "linux")]
use super::inode::Use;
use super::{OpenError, open};

/// Instructions of SQLite's machine between two looks whether to stop: some 10 µs, unless the disk is slow.
const STOP_LOOK_STEPS: i32 = 1000;

/// A connection that reads, and leaves a database and what is beside it as it was.
#[derive(Debug)]
pub(super) struct Reading {
    // Fields drop in this order: what the connection left goes after it, and the locks of other connections last.
    conn: Connection,
    _traces: Traces,
    #[cfg(target_os = "linux")]
    _use: Use,
}

impl Reading {
    /// Opens a database that is there, until `stop` is set. Whether it is one of ours is for the caller to find out.
    pub(super) fn open(database: &Path, stop: &Arc<AtomicBool>) -> Result<Self, OpenError> {
        if !fs::exists(database).map_err(|source| OpenError::Io { path: database.to_owned(), source })? {
            return Err(OpenError::Missing { path: database.to_owned() });
        }
        #[cfg(target_os = "linux")]
        let reading = reading(database)?;
        let traces = Traces::of_reading(database);
        let conn = stoppable(open::reader(database), stop);
        Ok(Self {
            conn: conn.map_err(|error| OpenError::database(database, error))?,
            _traces: traces,
            #[cfg(target_os = "linux")]
            _use: reading,
        })
    }

    pub(super) const fn conn(&self) -> &Connection {
        &self.conn
    }
}

/// Says that a database will be read. It must not be in use by another name, beside which a part of it is.
#[cfg(target_os = "linux")]
fn reading(database: &Path) -> Result<Use, OpenError> {
    let io = |source| OpenError::Io { path: database.to_owned(), source };
    let reading = Use::reading(database).map_err(io)?;
    if reading.has_another_name_in_use(database).map_err(io)? {
        return Err(OpenError::InUse { path: database.to_owned() });
    }
    Ok(reading)
}

/// A connection whose work ends with an error once `stop` is set.
pub(super) fn stoppable(
    conn: rusqlite::Result<Connection>,
    stop: &Arc<AtomicBool>,
) -> rusqlite::Result<Connection> {
    let mut conn = conn?;
    let stop = Arc::clone(stop);
    conn.progress_handler(STOP_LOOK_STEPS, Some(move || stop.load(Ordering::Acquire)))?;
    Ok(conn)
}

/// A connection to a file that is there.
pub(super) fn file_connection(file: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// The file that SQLite keeps beside a database under this suffix.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The empty log and its shared memory that reading makes beside a database that nobody has open. They go when this is
/// dropped, after the connection that read.
#[derive(Debug)]
struct Traces(Option<PathBuf>);

impl Traces {
    fn of_reading(database: &Path) -> Self {
        Self(log_bytes(database).is_none().then(|| database.to_owned()))
    }

    /// A connection that only reads cannot remove them; one that could write does when it closes, unless another has
    /// the database open by then. Nobody is told where that fails: a copy is no worse for it.
    fn remove(database: &Path) -> rusqlite::Result<()> {
        let conn = file_connection(database)?;
        conn.query_row("SELECT 1 FROM sqlite_schema", [], |_| Ok(()))?;
        conn.close().map_err(|(_, error)| error)
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // Where somebody has written meanwhile, the log is theirs.
        if let Some(database) = self.0.as_deref().filter(|database| log_bytes(database) == Some(0)) {
            let _ = Self::remove(database);
        }
    }
}

/// The size of a database's log, where it has one. SQLite has it beside the file, not beside a link to it.
fn log_bytes(database: &Path) -> Option<u64> {
    let database = database.canonicalize().ok()?;
    fs::metadata(beside(&database, "-wal")).ok().map(|log| log.len())
}
