//! What a failure of SQLite means.

use std::ops::Deref;

use chat_core::store::StoreError;
use rusqlite::{Connection, ErrorCode, ffi};

/// A failed piece of work on a database.
#[derive(Debug)]
pub(super) enum Failure {
    /// Before the commit: nothing was changed.
    Before(rusqlite::Error),
    /// In the commit itself: what it was to change may be there or not.
    Commit(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Before(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Before(error) if is_refusal(&error) => Self::rejected(error),
            Failure::Before(error) | Failure::Commit(error) => Self::unavailable(error),
        }
    }
}

/// Whether a connection can go on after a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Sound,
    /// The database has to be closed, opened and checked: see [`recover`](super::recover).
    Broken,
}

impl Failure {
    pub(super) fn health(&self) -> Health {
        match self {
            Self::Before(error) | Self::Commit(error) => health(error),
        }
    }
}

/// Runs `work` in one transaction that holds the write lock from its beginning.
pub(super) fn transaction<T>(
    conn: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> Result<T, Failure> {
    let tx = Transaction::begin(conn)?;
    let done = work(&tx)?;
    tx.commit().map_err(Failure::Commit)?;
    Ok(done)
}

/// A transaction that writes. It is undone where it is not committed.
///
/// As that of `rusqlite`, but that beginning and committing are prepared once: to compile the two words takes as long as
/// writing a message does.
pub(super) struct Transaction<'c>(&'c mut Connection);

impl<'c> Transaction<'c> {
    fn begin(conn: &'c mut Connection) -> rusqlite::Result<Self> {
        conn.prepare_cached("BEGIN IMMEDIATE")?.raw_execute()?;
        Ok(Self(conn))
    }

    fn commit(self) -> rusqlite::Result<()> {
        self.0.prepare_cached("COMMIT")?.raw_execute().map(drop)
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // SQLite may have undone it by itself. One that cannot be undone is noticed by whoever has the connection next.
        if !self.0.is_autocommit() {
            let _ = self.0.execute_batch("ROLLBACK");
        }
    }
}

/// Whether SQLite refused what it was given, and would again.
fn is_refusal(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::ToSqlConversionFailure(_) => true,
        _ => matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::ConstraintViolation
                    | ErrorCode::TooBig
                    | ErrorCode::TypeMismatch
                    | ErrorCode::ParameterOutOfRange
            )
        ),
    }
}

/// An I/O error says that the file may not hold what SQLite believes, except a refused write (a full disk, a limit on
/// the file's size), which it takes back: then the readers had better go on.
pub(super) fn health(error: &rusqlite::Error) -> Health {
    match error.sqlite_error() {
        Some(error) if error.extended_code == ffi::SQLITE_IOERR_WRITE => Health::Sound,
        Some(error) => match error.code {
            ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                Health::Broken
            }
            _ => Health::Sound,
        },
        None => Health::Sound,
    }
}
