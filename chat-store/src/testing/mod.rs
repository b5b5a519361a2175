//! Postgres for tests and benches (feature `testing`): servers to throw away, and fresh databases.
//!
//! Most tests want a database and no more: [`postgres_database`]. One that stops, kills or restarts the server has a
//! [`PostgresServer`] of its own. Both need the server's binaries (on Debian the package `postgresql`), and panic where
//! there is none: no test is left out for that.
//!
//! Everything here blocks for as long as Postgres takes, some tens of milliseconds for a database and a second for a
//! server, and may be called from anywhere, from within a runtime too.

mod database;
mod server;

pub use database::{PostgresDatabase, postgres_database};
pub use server::PostgresServer;
