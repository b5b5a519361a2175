//! Opening a database, and the reasons not to.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use super::{
    checkpoint::WAL_PAGES_MAX,
    migrations,
    options::{SqliteOptions, StartCheck},
};
use crate::migrations::Altered;

/// Why a database was not opened. The file is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another store has it, in this process or in another one; or another program keeps reading it.
    #[error("{path:?} is in use by another program")]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// There is none, and none was asked to be made: see [`maintenance`](crate::maintenance).
    #[error("{path:?} holds no database")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It is the database of another program.
    #[error("{path:?} is a database, but not one of this program")]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// It is no database, or a damaged one: restore a backup.
    #[error("{path:?} is damaged: {detail}")]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The first thing found, in one line.
        detail: String,
    },
    /// A newer version of this program wrote it.
    #[error("{path:?} has schema version {found}, this program knows versions up to {known}")]
    Newer {
        /// The database.
        path: PathBuf,
        /// The version of its schema.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// One of its migrations is another than the one of this program.
    #[error("{path:?} was made by another migration {version} than this program has")]
    Altered {
        /// The database.
        path: PathBuf,
        /// Which migration.
        version: u32,
    },
    /// The file, its directory or its lock cannot be used, or no thread can be had.
    #[error("{path:?} cannot be opened")]
    Io {
        /// The database.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite refuses.
    #[error("{path:?} cannot be used")]
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    pub(super) fn database(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path, detail: one_line(&error.to_string()) }
            }
            _ => Self::Database { path, source: error.into() },
        }
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no detail").to_owned()
}

/// Looks for reasons not to open a file, without writing to it. The version of its schema, 0 where there is none.
pub(super) fn inspect(path: &Path, check: StartCheck) -> Result<u32, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let database = |error| OpenError::database(path, error);
    if !fs::exists(path).map_err(io)? {
        return Ok(0);
    }
    let conn = open_untouched(path).map_err(database)?;
    identify(&conn, path, check)
}

/// Looks for reasons not to use a database. The version of its schema, 0 of an empty one.
pub(super) fn identify(conn: &Connection, path: &Path, check: StartCheck) -> Result<u32, OpenError> {
    let database = |error| OpenError::database(path, error);
    let application: u32 =
        conn.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(database)?;
    let found = migrations::version(conn).map_err(database)?;
    if application != migrations::APPLICATION_ID {
        return if is_empty(conn).map_err(database)? {
            Ok(0)
        } else {
            Err(OpenError::Foreign { path: path.to_owned() })
        };
    }
    if found > migrations::known() {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: migrations::known() });
    }
    if check == StartCheck::Full {
        quick_check(conn)
            .map_err(database)?
            .map_err(|detail| OpenError::Damaged { path: path.into(), detail })?;
    }
    let altered = |altered: Altered| OpenError::Altered { path: path.into(), version: altered.version };
    migrations::check(conn).map_err(database)?.map_err(altered)?;
    Ok(found)
}

fn is_empty(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}

/// Opens a file for a look, leaving no trace beside it where that can be.
///
/// A read-only connection to a database in WAL mode makes `-wal` and `-shm` files, and cannot remove them. Where no WAL
/// is left from a crash, `immutable` says that there is none to be looked for.
fn open_untouched(path: &Path) -> rusqlite::Result<Connection> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let wal_bytes = fs::metadata(wal).map_or(0, |wal| wal.len());
    let immutable = if wal_bytes == 0 { "?immutable=1" } else { "" };
    let uri = format!("file:{}{immutable}", escaped(path));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri, flags)
}

/// A path as part of a URI (RFC 3986, section 2.1).
fn escaped(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let escape =
        |byte: &u8| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") };
    path.as_os_str().as_encoded_bytes().iter().map(escape).collect()
}

/// Reads every page; the first thing that is wrong.
pub(super) fn quick_check(conn: &Connection) -> rusqlite::Result<Result<(), String>> {
    let found: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(if found == "ok" { Ok(()) } else { Err(one_line(&found)) })
}

/// How long the writer waits for a lock: only a checkpoint, or another program's hand in the file, holds it.
pub(super) const BUSY_MAX: Duration = Duration::from_secs(5);

/// Prepared statements that a connection keeps: more than there are.
const STATEMENTS_MAX: usize = 64;

/// The connection that writes, with the newest schema.
pub(super) fn writer(path: &Path, options: &SqliteOptions) -> rusqlite::Result<Connection> {
    let mut conn = unmigrated_writer(path, options)?;
    migrations::run(&mut conn)?;
    Ok(conn)
}

/// The connection that writes, with the schema as it is.
pub(super) fn unmigrated_writer(path: &Path, options: &SqliteOptions) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = connect(path, flags)?;
    conn.busy_timeout(BUSY_MAX)?;
    // Only an orderly end checkpoints when it closes: see `recover`.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.pragma_update(None, "cache_size", -16_384)?; // KiB
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "synchronous", options.synchronous.as_str())?;
    // Deleted texts are overwritten in the pages that held them. FAST would leave them in pages that become free.
    conn.pragma_update(None, "secure_delete", "ON")?;
    let page_bytes: i64 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
    conn.pragma_update(None, "journal_size_limit", page_bytes * i64::from(WAL_PAGES_MAX))?;
    Ok(conn)
}

/// A connection that has the database for itself, and reads the log with nothing but the log to go by. It waits for
/// nobody.
pub(super) fn alone(path: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(Duration::ZERO)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Before anything is read: the shared memory, which may know too much, is then not even opened.
    conn.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    Ok(conn)
}

/// Closes the last connection that writes: SQLite moves the log into the database and removes it.
pub(super) fn close(conn: Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    conn.close().map_err(|(_, error)| error)
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(BUSY_MAX)?;
    conn.pragma_update(None, "cache_size", -4096)?; // KiB
    Ok(conn)
}

/// The connection that moves the WAL into the database beside the writer. It waits for nobody.
pub(super) fn checkpointer(path: &Path, options: &SqliteOptions) -> rusqlite::Result<Connection> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(Duration::ZERO)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "synchronous", options.synchronous.as_str())?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(conn)
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, flags)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "mmap_size", 0)?; // an I/O error in mapped memory is a SIGBUS
    Ok(conn)
}
