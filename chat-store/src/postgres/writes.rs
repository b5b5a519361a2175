//! The second turn of a batch: what was accepted, column by column.

use std::collections::{BTreeMap, BTreeSet};

use chat_core::{
    ids::RoomNo,
    protocol::{Event, EventBody, Message},
    rights::{Role, Standing, Visibility},
    store::Committed,
};

use super::{
    fault::Failure,
    ledger::Ledger,
    rows::sql,
    session::{Client, Question, Value, column, execute_all},
};
use crate::parts::Parts;

const EVENTS: &str = "
    INSERT INTO events (room, seq, at, kind, author, target, key, text, meta, subject, change, role)
    SELECT * FROM unnest(
        $1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::text[], $6::bigint[],
        $7::bytea[], $8::bytea[], $9::bytea[], $10::bytea[], $11::text[], $12::text[]
    )";

/// The same for messages that have no more than a text and a key, with the ends of their rooms: nearly all that is ever
/// written, in one statement.
const PLAIN_MESSAGES: &str = "
    WITH written AS (
        INSERT INTO events (room, seq, at, kind, author, key, text)
        SELECT a.room, a.seq, a.at, 1, a.author, a.key, a.text
        FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[], $5::bigint[], $6::bigint[])
            AS a (at, author, key, text, room, seq)
    )
    UPDATE rooms r SET last_seq = a.last_seq
    FROM unnest($7::bigint[], $8::bigint[]) AS a (no, last_seq) WHERE r.no = a.no";

/// The same where all are of one room, and so are numbered on from its end.
const PLAIN_MESSAGES_OF_ONE_ROOM: &str = "
    WITH written AS (
        INSERT INTO events (room, seq, at, kind, author, key, text)
        SELECT $5, $6 + a.number, a.at, 1, a.author, a.key, a.text
        FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[])
            WITH ORDINALITY AS a (at, author, key, text, number)
    )
    UPDATE rooms SET last_seq = $7 WHERE no = $5";

const EDITS: &str = "
    UPDATE events e SET text = a.text, edited_seq = a.edited_seq, edited_at = a.edited_at
    FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[])
        AS a (room, seq, text, edited_seq, edited_at)
    WHERE e.room = a.room AND e.seq = a.seq";

const DELETED: &str = "
    UPDATE events e SET text = NULL, meta = NULL
    FROM unnest($1::bigint[], $2::bigint[]) AS a (room, seq) WHERE e.room = a.room AND e.seq = a.seq";

/// Message by message along their index: a plan that was made while there were few edits would read all of them.
const DELETED_EDITS: &str = "
    UPDATE events e SET text = NULL
    FROM unnest($1::bigint[], $2::bigint[]) AS a (room, seq)
    CROSS JOIN LATERAL (
        SELECT i.seq FROM events i WHERE i.room = a.room AND i.target = a.seq AND i.kind = 2 OFFSET 0
    ) AS edit
    WHERE e.room = a.room AND e.seq = edit.seq";

const DELETED_REACTIONS: &str = "
    DELETE FROM reactions r USING unnest($1::bigint[], $2::bigint[]) AS a (room, seq)
    WHERE r.room = a.room AND r.target = a.seq";

const REACTIONS: &str = r#"
    INSERT INTO reactions (room, target, emoji, "user", seq, at, removed)
    SELECT * FROM unnest(
        $1::bigint[], $2::bigint[], $3::bytea[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[]
    )
    ON CONFLICT (room, target, emoji, "user")
    DO UPDATE SET seq = excluded.seq, at = excluded.at, removed = excluded.removed"#;

const MEMBERS: &str = r#"
    INSERT INTO members (room, "user", role, banned, seq, lost_seq)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[], $5::bigint[], $6::bigint[])
    ON CONFLICT (room, "user")
    DO UPDATE SET role = excluded.role, banned = excluded.banned, seq = excluded.seq, lost_seq = excluded.lost_seq"#;

const ROOM_CHANGES: &str = "
    INSERT INTO room_changes (room, seq, visibility, name, topic, state)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[])";

const PROFILES: &str = "
    UPDATE rooms r SET version = a.version, visibility = a.visibility, private_seq = a.private_seq,
        name = a.name, topic = a.topic, state = a.state
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bytea[], $6::bytea[], $7::bytea[])
        AS a (no, version, visibility, private_seq, name, topic, state)
    WHERE r.no = a.no";

const ENDS: &str = "
    UPDATE rooms r SET last_seq = a.last_seq
    FROM unnest($1::bigint[], $2::bigint[]) AS a (no, last_seq) WHERE r.no = a.no";

/// A statement, how many rows it must concern where that is known, and its values.
type Write<'a> = (&'static str, Option<usize>, Vec<Value<'a>>);

impl Ledger {
    /// Writes what was accepted, and what follows from it. What changed more than once is written as it is in the end.
    pub(super) async fn write(&self, client: &Client) -> Result<(), Failure> {
        let writes = self.writes();
        let expected: Vec<_> = writes.iter().map(|(_, rows, _)| *rows).collect();
        let questions: Vec<_> = writes.into_iter().map(|(sql, _, values)| Question { sql, values }).collect();
        let written = execute_all(client, &questions).await?;
        for (rows, expected) in written.into_iter().zip(expected) {
            if expected.is_some_and(|expected| expected as u64 != rows) {
                return Err(Failure::Strange("a row that was read is not there to be changed"));
            }
        }
        Ok(())
    }

    /// The one statement that writes all that was accepted, where there are only plain messages.
    pub(super) fn plain_messages(&self) -> Option<Question<'_>> {
        let mut rows = Vec::with_capacity(self.accepted.len());
        let mut last = BTreeMap::new();
        for accepted in &self.accepted {
            let (no, event) = (sql(accepted.room().0), &**accepted.event());
            let EventBody::Message(Message { text, key, reply_to: None, meta: None, .. }) = &event.body
            else {
                return None;
            };
            last.insert(no, sql(event.seq.0));
            rows.push((no, event, key.as_deref(), text.as_deref()));
        }
        let rows = &rows;
        let mut values = vec![
            column(rows.iter().map(|(_, event, ..)| event.at.0)),
            column(rows.iter().map(|(_, event, ..)| event.from.as_str())),
            column(rows.iter().map(|(.., key, _)| key.map(str::as_bytes))),
            column(rows.iter().map(|(.., text)| text.map(str::as_bytes))),
        ];
        let sql = match (rows.first(), last.first_key_value()) {
            (Some((no, first, ..)), Some((_, last_seq))) if last.len() == 1 => {
                values.extend([
                    Box::new(*no) as Value<'_>,
                    Box::new(sql(first.seq.prev().0)),
                    Box::new(*last_seq),
                ]);
                PLAIN_MESSAGES_OF_ONE_ROOM
            }
            _ => {
                values.push(column(rows.iter().map(|(no, ..)| *no)));
                values.push(column(rows.iter().map(|(_, event, ..)| sql(event.seq.0))));
                values.push(column(last.keys().copied()));
                values.push(column(last.values().copied()));
                PLAIN_MESSAGES
            }
        };
        Some(Question { sql, values })
    }

    /// The rooms that have new events, in order of numbers.
    pub(super) fn written_rooms(&self) -> BTreeSet<RoomNo> {
        self.accepted.iter().map(Committed::room).collect()
    }

    /// In the order in which they have to be done.
    fn writes(&self) -> Vec<Write<'_>> {
        let mut writes = vec![self.events()];
        writes.extend(self.edits());
        writes.extend(self.reacted());
        writes.extend(self.deletions());
        writes.extend(self.standings());
        writes.extend(self.room_changes());
        writes.push(self.ends());
        writes
    }

    fn accepted<'a, T>(&'a self, of: impl Fn(RoomNo, &'a Event) -> Option<T>) -> impl Iterator<Item = T> {
        self.accepted.iter().filter_map(move |accepted| of(accepted.room(), accepted.event()))
    }

    fn events(&self) -> Write<'_> {
        let rows: Vec<_> =
            self.accepted(|no, event| Some((sql(no.0), event, Parts::of(&event.body)))).collect();
        let rows = &rows;
        let values = vec![
            column(rows.iter().map(|(no, ..)| *no)),
            column(rows.iter().map(|(_, event, _)| sql(event.seq.0))),
            column(rows.iter().map(|(_, event, _)| event.at.0)),
            column(rows.iter().map(|(_, event, _)| i16::from(event.body.kind().number()))),
            column(rows.iter().map(|(_, event, _)| event.from.as_str())),
            column(rows.iter().map(|(.., parts)| parts.target.map(|target| sql(target.0)))),
            column(rows.iter().map(|(.., parts)| parts.key.map(str::as_bytes))),
            column(rows.iter().map(|(.., parts)| parts.text.map(str::as_bytes))),
            column(rows.iter().map(|(.., parts)| parts.meta.map(str::as_bytes))),
            column(rows.iter().map(|(.., parts)| parts.subject.map(str::as_bytes))),
            column(rows.iter().map(|(.., parts)| parts.change)),
            column(rows.iter().map(|(.., parts)| parts.role.map(Role::as_str))),
        ];
        (EVENTS, Some(rows.len()), values)
    }

    fn edits(&self) -> Option<Write<'_>> {
        let edits: BTreeMap<_, _> = self
            .accepted(|no, event| match &event.body {
                EventBody::Edited { target, text } => {
                    Some(((no, *target), (text.as_deref(), event.seq, event.at)))
                }
                _ => None,
            })
            .collect();
        let values = || {
            vec![
                column(edits.keys().map(|(no, _)| sql(no.0))),
                column(edits.keys().map(|(_, target)| sql(target.0))),
                column(edits.values().map(|(text, ..)| text.map(str::as_bytes))),
                column(edits.values().map(|(_, seq, _)| sql(seq.0))),
                column(edits.values().map(|(.., at)| at.0)),
            ]
        };
        (!edits.is_empty()).then(|| (EDITS, Some(edits.len()), values()))
    }

    fn reacted(&self) -> Option<Write<'_>> {
        let last: BTreeMap<_, _> = self
            .accepted(|no, event| match &event.body {
                EventBody::Reaction { target, emoji, remove } => {
                    Some(((no, *target, emoji, &event.from), (event.seq, event.at, *remove)))
                }
                _ => None,
            })
            .collect();
        let values = || {
            vec![
                column(last.keys().map(|(no, ..)| sql(no.0))),
                column(last.keys().map(|(_, target, ..)| sql(target.0))),
                column(last.keys().map(|(.., emoji, _)| emoji.as_bytes())),
                column(last.keys().map(|(.., user)| user.as_str())),
                column(last.values().map(|(seq, ..)| sql(seq.0))),
                column(last.values().map(|(_, at, _)| at.0)),
                column(last.values().map(|(.., removed)| *removed)),
            ]
        };
        (!last.is_empty()).then(|| (REACTIONS, Some(last.len()), values()))
    }

    /// After everything else that concerns a message: nothing follows a deletion.
    fn deletions(&self) -> Vec<Write<'_>> {
        let deleted: BTreeSet<_> = self
            .accepted(|no, event| match &event.body {
                EventBody::Deleted { target } => Some((sql(no.0), sql(target.0))),
                _ => None,
            })
            .collect();
        if deleted.is_empty() {
            return Vec::new();
        }
        let values =
            || vec![column(deleted.iter().map(|(no, _)| *no)), column(deleted.iter().map(|(_, seq)| *seq))];
        vec![
            (DELETED, Some(deleted.len()), values()),
            (DELETED_EDITS, None, values()),
            (DELETED_REACTIONS, None, values()),
        ]
    }

    fn standings(&self) -> Option<Write<'_>> {
        let changed: BTreeSet<_> = self
            .accepted(|no, event| match &event.body {
                EventBody::Member { user, .. } => Some((no, user.clone())),
                _ => None,
            })
            .collect();
        let people: Vec<_> = changed
            .into_iter()
            .filter_map(|of| {
                let person = (*self.people.get(&of)?)?;
                Some((of, person))
            })
            .collect();
        let values = || {
            vec![
                column(people.iter().map(|((no, _), _)| sql(no.0))),
                column(people.iter().map(|((_, user), _)| user.as_str().to_owned())),
                column(people.iter().map(|(_, person)| person.role().map(Role::as_str))),
                column(people.iter().map(|(_, person)| person.standing == Standing::Banned)),
                column(people.iter().map(|(_, person)| sql(person.seq.0))),
                column(people.iter().map(|(_, person)| person.lost.map(|lost| sql(lost.0)))),
            ]
        };
        (!people.is_empty()).then(|| (MEMBERS, Some(people.len()), values()))
    }

    fn room_changes(&self) -> Vec<Write<'_>> {
        let changes: Vec<_> = self
            .accepted(|no, event| match &event.body {
                EventBody::Room(patch) => Some((no, event.seq, patch)),
                _ => None,
            })
            .collect();
        if changes.is_empty() {
            return Vec::new();
        }
        let told = vec![
            column(changes.iter().map(|(no, ..)| sql(no.0))),
            column(changes.iter().map(|(_, seq, _)| sql(seq.0))),
            column(changes.iter().map(|(.., patch)| patch.visibility.map(Visibility::as_str))),
            column(changes.iter().map(|(.., patch)| patch.name.as_deref().map(str::as_bytes))),
            column(changes.iter().map(|(.., patch)| patch.topic.as_deref().map(str::as_bytes))),
            column(
                changes.iter().map(|(.., patch)| patch.state.as_ref().map(|state| state.as_str().as_bytes())),
            ),
        ];
        let rooms: BTreeSet<_> = changes.iter().map(|(no, ..)| *no).collect();
        vec![(ROOM_CHANGES, Some(changes.len()), told), self.profiles(&rooms)]
    }

    /// What rooms are now.
    fn profiles(&self, rooms: &BTreeSet<RoomNo>) -> Write<'_> {
        let now: Vec<_> = rooms
            .iter()
            .filter_map(|no| Some((*no, self.rooms.get(no)?.as_ref()?, self.profiles.get(no)?.as_ref()?)))
            .collect();
        let values = vec![
            column(now.iter().map(|(no, ..)| sql(no.0))),
            column(now.iter().map(|(_, room, _)| sql(room.facts.version))),
            column(now.iter().map(|(_, room, _)| room.facts.visibility.as_str())),
            column(now.iter().map(|(_, room, _)| room.private_seq.map(|seq| sql(seq.0)))),
            column(now.iter().map(|(.., profile)| profile.name.as_deref().map(str::as_bytes))),
            column(now.iter().map(|(.., profile)| profile.topic.as_deref().map(str::as_bytes))),
            column(
                now.iter().map(|(.., profile)| profile.state.as_ref().map(|state| state.as_str().as_bytes())),
            ),
        ];
        (PROFILES, Some(rooms.len()), values)
    }

    fn ends(&self) -> Write<'_> {
        let last: BTreeMap<_, _> = self.accepted(|no, event| Some((sql(no.0), sql(event.seq.0)))).collect();
        let values = vec![column(last.keys().copied()), column(last.values().copied())];
        (ENDS, Some(last.len()), values)
    }
}
