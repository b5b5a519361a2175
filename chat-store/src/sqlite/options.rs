//! How a database is opened.

use std::{num::NonZeroUsize, path::Path};

use super::{OpenError, SqliteStore, place::Place};

/// What an acknowledged commit outlives.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Synchronous {
    /// A power loss: each commit waits for the disk (about 2 ms here).
    #[default]
    Full,
    /// The end of the process, however sudden. A power loss can take the last commits with it, never the database.
    Normal,
}

impl Synchronous {
    /// The value of `PRAGMA synchronous`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
        }
    }
}

/// Whether the whole file is read and checked before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartCheck {
    Full,
    HeaderOnly,
}

/// How a [`SqliteStore`] is opened.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use chat_store::{SqliteOptions, Synchronous};
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("chat.db");
/// let store = SqliteOptions::new().synchronous(Synchronous::Normal).open(&path).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct SqliteOptions {
    pub(super) synchronous: Synchronous,
    pub(super) readers: NonZeroUsize,
    pub(super) start_check: StartCheck,
}

/// Most reading threads: past it they only wait for each other and the disk.
const READERS_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");

/// Reading threads unless told otherwise. A history page takes some 10 µs of CPU; what they overlap is the disk.
const READERS: NonZeroUsize = NonZeroUsize::new(4).expect("4 is not zero");

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { synchronous: Synchronous::default(), readers: READERS, start_check: StartCheck::Full }
    }
}

impl SqliteOptions {
    /// [`Synchronous::Full`], 4 readers, with the check at the start.
    pub fn new() -> Self {
        Self::default()
    }

    /// What an acknowledged commit outlives.
    pub const fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// How many threads read, each with a connection of its own: at most 64.
    pub fn readers(mut self, readers: NonZeroUsize) -> Self {
        self.readers = readers.min(READERS_MAX);
        self
    }

    /// Leaves out the check of every page at the start, which reads the whole file. A damaged page is then found when
    /// it is first read.
    pub const fn without_start_check(mut self) -> Self {
        self.start_check = StartCheck::HeaderOnly;
        self
    }

    /// Opens a database; it is made where there is none, and so are the directories above it.
    ///
    /// # Errors
    /// [`OpenError`]; the file is then as it was.
    ///
    /// # Cancel safety
    /// Dropping the future waits until the file is closed again.
    pub async fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, OpenError> {
        let path = path.as_ref().to_owned();
        SqliteStore::start(move || Place::claim(&path), self).await
    }

    /// Opens a throw-away database, which is gone with the store.
    ///
    /// It is a file in a directory of its own among the system's temporary ones: readers need connections of their
    /// own, and SQLite's in-memory databases cannot be read beside a writer.
    ///
    /// # Errors
    /// [`OpenError`] where no such file can be made.
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing behind.
    pub async fn open_in_memory(self) -> Result<SqliteStore, OpenError> {
        SqliteStore::start(Place::temporary, self.synchronous(Synchronous::Normal).without_start_check())
            .await
    }
}
