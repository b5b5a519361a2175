//! What `maintenance::copy` promises: all of a SQLite database in Postgres, at one moment, or nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, outside of a #[test]")]

mod refusals;
mod stops;
mod support;
mod whole;
