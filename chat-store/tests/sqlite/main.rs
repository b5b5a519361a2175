//! What `SqliteStore` promises beyond the suite of all stores: what stays on the disk, through what, and what does not.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, outside of a #[test]")]

mod child;
mod concurrent;
mod crash;
mod faults;
mod maintenance;
mod refusals;
mod reopen;
mod support;
mod wal;
