//! What `SqliteStore` promises beyond the suite of all stores: what stays on the disk, through what, and what does not.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, outside of a #[test]")]

#[path = "../common/child.rs"]
mod child;
mod concurrent;
mod crash;
mod faults;
#[path = "../common/kept.rs"]
mod kept;
mod maintenance;
mod refusals;
mod reopen;
#[path = "../common/rooms.rs"]
mod rooms;
mod support;
mod wal;
