//! A copy of a database that is in use.
//!
//! `VACUUM INTO` reads everything in one read transaction beside the commits, and writes the rows anew: what was deleted
//! is nowhere in the copy, and it has no free pages. It takes half as long again as copying page by page (1.0 s and
//! 0.7 s for 240 MB), which would begin anew with each commit unless it, too, were done in one read transaction.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::{Connection, ErrorCode, ffi};
use tempfile::{TempDir, TempPath};

use super::{
    OpenError, epochs,
    open::{self, quick_check},
    options::StartCheck,
    place::parent,
    reading::{Reading, beside, file_connection, stoppable},
    recover::{Unsound, check_ends},
    rooms,
};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The database cannot be read.
    #[error(transparent)]
    Source(#[from] OpenError),
    /// Something has the copy's name already, or is a log that SQLite would take for the copy's. It is as it was.
    #[error("{path:?} exists already")]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// The copy cannot be written: its directory is missing or its disk is full, for example.
    #[error("{path:?} cannot be written")]
    Copy {
        /// The copy.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It was stopped before the copy had its name.
    #[error("it was interrupted")]
    Stopped,
}

/// What is in a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Rooms, each with a new epoch.
    pub rooms: usize,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Copies `database` to `copy`, until `stop` is set.
pub(super) fn run(database: &Path, copy: &Path, stop: &Arc<AtomicBool>) -> Result<Copied, BackupError> {
    match copy_to(&Target(copy), database, stop) {
        // Whatever else may have failed by then: there is no copy, and it was not to be gone on with.
        Err(_) if stop.load(Ordering::Acquire) => Err(BackupError::Stopped),
        copied => copied,
    }
}

fn copy_to(target: &Target<'_>, database: &Path, stop: &Arc<AtomicBool>) -> Result<Copied, BackupError> {
    let draft = target.draft()?;
    let file = draft.path().join("copy.db");
    write(database, &file, target, stop)?;
    let checked = stoppable(file_connection(&file), stop).map_err(|error| target.failed(error))?;
    // Nobody else has the file, and where anything fails it is thrown away.
    let rooms =
        set_up(&checked).and_then(|()| epochs::renew(&checked)).map_err(|error| target.failed(error))?;
    check(&checked).map_err(|unsound| match unsound {
        Unsound::Sqlite(error) => target.failed(error),
        unsound => unsound.at(database).into(),
    })?;
    // After the check, which finds by what was noted that events are missing.
    rooms::note_ends(&checked).map_err(|error| target.failed(error))?;
    checked.close().map_err(|(_, error)| target.failed(error))?;
    if stop.load(Ordering::Acquire) {
        return Err(BackupError::Stopped);
    }
    let bytes = target.publish(database, file)?;
    Ok(Copied { rooms, bytes })
}

/// Writes what is in `database` into a new file.
fn write(
    database: &Path,
    file: &Path,
    target: &Target<'_>,
    stop: &Arc<AtomicBool>,
) -> Result<(), BackupError> {
    let source = |error| OpenError::database(database, error);
    let reading = Reading::open(database, stop)?;
    let conn = reading.conn();
    if open::identify(conn, database, StartCheck::HeaderOnly)? == 0 {
        return Err(OpenError::Missing { path: database.to_owned() }.into());
    }
    let name = file.to_str().ok_or_else(|| target.failed(io::Error::from(io::ErrorKind::InvalidFilename)))?;
    // It is synced once, at the end.
    conn.pragma_update(None, "synchronous", "OFF").map_err(source)?;
    match conn.execute("VACUUM INTO ?1", [name]) {
        Ok(_) => Ok(()),
        Err(error) if is_of_the_source(&error) => Err(source(error).into()),
        Err(error) => Err(target.failed(error)),
    }
}

/// Whether an error of the copying speaks of what is copied.
fn is_of_the_source(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::DatabaseBusy)
            || matches!(error.extended_code, ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ)
    })
}

fn set_up(copy: &Connection) -> rusqlite::Result<()> {
    copy.pragma_update(None, "journal_mode", "OFF")?;
    copy.pragma_update(None, "synchronous", "OFF")
}

/// The same checks as at a start, and that no room lacks events.
fn check(copy: &Connection) -> Result<(), Unsound> {
    quick_check(copy)?.map_err(Unsound::Damaged)?;
    check_ends(copy)
}

/// Where the copy is to be.
struct Target<'a>(&'a Path);

impl Target<'_> {
    /// A directory of its own beside the copy, which goes with everything in it.
    fn draft(&self) -> Result<TempDir, BackupError> {
        self.check_free()?;
        if self.0.file_name().is_none() {
            return Err(self.failed(io::Error::from(io::ErrorKind::InvalidFilename)));
        }
        let directory = parent(self.0).canonicalize().map_err(|error| self.failed(error))?;
        let draft = tempfile::Builder::new().prefix(".chat-backup-").tempdir_in(directory);
        draft.map_err(|error| self.failed(error))
    }

    /// Nothing has the name, nor one of those beside it. A log that an earlier file of this name has left there would be
    /// replayed into the copy, which is then damaged, or what nobody has written.
    fn check_free(&self) -> Result<(), BackupError> {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let path = beside(self.0, suffix);
            match fs::symlink_metadata(&path) {
                // A link that leads nowhere is something, too.
                Ok(_) => return Err(BackupError::Exists { path }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => (),
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    /// Has a file on the disk and gives it its name. Its size.
    fn publish(&self, database: &Path, file: PathBuf) -> Result<u64, BackupError> {
        let written = || {
            let opened = File::options().read(true).write(true).open(&file)?;
            opened.set_permissions(fs::metadata(database)?.permissions())?;
            opened.sync_all()?;
            Ok(opened.metadata()?.len())
        };
        let bytes = written().map_err(|error| self.failed::<io::Error>(error))?;
        self.check_free()?;
        let draft = TempPath::try_from_path(file).map_err(|error| self.failed(error))?;
        draft.persist_noclobber(self.0).map_err(|refused| match refused.error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists { path: self.0.to_owned() },
            _ => self.failed(refused.error),
        })?;
        if cfg!(unix) {
            let synced = File::open(parent(self.0)).and_then(|directory| directory.sync_all());
            if let Err(error) = synced {
                // Whether the name lasts is not known, so it had better not be there.
                let _ = fs::remove_file(self.0);
                return Err(self.failed(error));
            }
        }
        Ok(bytes)
    }

    fn failed<E: std::error::Error + Send + Sync + 'static>(&self, source: E) -> BackupError {
        BackupError::Copy { path: self.0.to_owned(), source: source.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SqliteStore;

    #[test]
    fn a_copy_that_is_stopped_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("chat.db");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        drop(runtime.block_on(SqliteStore::open(&database)).unwrap());
        let target = tempfile::tempdir().unwrap();
        let stop = Arc::new(AtomicBool::new(true));
        let error = run(&database, &target.path().join("copy.db"), &stop).unwrap_err();
        assert!(matches!(error, BackupError::Stopped), "{error:?}");
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
    }
}
