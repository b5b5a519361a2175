//! What happens in a room.

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::draft::{Json, Key};
use crate::{
    ids::{RoomId, Seq, Timestamp, UserId},
    rights::{Role, Standing, Visibility},
};

/// An entry of a room's timeline. Only a store makes one that counts: see [`Committed`](crate::store::Committed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where it happened.
    pub room: RoomId,
    /// Its number there.
    pub seq: Seq,
    /// When it was committed, by the server's clock.
    pub at: Timestamp,
    /// Who did it.
    pub from: UserId,
    /// What it is.
    pub body: EventBody,
}

/// The kinds of events, each with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventBody {
    /// Somebody said something.
    Message(Message),
    /// A message got another text.
    Edited {
        /// The message.
        target: Seq,
        /// Its new text; `None` once the message is deleted.
        text: Option<Box<str>>,
    },
    /// A message was deleted: its texts are gone, its number stays.
    Deleted {
        /// The message.
        target: Seq,
    },
    /// A reaction came or went.
    Reaction {
        /// The message.
        target: Seq,
        /// Which one.
        emoji: Box<str>,
        /// Whether it was taken back.
        remove: bool,
    },
    /// A user's membership changed.
    Member {
        /// Whose.
        user: UserId,
        /// How.
        change: MemberChange,
    },
    /// The room itself changed: what is given is new.
    Room(RoomPatch),
}

/// A message, with what became of it since.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Message {
    /// The text as it now is; `None` once deleted.
    pub text: Option<Box<str>>,
    /// The sender's idempotency key.
    pub key: Option<Key>,
    /// The message that it answers.
    pub reply_to: Option<Seq>,
    /// The sender's own data; gone once deleted.
    pub meta: Option<Json>,
    /// When the text last changed.
    pub edited_at: Option<Timestamp>,
    /// Reactions, in order of the emoji's bytes. Only in pages.
    pub reactions: Vec<Reactions>,
}

impl Message {
    /// Whether only its number is left.
    pub const fn is_deleted(&self) -> bool {
        self.text.is_none()
    }
}

/// How often one emoji stands under a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reactions {
    /// Which one.
    #[serde(skip)]
    pub emoji: Box<str>,
    /// Of how many users.
    pub count: u64,
    /// Whether the reader is among them.
    pub me: bool,
}

/// How a membership changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// Became a member.
    Added(Role),
    /// Is a member no longer.
    Removed,
    /// Was shut out; on the wire `removed` with `"banned":true`.
    Banned,
    /// Has another role.
    Role(Role),
}

/// What is new about a room; `None` stays as it was.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct RoomPatch {
    /// The name to show: 1 byte up to [`NAME_BYTES_MAX`](crate::limits::NAME_BYTES_MAX).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    /// What it is about; may be empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<Box<str>>,
    /// Who may come in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
    /// JSON of the embedding service's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Json>,
}

/// The kinds of events by name, as `kinds` of a history command has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// `message`
    Message,
    /// `edited`
    Edited,
    /// `deleted`
    Deleted,
    /// `reaction`
    Reaction,
    /// `member`
    Member,
    /// `room`
    Room,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Message, Self::Edited, Self::Deleted, Self::Reaction, Self::Member, Self::Room];

    /// The `type` of such an event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Edited => "edited",
            Self::Deleted => "deleted",
            Self::Reaction => "reaction",
            Self::Member => "member",
            Self::Room => "room",
        }
    }

    /// The number under which stores keep the kind. It never changes.
    pub const fn number(self) -> u8 {
        match self {
            Self::Message => 1,
            Self::Edited => 2,
            Self::Deleted => 3,
            Self::Reaction => 4,
            Self::Member => 5,
            Self::Room => 6,
        }
    }

    /// The kind under a number; `None` where there is none.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The kind of a name; `None` where there is none.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl EventBody {
    /// The kind of this event.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Message(_) => EventKind::Message,
            Self::Edited { .. } => EventKind::Edited,
            Self::Deleted { .. } => EventKind::Deleted,
            Self::Reaction { .. } => EventKind::Reaction,
            Self::Member { .. } => EventKind::Member,
            Self::Room(_) => EventKind::Room,
        }
    }

    /// The message that this event changes; `None` for events that stand for themselves.
    pub const fn target(&self) -> Option<Seq> {
        match self {
            Self::Edited { target, .. } | Self::Deleted { target } | Self::Reaction { target, .. } => {
                Some(*target)
            }
            Self::Message(_) | Self::Member { .. } | Self::Room(_) => None,
        }
    }

    /// What an event counts against [`PageQuery::bytes`](crate::store::PageQuery::bytes): its text and its JSON.
    pub fn weight_bytes(&self) -> usize {
        let (text, json) = match self {
            Self::Message(message) => (message.text.as_deref(), message.meta.as_ref()),
            Self::Edited { text, .. } => (text.as_deref(), None),
            Self::Room(patch) => (None, patch.state.as_ref()),
            Self::Deleted { .. } | Self::Reaction { .. } | Self::Member { .. } => (None, None),
        };
        text.map_or(0, str::len) + json.map_or(0, |json| json.as_str().len())
    }
}

impl MemberChange {
    /// What a user is to the room after it.
    pub const fn standing(self) -> Standing {
        match self {
            Self::Added(role) | Self::Role(role) => Standing::Member(role),
            Self::Removed => Standing::Outsider,
            Self::Banned => Standing::Banned,
        }
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.body.kind().as_str())?;
        map.serialize_entry("room", &self.room)?;
        map.serialize_entry("seq", &self.seq)?;
        map.serialize_entry("at", &self.at)?;
        map.serialize_entry("from", &self.from)?;
        self.body.serialize_entries(&mut map)?;
        map.end()
    }
}

impl EventBody {
    fn serialize_entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        if let Some(target) = self.target() {
            map.serialize_entry("target", &target)?;
        }
        match self {
            Self::Message(message) => message.serialize_entries(map),
            Self::Edited { text, .. } => serialize_text(text.as_deref(), map),
            Self::Deleted { .. } => Ok(()),
            Self::Reaction { emoji, remove, .. } => {
                map.serialize_entry("emoji", emoji)?;
                map.serialize_entry("remove", remove)
            }
            Self::Member { user, change } => {
                map.serialize_entry("user", user)?;
                change.serialize_entries(map)
            }
            Self::Room(patch) => patch.serialize_entries(map),
        }
    }
}

fn serialize_text<M: SerializeMap>(text: Option<&str>, map: &mut M) -> Result<(), M::Error> {
    match text {
        Some(text) => map.serialize_entry("text", text),
        None => map.serialize_entry("deleted", &true),
    }
}

fn serialize_given<M: SerializeMap, T: Serialize>(
    map: &mut M,
    name: &'static str,
    value: Option<&T>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(name, value))
}

impl Message {
    fn serialize_entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        serialize_text(self.text.as_deref(), map)?;
        serialize_given(map, "key", self.key.as_ref())?;
        serialize_given(map, "reply_to", self.reply_to.as_ref())?;
        serialize_given(map, "meta", self.meta.as_ref())?;
        serialize_given(map, "edited_at", self.edited_at.as_ref())?;
        if self.reactions.is_empty() {
            return Ok(());
        }
        map.serialize_entry("reactions", &ByEmoji(&self.reactions))
    }
}

struct ByEmoji<'a>(&'a [Reactions]);

impl Serialize for ByEmoji<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|reactions| (&reactions.emoji, reactions)))
    }
}

impl MemberChange {
    fn serialize_entries<M: SerializeMap>(self, map: &mut M) -> Result<(), M::Error> {
        let (change, role, banned) = match self {
            Self::Added(role) => ("added", Some(role), None),
            Self::Removed => ("removed", None, None),
            Self::Banned => ("removed", None, Some(true)),
            Self::Role(role) => ("role", Some(role), None),
        };
        map.serialize_entry("change", change)?;
        serialize_given(map, "role", role.as_ref())?;
        serialize_given(map, "banned", banned.as_ref())
    }
}

impl RoomPatch {
    fn serialize_entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        serialize_given(map, "name", self.name.as_ref())?;
        serialize_given(map, "topic", self.topic.as_ref())?;
        serialize_given(map, "visibility", self.visibility.as_ref())?;
        serialize_given(map, "state", self.state.as_ref())
    }
}
