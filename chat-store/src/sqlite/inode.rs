//! The lock on a database file itself, whatever its name.
//!
//! It is an `flock`, which Linux keeps apart from the `fcntl` locks that SQLite takes. (Elsewhere the two may meet, and
//! SQLite would be locked out.) `fcntl` locks belong to the process and go when it closes **any** descriptor of the file
//! (`fcntl_locking(2)`): one that is closed while a connection of this process has the file open takes the locks of
//! that connection with it. SQLite knows of its own descriptors only. So this process counts here who uses which file,
//! and a descriptor is closed once nobody does.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use super::{OpenError, place};

/// Device and inode.
type Id = (u64, u64);

/// A file that this process uses.
#[derive(Debug, Default)]
struct Used {
    /// How many uses.
    uses: usize,
    /// Whether one of them is a claim.
    claimed: bool,
    /// The one descriptor. It holds the lock while the file is claimed.
    file: Option<File>,
}

/// The files that this process uses.
static USED: LazyLock<Mutex<HashMap<Id, Used>>> = LazyLock::new(Mutex::default);

fn used() -> MutexGuard<'static, HashMap<Id, Used>> {
    USED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn id(metadata: &Metadata) -> Id {
    (metadata.dev(), metadata.ino())
}

/// A use of a file, which is to outlive the connections to it.
#[derive(Debug)]
pub(super) struct Use {
    id: Id,
    claims: bool,
}

impl Use {
    /// Takes the lock on a file, which is made where there is none: SQLite takes an empty one for a new database.
    pub(super) fn claim(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        let mut used = used();
        let known = match fs::metadata(path) {
            // Some would keep whoever opens them waiting.
            Ok(metadata) if !metadata.is_file() => {
                return Err(io(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
            }
            Ok(metadata) => used.get_mut(&id(&metadata)),
            Err(_) => None,
        };
        if known.as_ref().is_some_and(|known| known.claimed) {
            return Err(OpenError::InUse { path: path.to_owned() });
        }
        let file = match known.and_then(|known| known.file.take()) {
            Some(file) => file,
            None => open(path).map_err(io)?,
        };
        let id = id(&file.metadata().map_err(io)?);
        let locked = file.try_lock();
        let entry = used.entry(id).or_default();
        entry.file = Some(file);
        if locked.is_ok() {
            entry.uses += 1;
            entry.claimed = true;
        } else if entry.uses == 0 {
            used.remove(&id);
        }
        match locked {
            Ok(()) => Ok(Self { id, claims: true }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Says that connections will read a file without a claim to it.
    pub(super) fn reading(path: &Path) -> io::Result<Self> {
        let mut used = used();
        let id = id(&fs::metadata(path)?);
        used.entry(id).or_default().uses += 1;
        Ok(Self { id, claims: false })
    }

    /// Whether a store has the file by another name than this path. Its log is then beside that name, and who reads by
    /// this one reads less than there is.
    pub(super) fn has_another_name_in_use(&self, path: &Path) -> io::Result<bool> {
        let path = path.canonicalize()?;
        // A look at a lock is in the way of who takes it just then, so only where it must be.
        if fs::metadata(&path)?.nlink() == 1 {
            return Ok(false);
        }
        let mut used = used();
        let entry = used.entry(self.id).or_default();
        if !entry.claimed {
            let file = match entry.file.take() {
                Some(file) => file,
                None => File::open(&path)?,
            };
            let free = is_free(&file);
            entry.file = Some(file);
            if free? {
                return Ok(false);
            }
        }
        match File::open(place::lock_name(&path)) {
            Ok(lock) => is_free(&lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut used = used();
        let Some(entry) = used.get_mut(&self.id) else { return };
        if self.claims {
            entry.claimed = false;
            // Closing would not do, while somebody reads or another thread is starting a program.
            if let Some(Err(error)) = entry.file.as_ref().map(File::unlock) {
                tracing::warn!(%error, "a database stays locked until its file is closed");
            }
        }
        entry.uses -= 1;
        if entry.uses == 0 {
            used.remove(&self.id);
        }
    }
}

fn is_free(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<File> {
    match File::open(path) {
        // With the permissions that SQLite would give it. Who comes second to make it opens the same.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            File::options().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// How many `fcntl` locks this process has on a file.
    fn locks(path: &Path) -> usize {
        let ours = format!(" {} ", std::process::id());
        let file = format!(":{} ", fs::metadata(path).unwrap().ino());
        let all = fs::read_to_string("/proc/locks").unwrap();
        let ours = |line: &&str| line.contains(" POSIX ") && line.contains(&ours) && line.contains(&file);
        all.lines().filter(ours).count()
    }

    #[test]
    fn neither_a_refusal_nor_the_end_of_a_claim_takes_the_locks_of_a_connection() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("chat.db"), dir.path().join("link.db"));
        let claim = Use::claim(&path).unwrap();
        fs::hard_link(&path, &link).unwrap();
        let reading = Use::reading(&link).unwrap();
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("CREATE TABLE t (n); BEGIN; SELECT * FROM t").unwrap();
        let held = locks(&path);
        assert!(held > 0);
        for path in [&path, &link] {
            assert!(matches!(Use::claim(path), Err(OpenError::InUse { .. })));
            assert_eq!(locks(path), held);
        }
        drop(claim);
        assert_eq!(locks(&path), held);
        // Another process, as far as locks go.
        let other = File::open(&path).unwrap();
        other.try_lock().unwrap();
        assert!(matches!(Use::claim(&link), Err(OpenError::InUse { .. })));
        assert_eq!(locks(&path), held);
        other.unlock().unwrap();
        drop(Use::claim(&link).unwrap());
        assert_eq!(locks(&path), held);
        drop(conn);
        drop(reading);
        assert!(!used().contains_key(&id(&fs::metadata(&path).unwrap())));
        drop(other);
    }
}
