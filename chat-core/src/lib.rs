//! A chat engine for services to embed: durable timelines, group commit, broadcast.
//!
//! A room is a numbered, durable timeline with people around it. Everything that must not be lost is an event with the
//! room's next number; a connection holds *positions in timelines*, not queues of messages. So an [ack](protocol::Ack)
//! means committed, joining and resuming have no gap at any age, and a slow reader loses nothing and costs nothing.
//!
//! This crate knows no socket, no HTTP and no SQL. Give it a [`Store`](store::Store) (the crate `chat-store` has
//! some, [`MemoryStore`](store::MemoryStore) is the reference), and either use it from your program
//! ([`Engine::connect`]) or put a transport in front of it ([`Engine::attach`]).
//!
//! ```
//! use chat_core::{After, Draft, Engine, Identity, Incoming, RoomDraft, rights::Visibility, store::MemoryStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder(MemoryStore::new()).build().await?;
//! let ann = Identity::new("ann")?;
//! engine.create_room(&ann, RoomDraft::group(Visibility::Public).id("lobby".try_into()?)).await?;
//!
//! let mut session = engine.connect(ann);
//! session.join("lobby", After::Seq(chat_core::Seq(0))).await?; // history, then live, as one stream
//! let ack = session.send("lobby", Draft::text("hello").key("k1")).await?; // committed when it returns
//! while let Some(incoming) = session.next().await {
//!     if matches!(incoming, Incoming::Event(event) if event.seq == ack.seq) {
//!         break;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | module | is |
//! |---|---|
//! | [`ids`], [`limits`], [`time`] | names, numbers and bounds |
//! | [`rights`], [`protocol`] | who may what; commands, events, replies, codes, and their bytes |
//! | [`store`], [`bus`], [`policy`] | what an embedding service gives: a database, other nodes, its own rules |
//! | [`Engine`] and its sessions | what it gets |
//! | `testing` (feature) | a conformance suite for stores, a store with planted faults, a simulator |
//!
//! The engine is state machines under one driver: rooms, tails, sessions and the committer are plain values that read no
//! clock and spawn nothing. `ARCHITECTURE.md` draws the whole.

mod bell;
pub mod bus;
mod committer;
mod connection;
mod driver;
mod engine;
mod few;
mod gather;
mod hub;
pub mod ids;
mod lane;
pub mod limits;
mod mail;
mod metrics;
pub mod policy;
mod presence;
pub mod protocol;
mod request;
pub mod rights;
mod room;
mod session;
mod sink;
pub mod store;
mod strain;
mod tail;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;

pub use engine::{
    After, Engine, EngineBuilder, Incoming, LocalSession, NewRoomOutcome, RoomDraft, WireSession,
};
pub use hub::MissingRooms;
pub use ids::{RoomId, Seq, UserId};
pub use limits::Limits;
pub use metrics::Tally;
pub use protocol::{Codec, CommandError, Draft, ErrorCode};
pub use rights::{Identity, Role};
pub use strain::Strain;
