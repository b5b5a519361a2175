//! Where a database is, and the locks on it.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::OpenError;
#[cfg(target_os = "linux")]
use super::inode::Use;

/// A database's path, held against every other store in this process and in others until it is dropped.
///
/// SQLite's own locks would let a second server in: each would commit in turn, and both would believe that they know
/// what is in the rooms. The lock beside the file is for its path; on Linux another one is for the file itself, which
/// may have a second name (a hard link), or whose lock beside it somebody may have deleted.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    // Fields drop in this order: a throw-away directory goes after what is in it.
    #[cfg(target_os = "linux")]
    _file: Use,
    _lock: Lock,
    _temporary: Option<TempDir>,
}

/// A locked file, which is unlocked when this is dropped. Closing it would not do where another thread is just starting a
/// program: that has the descriptor, too, for a moment.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Where that fails, closing it is what is left.
        let _ = self.0.unlock();
    }
}

impl Place {
    /// Finds the file behind `path`, makes missing directories, and takes the locks.
    pub(super) fn claim(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        if path.is_dir() {
            return Err(io(io::ErrorKind::IsADirectory.into()));
        }
        let path = resolve(path).map_err(io)?;
        let lock = lock(&path)?;
        Ok(Self {
            #[cfg(target_os = "linux")]
            _file: Use::claim(&path)?,
            path,
            _lock: lock,
            _temporary: None,
        })
    }

    /// A place in a new directory, which goes with it.
    pub(super) fn temporary() -> Result<Self, OpenError> {
        let dir = tempfile::Builder::new().prefix("chat-store-").tempdir();
        let dir = dir.map_err(|source| OpenError::Io { path: std::env::temp_dir(), source })?;
        let place = Self::claim(&dir.path().join("chat.db"))?;
        Ok(Self { _temporary: Some(dir), ..place })
    }

    /// The file, by its one absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The one absolute path behind `path`, whichever links lead there: two names of one file must meet at one lock.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    if path.exists() {
        return path.canonicalize();
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = parent(path);
    create_dirs(parent)?;
    Ok(parent.canonicalize()?.join(name))
}

/// The directory that a path is in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Makes missing directories, and has each written down in the one above: a database is no safer than its directory.
fn create_dirs(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    create_dirs(parent(dir))?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ if cfg!(unix) => File::open(parent(dir))?.sync_all(),
        _ => Ok(()),
    }
}

/// The name of the lock beside a database.
pub(super) fn lock_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Takes the lock `<path>.lock`. The file stays when the lock goes: whoever deleted it could delete it from under
/// another store that has just opened it.
fn lock(path: &Path) -> Result<Lock, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let file = File::options().create(true).truncate(false).write(true).open(lock_name(path)).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}
