//! What the server says: replies, what comes unasked, and what is not kept.

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{codes::CommandError, command::CommandId, event::Event};
use crate::{
    ids::{Epoch, RoomId, Seq, Timestamp, UserId},
    limits::Limits,
    rights::{Identity, Role},
};

/// The first thing that a connection hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// This connection, for the server's log.
    pub session: Box<str>,
    /// Who the server takes the client for.
    pub user: Identity,
    /// The server's clock.
    pub server_time: Timestamp,
    /// What it takes.
    pub limits: Limits,
}

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// To `join`.
    Joined(Joined),
    /// To `leave`; and unasked, with a reason, where the right to read ends.
    Left {
        /// The room.
        room: RoomId,
        /// Why, where it was not asked for.
        reason: Option<LeftReason>,
    },
    /// To whatever was committed.
    Ack(Ack),
    /// To what needs no more words.
    Ok,
    /// To `history`.
    History {
        /// The room.
        room: RoomId,
        /// The page.
        page: HistoryPage,
    },
    /// To `ping`.
    Pong {
        /// The server's clock.
        server_time: Timestamp,
    },
    /// To what could not be done.
    Error(CommandError),
}

/// A connection is attached to a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Joined {
    /// The room.
    pub room: RoomId,
    /// The user's role there.
    pub role: Role,
    /// The room's incarnation.
    pub epoch: Epoch,
    /// The oldest event that is kept; `last_seq` + 1 in an empty timeline.
    pub first_seq: Seq,
    /// The newest event.
    pub last_seq: Seq,
    /// Who is there, at most [`ONLINE_IDS_MAX`](crate::limits::ONLINE_IDS_MAX), in order of ids.
    pub online: Vec<UserId>,
    /// How many users are there.
    pub online_count: usize,
    /// Whether `after` meant nothing here: live begins at `last_seq` + 1.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
}

/// A command was committed, or had been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The room.
    pub room: RoomId,
    /// The number of the command's event.
    pub seq: Seq,
    /// When that was committed.
    pub at: Timestamp,
    /// Whether it was committed before.
    pub duplicate: bool,
}

/// One page of a timeline, oldest first.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryPage {
    /// The events.
    pub events: Vec<Event>,
    /// Whether there are more in the direction read.
    pub more: bool,
}

/// Why a connection left a room unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftReason {
    /// The user is a member no longer, or the room became private.
    Removed,
    /// The user was banned.
    Banned,
    /// The room was deleted.
    Closed,
}

/// What is told but not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ephemeral {
    /// Somebody is writing; counts for 5 s.
    Typing {
        /// Where.
        room: RoomId,
        /// Who.
        user: UserId,
    },
    /// Somebody came or went.
    Presence {
        /// Where.
        room: RoomId,
        /// Who.
        user: UserId,
        /// Which of the two.
        state: PresenceState,
    },
    /// How many are there, in a large room.
    #[serde(rename = "presence")]
    PresenceCount {
        /// Where.
        room: RoomId,
        /// How many users.
        online_count: usize,
    },
    /// Somebody's read mark moved.
    Read {
        /// Where.
        room: RoomId,
        /// Whose.
        user: UserId,
        /// To where.
        seq: Seq,
    },
}

/// Whether a user has a connection in the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceState {
    /// At least one.
    Online,
    /// None any more.
    Offline,
}

impl Serialize for Welcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct User<'a> {
            id: &'a UserId,
            name: &'a str,
            role: Role,
        }
        let user = User { id: &self.user.user, name: &self.user.name, role: self.user.role };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "welcome")?;
        map.serialize_entry("protocol", "chat.v1")?;
        map.serialize_entry("session", &self.session)?;
        map.serialize_entry("user", &user)?;
        map.serialize_entry("server_time", &self.server_time)?;
        map.serialize_entry("limits", &self.limits)?;
        map.end()
    }
}

/// A reply together with the number of its command, as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The command's number, where it had one.
    pub id: Option<CommandId>,
    /// The reply.
    pub reply: &'a Reply,
}

/// The wire form of a reply: its `type`, its command's `id`, its own fields.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Wire<'a> {
    Joined {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<CommandId>,
        #[serde(flatten)]
        joined: &'a Joined,
    },
    Left {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<CommandId>,
        room: &'a RoomId,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<LeftReason>,
    },
    Ack {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<CommandId>,
        room: &'a RoomId,
        seq: Seq,
        at: Timestamp,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        duplicate: bool,
    },
    Ok {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<CommandId>,
    },
    History {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<CommandId>,
        room: &'a RoomId,
        events: &'a [Event],
        more: bool,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<CommandId>,
        server_time: Timestamp,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<CommandId>,
        code: &'static str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

impl Serialize for Answer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let id = self.id;
        let wire = match self.reply {
            Reply::Joined(joined) => Wire::Joined { id, joined },
            Reply::Left { room, reason } => Wire::Left { id, room, reason: *reason },
            Reply::Ack(Ack { room, seq, at, duplicate }) => {
                Wire::Ack { id, room, seq: *seq, at: *at, duplicate: *duplicate }
            }
            Reply::Ok => Wire::Ok { id },
            Reply::History { room, page } => {
                Wire::History { id, room, events: &page.events, more: page.more }
            }
            Reply::Pong { server_time } => Wire::Pong { id, server_time: *server_time },
            Reply::Error(CommandError { code, message, retry_after_ms }) => {
                Wire::Error { id, code: code.as_str(), message, retry_after_ms: *retry_after_ms }
            }
        };
        wire.serialize(serializer)
    }
}
