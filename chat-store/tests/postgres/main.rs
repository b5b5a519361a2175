//! What `PostgresStore` promises beyond the suite of all stores: several of them over one database, and servers that
//! stop, die and answer late.

#![cfg(feature = "testing")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, outside of a #[test]")]

mod away;
#[path = "../common/child.rs"]
mod child;
mod connections;
mod crash;
mod doubt;
mod dropped;
mod hosts;
#[path = "../common/kept.rs"]
mod kept;
mod opening;
mod plans;
mod poison;
mod proxy;
mod races;
mod reopen;
#[path = "../common/rooms.rs"]
mod rooms;
mod settings;
mod support;
mod sweep;
mod together;
