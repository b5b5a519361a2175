//! A transport-agnostic chat engine.
mod bell;
pub mod bus;
mod committer;
mod driver;
mod engine;
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
pub use protocol::{Codec, CommandError, Draft, ErrorCode};
pub use rights::{Identity, Role};
