//! Events as rows of the table `events`.

use chat_core::{
    ids::{RoomId, RoomNo, Timestamp},
    protocol::{Event, EventBody, EventKind, MemberChange, Message, RoomPatch},
    rights::Role,
};
use rusqlite::{CachedStatement, Connection, Row, ffi, params};

use super::rows::{bad, json, maybe, maybe_seq, parsed, seq, sql, timestamp, user};
use crate::parts::{Parts, member_change, removes};

/// The statements that write an event.
pub(super) struct Insert<'c> {
    event: CachedStatement<'c>,
    body: CachedStatement<'c>,
}

/// Reads what [`read`] reads; what follows is a `WHERE` over `events`.
macro_rules! select_events {
    ($rest:literal) => {
        concat!(
            "SELECT seq, at, author, kind, target, key, coalesce(edited.text, own.text), own.meta, edited_at,
                subject, change, role
             FROM events
             LEFT JOIN bodies AS own ON own.id = body
             LEFT JOIN bodies AS edited ON edited.id = edited_body ",
            $rest
        )
    };
}
pub(super) use select_events;

impl<'c> Insert<'c> {
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            event: conn.prepare_cached(
                "INSERT INTO events (room, seq, at, author, kind, target, key, body, subject, change, role, deleted)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0)",
            )?,
            body: conn.prepare_cached("INSERT INTO bodies (text, meta) VALUES (?1, ?2)")?,
        })
    }

    /// Writes an event's rows. The answer is the number of its text, if it has one.
    pub(super) fn write(&mut self, room: RoomNo, event: &Event) -> rusqlite::Result<Option<i64>> {
        let parts = Parts::of(&event.body);
        let body = match parts.text {
            Some(text) => Some(self.body.insert((text, parts.meta))?),
            None => None,
        };
        self.event.execute(params![
            sql(room.0),
            sql(event.seq.0),
            event.at.0,
            event.from.as_str(),
            event.body.kind().number(),
            parts.target.map(|target| sql(target.0)),
            parts.key,
            body,
            parts.subject,
            parts.change,
            parts.role.map(Role::as_str),
        ])?;
        Ok(body)
    }
}

/// The primary key aside, `events` has one unique index: that on keys.
pub(super) fn is_taken_key(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE)
}

/// Reads an event from a row of [`select_events`]. What a [`EventBody::Room`] changed is not in it.
pub(super) fn read(row: &Row<'_>, room: &RoomId) -> rusqlite::Result<Event> {
    let kind = row.get(3).ok().and_then(EventKind::from_number).ok_or_else(|| bad(3))?;
    Ok(Event {
        room: room.clone(),
        seq: seq(row, 0)?,
        at: timestamp(row, 1)?,
        from: user(row, 2)?,
        body: body(row, kind)?,
    })
}

fn body(row: &Row<'_>, kind: EventKind) -> rusqlite::Result<EventBody> {
    Ok(match kind {
        EventKind::Message => EventBody::Message(Message {
            text: row.get(6)?,
            key: row.get(5)?,
            reply_to: maybe_seq(row, 4)?,
            meta: maybe(row, 7, json)?,
            edited_at: row.get::<_, Option<i64>>(8)?.map(Timestamp),
            reactions: Vec::new(),
        }),
        EventKind::Edited => EventBody::Edited { target: seq(row, 4)?, text: row.get(6)? },
        EventKind::Deleted => EventBody::Deleted { target: seq(row, 4)? },
        EventKind::Reaction => EventBody::Reaction {
            target: seq(row, 4)?,
            emoji: row.get(9)?,
            remove: parsed(row, 10, removes)?,
        },
        EventKind::Member => EventBody::Member { user: user(row, 9)?, change: standing_change(row)? },
        EventKind::Room => EventBody::Room(RoomPatch::default()),
    })
}

fn standing_change(row: &Row<'_>) -> rusqlite::Result<MemberChange> {
    let role = maybe(row, 11, Role::parse)?;
    parsed(row, 10, |change| member_change(change, role))
}
