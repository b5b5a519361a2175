//! A copy of a database from SQLite to Postgres.
//!
//! A thread reads the file in one read transaction ([`export`]) and hands rows over a bounded channel; they are written in
//! one transaction ([`import`]). Then both sides count, and only where they agree is it committed.

pub(crate) mod tables;

use std::{future, path::Path, pin::pin};

use futures_util::{
    FutureExt,
    future::{Either, select},
};
use tokio::sync::mpsc;

use crate::{
    OpenError, PostgresAddress, PostgresError,
    postgres::import,
    sqlite::{export, maintenance::on_a_thread},
};

/// Portions of rows that wait for Postgres: what it takes up while the next are read. Where as many wait, reading waits.
/// With the one that is being filled and the one that is being written, six are in memory: each has at most
/// [`PORTION_ROWS_MAX`](export::PORTION_ROWS_MAX) rows and is over [`PORTION_BYTES`](export::PORTION_BYTES) by no more
/// than its last row, so that they are some 2 MB, unless rows are large.
const PORTIONS_MAX: usize = 4;

/// Why nothing was copied. The database that was to be copied is as it was; the other one, too, save that it may have an
/// empty schema where it had none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The database on SQLite cannot be read.
    #[error(transparent)]
    Source(#[from] OpenError),
    /// The database on Postgres cannot be written.
    #[error(transparent)]
    Target(#[from] PostgresError),
    /// There are rooms in the one that is to be written, or what is left of some.
    #[error("{database} has rooms already, or is not yet rid of what deleted rooms have left")]
    NotEmpty {
        /// The database, without the login.
        database: String,
    },
    /// What Postgres has is not what was read.
    #[error("{database} has other {table} of room {room} than were read, so nothing was kept")]
    Differs {
        /// The database, without the login.
        database: String,
        /// The table.
        table: &'static str,
        /// The number of the room.
        room: i64,
    },
    /// The answer to the commit was lost: either all of it is there, or nothing.
    #[error("{database} did not confirm the commit: either it has all rooms, or none")]
    Unconfirmed {
        /// The database, without the login.
        database: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It was stopped before the commit.
    #[error("it was interrupted")]
    Stopped,
}

/// What was copied: rows that both databases have counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Rooms, each with a new epoch.
    pub rooms: u64,
    /// Events of all kinds.
    pub events: u64,
    /// Those of them that are messages.
    pub messages: u64,
    /// What events told of rooms.
    pub room_changes: u64,
    /// Reactions to messages, those that were taken back among them.
    pub reactions: u64,
    /// Members of rooms, those who are none any more among them.
    pub members: u64,
    /// How far somebody has read in a room.
    pub read_marks: u64,
}

/// Copies a database from SQLite to Postgres, while a server may go on using the one on SQLite. The copy holds everything
/// that was committed there before the call, under the same numbers, and has new epochs for all rooms.
///
/// It is read in one read transaction, so that its write-ahead log grows by what is committed meanwhile, and is left as
/// it was. It is written in one transaction, after Postgres has counted the same as SQLite in every room. The schema is
/// made where there is none, and brought up to date; it must hold no rooms, and no server may have it open. Rows pass
/// through memory a few at a time. However long it takes: nothing but Postgres sets it a limit.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use chat_store::maintenance;
/// let counts = maintenance::copy("chat.db", &"postgres://chat@db.example/chat".parse()?).await?;
/// println!("{} events in {} rooms", counts.events, counts.rooms);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`CopyError`]; nothing is then copied, unless it is [`Unconfirmed`](CopyError::Unconfirmed).
///
/// # Panics
/// Outside a tokio runtime.
///
/// # Cancel safety
/// Dropping the future stops it, and waits until the file is closed. Unless it was at its commit, nothing is copied.
pub async fn copy(from: impl AsRef<Path>, to: &PostgresAddress) -> Result<Counts, CopyError> {
    copy_until(from, to, future::pending()).await
}

/// The same as [`copy`], but stops when `end` is done, and tells whether there is a copy all the same: what is being
/// committed by then is not taken back, and waited for some seconds.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use chat_store::maintenance::{self, CopyError};
/// let to = "postgres://chat@db.example/chat".parse()?;
/// let stopped = maintenance::copy_until("chat.db", &to, std::future::ready(())).await;
/// assert!(matches!(stopped, Err(CopyError::Stopped)));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`CopyError`], [`Stopped`](CopyError::Stopped) among them; nothing is then copied, unless it is
/// [`Unconfirmed`](CopyError::Unconfirmed).
///
/// # Panics
/// Outside a tokio runtime.
///
/// # Cancel safety
/// As with [`copy`].
pub async fn copy_until(
    from: impl AsRef<Path>,
    to: &PostgresAddress,
    end: impl Future<Output = ()>,
) -> Result<Counts, CopyError> {
    let from = from.as_ref();
    let database = from.to_owned();
    let (parts, received) = mpsc::channel(PORTIONS_MAX);
    // Dropped in the other order: a reader that waits for room in the channel is to hear that nobody wants it any more.
    let reading =
        pin!(on_a_thread(from, future::pending(), move |stop| export::run(&database, &parts, stop)));
    let end = pin!(end.fuse());
    let writing = pin!(import::run(to, received, end));
    let (read, written) = match select(writing, reading).await {
        Either::Left((Err(None), reading)) => (reading.await, Err(None)),
        Either::Left((written, _)) => (Ok(Ok(())), written),
        Either::Right((read, writing)) => (read, writing.await),
    };
    written.map_err(|error| match (error, read) {
        (Some(error), _) => error,
        (None, Err(error) | Ok(Err(error))) => error.into(),
        (None, Ok(Ok(()))) => unreachable!("who reads without an error tells everything"),
    })
}
