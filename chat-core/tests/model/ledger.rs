//! Commands as a client sends them, and what their replies may be.

use chat_core::{protocol::ErrorCode, rights::Role};
use serde_json::{Value, json};

use crate::{
    journal::{Journal, Tick},
    plan::{Action, Edge, Pick, ROOMS, Start},
    timeline::{Entry, From, Query, Timeline},
};

/// A command without a reply.
#[derive(Debug)]
pub(crate) struct Owed {
    pub(crate) id: u64,
    pub(crate) asked: Asked,
    /// When it was sent.
    pub(crate) sent: Tick,
    /// The epoch of its room and the newest number that the engine knew of then.
    pub(crate) settled: Option<(String, u64)>,
}

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Asked {
    Join { after: Option<u64>, epoch: Option<String> },
    Leave,
    Send { text: String, key: Option<String>, reply_to: Option<u64> },
    Edit { target: u64, text: String },
    Delete { target: u64 },
    React { target: u64, emoji: &'static str, remove: bool },
    Read { seq: u64 },
    History(Query),
    Typing,
    Ping,
}

impl Asked {
    pub(crate) const fn is_change(&self) -> bool {
        matches!(self, Self::Send { .. } | Self::Edit { .. } | Self::Delete { .. } | Self::React { .. })
    }

    pub(crate) const fn needs_a_seat(&self) -> bool {
        !matches!(self, Self::Join { .. } | Self::History(_) | Self::Ping)
    }

    /// Whether this event is what the command did, or as a duplicate, what had made it needless.
    pub(crate) fn did(&self, user: &str, seq: u64, entry: &Entry, duplicate: bool) -> bool {
        let own = entry.from == user;
        match (self, entry.kind) {
            (Self::Send { key, .. }, "message") if duplicate => own && key.is_some() && entry.key == *key,
            (Self::Send { text, key, reply_to }, "message") => {
                own && entry.key == *key
                    && entry.live()["text"] == **text
                    && entry.field("reply_to").as_u64() == *reply_to
            }
            (Self::Edit { target, text }, "edited") => {
                own && entry.target == Some(*target) && entry.live()["text"] == **text
            }
            (Self::Edit { target, text }, "message") => {
                duplicate && seq == *target && entry.live()["text"] == **text
            }
            (Self::Delete { target }, "deleted") => own && !duplicate && entry.target == Some(*target),
            (Self::React { target, emoji, remove }, "reaction") => {
                own && entry.target == Some(*target)
                    && *entry.field("emoji") == **emoji
                    && *entry.field("remove") == *remove
            }
            (Self::React { target, remove, .. }, "message") => duplicate && *remove && seq == *target,
            _ => false,
        }
    }

    /// Whether what it is about is not there.
    pub(crate) fn misses(&self, room: &Timeline) -> bool {
        let open = |target: u64| room.kept(target).is_some_and(Entry::is_open);
        match self {
            Self::Edit { target, .. } | Self::Delete { target } | Self::React { target, .. } => {
                !open(*target)
            }
            Self::Send { reply_to: Some(target), .. } => {
                room.kept(*target).is_none_or(|entry| entry.kind != "message")
            }
            _ => false,
        }
    }

    /// Whether it is not this user's to do.
    pub(crate) fn exceeds(&self, user: &str, role: Role, room: &Timeline) -> bool {
        let anothers = |target| room.kept(target).is_some_and(|entry| entry.is_open() && entry.from != user);
        match self {
            Self::Edit { target, .. } => anothers(*target),
            Self::Delete { target } => anothers(*target) && role < Role::Manager,
            _ => false,
        }
    }
}

/// What a reply beside a connection may say.
pub(crate) fn refusal_fits(code: ErrorCode, user: &str, states: &[Option<std::sync::Arc<Timeline>>]) -> bool {
    let hidden = |state: &Option<std::sync::Arc<Timeline>>| {
        state.as_ref().is_none_or(|state| state.role(user).is_none())
    };
    match code {
        ErrorCode::NotFound => states.iter().any(hidden),
        ErrorCode::Conflict => states.iter().any(Option::is_some),
        _ => false,
    }
}

/// The command of an action: the room that it concerns, its fields, and what is asked for with it.
pub(crate) fn command(action: &Action, tag: &str, journal: &Journal) -> (&'static str, Value, Asked) {
    let concerned = |room: usize| ROOMS[room];
    let today = |room: usize| journal.today(ROOMS[room]);
    match *action {
        Action::Join(room, start) => {
            let (after, epoch) = begin(start, concerned(room), journal);
            (concerned(room), join(after, epoch.as_deref()), Asked::Join { after, epoch })
        }
        Action::Leave(room) => (concerned(room), json!({ "type": "leave" }), Asked::Leave),
        Action::Send { room, key, reply_to, meta, bytes } => {
            let text = format!("{tag}{}", "x".repeat(bytes.into()));
            let key = key.map(|key| format!("k{key}"));
            let reply_to = reply_to.map(|pick| picked(pick, today(room).as_deref()));
            let mut fields = json!({ "type": "send", "text": text, "key": key, "reply_to": reply_to });
            if meta {
                fields["meta"] = json!({ "of": tag });
            }
            (concerned(room), fields, Asked::Send { text, key, reply_to })
        }
        Action::Edit { room, target, text } => {
            let (target, text) = (picked(target, today(room).as_deref()), format!("edit {text}"));
            let fields = json!({ "type": "edit", "target": target, "text": text });
            (concerned(room), fields, Asked::Edit { target, text })
        }
        Action::Delete { room, target } => {
            let target = picked(target, today(room).as_deref());
            (concerned(room), json!({ "type": "delete", "target": target }), Asked::Delete { target })
        }
        Action::React { room, target, emoji, remove } => {
            let target = picked(target, today(room).as_deref());
            let fields = json!({ "type": "react", "target": target, "emoji": emoji, "remove": remove });
            (concerned(room), fields, Asked::React { target, emoji, remove })
        }
        Action::Read { room, seq } => {
            let seq = u64::from(seq) % (last(today(room).as_deref()) + 3);
            (concerned(room), json!({ "type": "read", "seq": seq }), Asked::Read { seq })
        }
        Action::Typing(room) => (concerned(room), json!({ "type": "typing" }), Asked::Typing),
        Action::History { room, from, limit, ref kinds } => {
            let mut fields = json!({ "type": "history", "limit": limit, "kinds": kinds });
            let edge = |n: u8| u64::from(n) % (last(today(room).as_deref()) + 3);
            let from = match from {
                Edge::Newest => From::Newest,
                Edge::Before(n) => From::Before(edge(n)),
                Edge::After(n) => From::After(edge(n)),
            };
            match from {
                From::Newest => {}
                From::Before(seq) => fields["before"] = seq.into(),
                From::After(seq) => fields["after"] = seq.into(),
            }
            (concerned(room), fields, Asked::History(query(from, limit, kinds)))
        }
        Action::Ping => ("", json!({ "type": "ping" }), Asked::Ping),
    }
}

/// A page as the engine's limits cut it.
pub(crate) fn query(from: From, limit: Option<usize>, kinds: &[&'static str]) -> Query {
    let limits = crate::world::limits();
    let limit = limit.unwrap_or(usize::MAX).min(limits.history_page);
    Query { from, limit, bytes: limits.page_bytes, kinds: kinds.to_vec() }
}

pub(crate) fn join(after: Option<u64>, epoch: Option<&str>) -> Value {
    json!({ "type": "join", "after": after, "epoch": epoch })
}

fn last(room: Option<&Timeline>) -> u64 {
    room.map_or(0, Timeline::last)
}

fn begin(start: Start, room: &str, journal: &Journal) -> (Option<u64>, Option<String>) {
    let today = journal.today(room);
    let last = last(today.as_deref());
    let back = |back: u8| last - u64::from(back) % (last + 1);
    match start {
        Start::Live => (None, None),
        Start::Back(n) => (Some(back(n)), None),
        Start::Beyond(n) => (Some(last + u64::from(n)), None),
        Start::Below(n) => (Some(today.map_or(0, |today| today.first).saturating_sub(n.into())), None),
        Start::Epoch { back: n, today: true } => (n.map(back), today.map(|today| today.epoch.clone())),
        Start::Epoch { back: n, today: false } => (n.map(back), Some(journal.other_epoch(room))),
    }
}

fn picked(pick: Pick, room: Option<&Timeline>) -> u64 {
    let messages = room.map_or_else(Vec::new, Timeline::messages);
    match pick {
        Pick::Message(n) if !messages.is_empty() => {
            messages[messages.len() - 1 - usize::from(n) % messages.len()]
        }
        Pick::Message(n) | Pick::Any(n) => (last(room) + 1).saturating_sub(n.into()),
    }
}
