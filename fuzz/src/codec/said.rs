//! What the server says: built from a line, and as the protocol has it on the wire.

use chat_core::{
    CommandError, ErrorCode, Identity, Limits, Role, RoomId, Seq, UserId,
    ids::{Epoch, Timestamp},
    protocol::{
        Ack, Answer, CommandId, Ephemeral, Event, EventBody, HistoryPage, Joined, Json, LeftReason,
        MemberChange, Message, PresenceState, Reactions, Reply, RoomPatch, Welcome,
    },
    rights::Visibility,
};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::object::{Object, Wanted};
use crate::fields::Fields;

/// Something that the server says.
#[derive(Debug)]
pub(super) enum Said {
    Welcome(Welcome),
    Reply(Option<CommandId>, Reply),
    Event(Event),
    Ephemeral(Ephemeral),
}

impl Serialize for Said {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Welcome(welcome) => welcome.serialize(serializer),
            Self::Reply(id, reply) => Answer { id: *id, reply }.serialize(serializer),
            Self::Event(event) => event.serialize(serializer),
            Self::Ephemeral(ephemeral) => ephemeral.serialize(serializer),
        }
    }
}

impl Said {
    /// Builds what a line says; a `history` has the events among `before`. `None` where it says nothing.
    ///
    /// | line | |
    /// |---|---|
    /// | `welcome\|session\|user\|name\|role\|time` | |
    /// | `joined\|id\|room\|role\|epoch\|first\|last\|online\|count\|reset` | `online` has blanks between |
    /// | `left\|id\|room\|reason`, `ack\|id\|room\|seq\|at\|duplicate`, `ok\|id`, `pong\|id\|time` | |
    /// | `history\|id\|room\|more`, `error\|id\|code\|message\|retry` | |
    /// | `message\|room\|seq\|at\|from\|text\|key\|reply_to\|meta\|edited_at\|reactions` | no text: deleted |
    /// | `edited\|room\|seq\|at\|from\|target\|text`, `deleted\|room\|seq\|at\|from\|target` | |
    /// | `reaction\|room\|seq\|at\|from\|target\|emoji\|remove` | |
    /// | `member\|room\|seq\|at\|from\|user\|change\|role` | |
    /// | `room\|room\|seq\|at\|from\|name\|topic\|visibility\|state` | |
    /// | `typing\|room\|user`, `presence\|room\|user\|online`, `count\|room\|number`, `read\|room\|user\|seq` | |
    pub(super) fn read(line: &str, before: &[Self]) -> Option<Self> {
        let mut fields = Fields::of(line);
        let kind = fields.text();
        let from = &mut fields;
        match &*kind {
            "welcome" => Some(Self::Welcome(welcome(from))),
            "joined" | "left" | "ack" | "ok" | "pong" | "history" | "error" => {
                let id = from.numbered();
                Some(Self::Reply(id, reply(&kind, from, before)))
            }
            "message" | "edited" | "deleted" | "reaction" | "member" | "room" => {
                Some(Self::Event(event(&kind, from)))
            }
            "typing" => Some(Self::Ephemeral(Ephemeral::Typing { room: room(from), user: user(from) })),
            "presence" => {
                let (room, user) = (room(from), user(from));
                let state = if from.is_given() { PresenceState::Online } else { PresenceState::Offline };
                Some(Self::Ephemeral(Ephemeral::Presence { room, user, state }))
            }
            "count" => {
                let (room, online_count) = (room(from), count(from));
                Some(Self::Ephemeral(Ephemeral::PresenceCount { room, online_count }))
            }
            "read" => {
                let (room, user, seq) = (room(from), user(from), Seq(from.number()));
                Some(Self::Ephemeral(Ephemeral::Read { room, user, seq }))
            }
            _ => None,
        }
    }

    /// The fields that it has on the wire.
    pub(super) fn wanted(&self) -> Object {
        match self {
            Self::Welcome(welcome) => wanted_welcome(welcome),
            Self::Reply(id, reply) => {
                let mut object = wanted_reply(reply);
                put(&mut object, "id", *id);
                object
            }
            Self::Event(event) => wanted_event(event),
            Self::Ephemeral(ephemeral) => wanted_ephemeral(ephemeral),
        }
    }
}

fn room(fields: &mut Fields<'_>) -> RoomId {
    RoomId::new(&fields.text()).unwrap_or_else(|_| RoomId::new("lobby").expect("an id"))
}

fn user(fields: &mut Fields<'_>) -> UserId {
    user_of(&fields.text())
}

fn user_of(text: &str) -> UserId {
    UserId::new(text).unwrap_or_else(|_| UserId::new("ann").expect("an id"))
}

fn role(fields: &mut Fields<'_>) -> Role {
    Role::parse(&fields.text()).unwrap_or_default()
}

fn time(fields: &mut Fields<'_>) -> Timestamp {
    Timestamp(fields.number().cast_signed())
}

fn count(fields: &mut Fields<'_>) -> usize {
    usize::try_from(fields.number()).unwrap_or(usize::MAX)
}

fn json(fields: &mut Fields<'_>) -> Option<Json> {
    fields.given().and_then(|text| Json::parse(&text).ok())
}

fn welcome(fields: &mut Fields<'_>) -> Welcome {
    let session = fields.text();
    let who = Identity { user: user(fields), name: fields.text(), role: role(fields) };
    Welcome { session, user: who, server_time: time(fields), limits: Limits::default() }
}

fn reply(kind: &str, fields: &mut Fields<'_>, before: &[Said]) -> Reply {
    match kind {
        "joined" => Reply::Joined(Joined {
            room: room(fields),
            role: role(fields),
            epoch: Epoch::from_text(&fields.text()),
            first_seq: Seq(fields.number()),
            last_seq: Seq(fields.number()),
            online: fields.text().split_whitespace().map(user_of).collect(),
            online_count: count(fields),
            reset: fields.is_given(),
        }),
        "left" => Reply::Left {
            room: room(fields),
            reason: match &*fields.text() {
                "removed" => Some(LeftReason::Removed),
                "banned" => Some(LeftReason::Banned),
                "closed" => Some(LeftReason::Closed),
                _ => None,
            },
        },
        "ack" => {
            let (room, seq, at) = (room(fields), Seq(fields.number()), time(fields));
            Reply::Ack(Ack { room, seq, at, duplicate: fields.is_given() })
        }
        "pong" => Reply::Pong { server_time: time(fields) },
        "history" => {
            let events = before.iter().filter_map(|said| match said {
                Said::Event(event) => Some(event.clone()),
                _ => None,
            });
            let events = events.collect();
            Reply::History { room: room(fields), page: HistoryPage { events, more: fields.is_given() } }
        }
        "error" => {
            let name = fields.text();
            let code = ErrorCode::ALL.iter().find(|code| code.as_str() == &*name);
            let code = *code.unwrap_or(&ErrorCode::Internal);
            let error = CommandError::new(code, fields.text().into_string());
            Reply::Error(match fields.numbered() {
                Some(ms) => error.retry_after_ms(ms),
                None => error,
            })
        }
        _ => Reply::Ok,
    }
}

fn event(kind: &str, fields: &mut Fields<'_>) -> Event {
    let (room, seq, at, from) = (room(fields), Seq(fields.number()), time(fields), user(fields));
    let body = match kind {
        "message" => EventBody::Message(Message {
            text: fields.given(),
            key: fields.given(),
            reply_to: fields.numbered().map(Seq),
            meta: json(fields),
            edited_at: fields.numbered().map(|at| Timestamp(at.cast_signed())),
            reactions: reactions(&fields.text()),
        }),
        "edited" => EventBody::Edited { target: Seq(fields.number()), text: fields.given() },
        "deleted" => EventBody::Deleted { target: Seq(fields.number()) },
        "reaction" => {
            let (target, emoji) = (Seq(fields.number()), fields.text());
            EventBody::Reaction { target, emoji, remove: fields.is_given() }
        }
        "member" => {
            let (user, change) = (user(fields), fields.text());
            let change = match &*change {
                "removed" => MemberChange::Removed,
                "banned" => MemberChange::Banned,
                "role" => MemberChange::Role(role(fields)),
                _ => MemberChange::Added(role(fields)),
            };
            EventBody::Member { user, change }
        }
        _ => EventBody::Room(RoomPatch {
            name: fields.given(),
            topic: fields.given(),
            visibility: match &*fields.text() {
                "public" => Some(Visibility::Public),
                "private" => Some(Visibility::Private),
                _ => None,
            },
            state: json(fields),
        }),
    };
    Event { room, seq, at, from, body }
}

/// `👍 2 🎉 1 me`: an emoji, how many, and whether the reader is among them. Each emoji once, in order.
fn reactions(text: &str) -> Vec<Reactions> {
    let mut all: Vec<Reactions> = Vec::new();
    for word in text.split_whitespace() {
        match (all.last_mut(), word.parse()) {
            (Some(last), _) if word == "me" => last.me = true,
            (Some(last), Ok(count)) => last.count = count,
            _ => all.push(Reactions { emoji: word.into(), count: 0, me: false }),
        }
    }
    all.sort_by(|a, b| a.emoji.cmp(&b.emoji));
    all.dedup_by(|a, b| a.emoji == b.emoji);
    all
}

/// Adds a field, where it has something to say.
fn put(object: &mut Object, name: &'static str, value: Option<impl Into<Wanted>>) {
    if let Some(value) = value {
        object.insert(name, value.into());
    }
}

fn given(condition: bool) -> Option<bool> {
    condition.then_some(true)
}

fn wanted_welcome(welcome: &Welcome) -> Object {
    let Welcome { session, user, server_time, limits } = welcome;
    let who = json!({ "id": user.user.as_str(), "name": *user.name, "role": user.role.as_str() });
    let limits = json!({
        "text_bytes": limits.text_bytes,
        "frame_bytes": limits.frame_bytes,
        "history_page": limits.history_page,
        "key_bytes": limits.key_bytes,
        "meta_bytes": limits.meta_bytes,
        "emoji_bytes": limits.emoji_bytes,
    });
    Object::from([
        ("type", "welcome".into()),
        ("protocol", "chat.v1".into()),
        ("session", (**session).into()),
        ("user", who.into()),
        ("server_time", server_time.0.into()),
        ("limits", limits.into()),
    ])
}

fn wanted_reply(reply: &Reply) -> Object {
    let in_room =
        |kind: &str, room: &RoomId| Object::from([("type", kind.into()), ("room", room.as_str().into())]);
    match reply {
        Reply::Joined(joined) => {
            let mut object = in_room("joined", &joined.room);
            let online: Vec<&str> = joined.online.iter().map(UserId::as_str).collect();
            put(&mut object, "role", Some(joined.role.as_str()));
            put(&mut object, "epoch", Some(joined.epoch.as_str()));
            put(&mut object, "first_seq", Some(joined.first_seq.0));
            put(&mut object, "last_seq", Some(joined.last_seq.0));
            put(&mut object, "online", Some(online));
            put(&mut object, "online_count", Some(joined.online_count));
            put(&mut object, "reset", given(joined.reset));
            object
        }
        Reply::Left { room, reason } => {
            let mut object = in_room("left", room);
            let name = |reason: &LeftReason| match reason {
                LeftReason::Removed => "removed",
                LeftReason::Banned => "banned",
                LeftReason::Closed => "closed",
            };
            put(&mut object, "reason", reason.as_ref().map(name));
            object
        }
        Reply::Ack(Ack { room, seq, at, duplicate }) => {
            let mut object = in_room("ack", room);
            put(&mut object, "seq", Some(seq.0));
            put(&mut object, "at", Some(at.0));
            put(&mut object, "duplicate", given(*duplicate));
            object
        }
        Reply::Ok => Object::from([("type", "ok".into())]),
        Reply::History { room, page } => {
            let mut object = in_room("history", room);
            object.insert("events", Wanted::Objects(page.events.iter().map(wanted_event).collect()));
            put(&mut object, "more", Some(page.more));
            object
        }
        Reply::Pong { server_time } => {
            Object::from([("type", "pong".into()), ("server_time", server_time.0.into())])
        }
        Reply::Error(error) => {
            let mut object = Object::from([("type", "error".into())]);
            put(&mut object, "code", Some(error.code.as_str()));
            put(&mut object, "message", Some(&*error.message));
            put(&mut object, "retry_after_ms", error.retry_after_ms);
            object
        }
        other => panic!("a reply that has no line in the table: {other:?}"),
    }
}

fn wanted_event(event: &Event) -> Object {
    let Event { room, seq, at, from, body } = event;
    let mut object = Object::from([
        ("type", body.kind().as_str().into()),
        ("room", room.as_str().into()),
        ("seq", seq.0.into()),
        ("at", at.0.into()),
        ("from", from.as_str().into()),
    ]);
    put(&mut object, "target", body.target().map(|target| target.0));
    match body {
        EventBody::Message(message) => put_message(&mut object, message),
        EventBody::Edited { text, .. } => {
            put(&mut object, "text", text.as_deref());
            put(&mut object, "deleted", given(text.is_none()));
        }
        EventBody::Deleted { .. } => {}
        EventBody::Reaction { emoji, remove, .. } => {
            put(&mut object, "emoji", Some(&**emoji));
            put(&mut object, "remove", Some(*remove));
        }
        EventBody::Member { user, change } => {
            let (name, role) = match change {
                MemberChange::Added(role) => ("added", Some(role.as_str())),
                MemberChange::Role(role) => ("role", Some(role.as_str())),
                MemberChange::Removed | MemberChange::Banned => ("removed", None),
            };
            put(&mut object, "user", Some(user.as_str()));
            put(&mut object, "change", Some(name));
            put(&mut object, "role", role);
            put(&mut object, "banned", given(*change == MemberChange::Banned));
        }
        EventBody::Room(patch) => {
            let name = |visibility: Visibility| match visibility {
                Visibility::Public => "public",
                Visibility::Private => "private",
            };
            put(&mut object, "name", patch.name.as_deref());
            put(&mut object, "topic", patch.topic.as_deref());
            put(&mut object, "visibility", patch.visibility.map(name));
            put(&mut object, "state", patch.state.as_ref().map(bytes));
        }
        other => panic!("an event that has no line in the table: {other:?}"),
    }
    object
}

fn put_message(object: &mut Object, message: &Message) {
    put(object, "text", message.text.as_deref());
    put(object, "deleted", given(message.text.is_none()));
    put(object, "key", message.key.as_deref());
    put(object, "reply_to", message.reply_to.map(|target| target.0));
    put(object, "meta", message.meta.as_ref().map(bytes));
    put(object, "edited_at", message.edited_at.map(|at| at.0));
    let reactions: Map<String, Value> = message
        .reactions
        .iter()
        .map(|one| (one.emoji.to_string(), json!({ "count": one.count, "me": one.me })))
        .collect();
    put(object, "reactions", (!reactions.is_empty()).then_some(Value::Object(reactions)));
}

/// JSON of others is kept byte for byte.
fn bytes(json: &Json) -> Wanted {
    Wanted::Bytes(json.as_str().to_owned())
}

fn wanted_ephemeral(ephemeral: &Ephemeral) -> Object {
    let in_room =
        |kind: &str, room: &RoomId| Object::from([("type", kind.into()), ("room", room.as_str().into())]);
    match ephemeral {
        Ephemeral::Typing { room, user } => {
            let mut object = in_room("typing", room);
            put(&mut object, "user", Some(user.as_str()));
            object
        }
        Ephemeral::Presence { room, user, state } => {
            let mut object = in_room("presence", room);
            let state = if *state == PresenceState::Online { "online" } else { "offline" };
            put(&mut object, "user", Some(user.as_str()));
            put(&mut object, "state", Some(state));
            object
        }
        Ephemeral::PresenceCount { room, online_count } => {
            let mut object = in_room("presence", room);
            put(&mut object, "online_count", Some(*online_count));
            object
        }
        Ephemeral::Read { room, user, seq } => {
            let mut object = in_room("read", room);
            put(&mut object, "user", Some(user.as_str()));
            put(&mut object, "seq", Some(seq.0));
            object
        }
        other => panic!("something that has no line in the table: {other:?}"),
    }
}
