//! Stores of the chat engine: what implements [`chat_core::store::Store`] on a database.
//!
//! | feature | is | default |
//! |---|---|---|
//! | `sqlite` | [`SqliteStore`]: one file, one server; [`maintenance`] of it | yes |
//! | `postgres` | [`PostgresStore`]: a schema in a Postgres database, any number of servers; with `sqlite` also [`maintenance::copy`] | no |
//! | `testing` | [`testing`](mod@testing): Postgres servers and databases for tests and benches; implies `postgres` | no |

#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod copy;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod keys;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod maintenance;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod migrations;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod pages;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod parts;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod people;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "postgres")]
pub use postgres::{
    InvalidAddress, PostgresAddress, PostgresError, PostgresOptions, PostgresStore, TlsError,
};
#[cfg(feature = "sqlite")]
pub use sqlite::{OpenError, SqliteOptions, SqliteStore, Synchronous};
