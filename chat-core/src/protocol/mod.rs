//! The outside in types: commands, events, replies, codes, and their bytes.

pub mod codec;
pub mod codes;
pub mod command;
pub mod draft;
pub mod event;
pub mod reply;
mod strict;

pub use codec::Codec;
pub use codes::{CloseCode, CommandError, ErrorCode};
pub use command::{BadRequest, Command, CommandId, HistoryFrom, HistoryQuery, Request, RoomCommand, Token};
pub use draft::{Draft, Json, Key};
pub use event::{Event, EventBody, EventKind, MemberChange, Message, Reactions, RoomPatch};
pub use reply::{Ack, Answer, Ephemeral, HistoryPage, Joined, LeftReason, PresenceState, Reply, Welcome};
pub use strict::hides_nothing;
