//! How a database on Postgres is opened.

use std::num::NonZeroUsize;

use super::{
    PostgresStore,
    address::PostgresAddress,
    limits::{CONNECTIONS, CONNECTIONS_MIN, WRITERS_MAX, WRITERS_MIN},
    open::PostgresError,
};

/// How a [`PostgresStore`] is opened.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use chat_store::PostgresOptions;
/// let address = "postgres://chat@db.example/chat?sslmode=verify-full".parse()?;
/// let store = PostgresOptions::new(address).connections(20.try_into()?).open().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct PostgresOptions {
    pub(super) address: PostgresAddress,
    connections: NonZeroUsize,
}

impl PostgresOptions {
    /// A database with 12 connections to it.
    pub const fn new(address: PostgresAddress) -> Self {
        Self { address, connections: CONNECTIONS }
    }

    /// How many connections there are at most: 3 or more. A fourth of them, from 2 to 4, is for what changes something.
    /// All servers together cannot have more than Postgres' `max_connections` (100 unless set).
    pub const fn connections(mut self, connections: NonZeroUsize) -> Self {
        self.connections = connections;
        self
    }

    /// Opens the database. Its schema `chat` is made where there is none, and brought up to date.
    ///
    /// # Errors
    /// [`PostgresError`]; the database is then as it was.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the schema either as it was or up to date.
    pub async fn open(self) -> Result<PostgresStore, PostgresError> {
        PostgresStore::start(self).await
    }

    /// How many connections write.
    pub(super) fn writers(&self) -> usize {
        (self.connections.get() / 4).clamp(WRITERS_MIN, WRITERS_MAX)
    }

    /// How many connections read.
    pub(super) fn readers(&self) -> usize {
        self.connections.get().max(CONNECTIONS_MIN) - self.writers()
    }
}
