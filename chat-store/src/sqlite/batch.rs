//! Appends: facts for the rules, and what follows from an accepted event.

use std::collections::BTreeSet;

use chat_core::{
    ids::{RoomNo, Seq, Timestamp, UserId},
    protocol::{Event, EventBody, Json, MemberChange, RoomPatch},
    rights::{Standing, Visibility},
    store::{
        Append, Outcomes,
        judge::{Facts, MessageFacts, ReactionFacts, RoomFacts, Verdict, judge, news},
    },
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::{
    events::{Insert, is_taken_key},
    fault::{Failure, Transaction, transaction},
    known::{Known, Memory, Room},
    people, plain,
    rows::{
        END_NOTED_EVERY, FACTS_BY_NO, ROOM_BY_NO, maybe_seq, room_facts, room_record, seq, sql, timestamp,
        user,
    },
};
use crate::{keys::KeyCheck, people::Person};

/// Commits a batch: together where it [is plain](plain::is_plain), else item by item.
pub(super) fn append(
    conn: &mut Connection,
    memory: &Memory,
    items: &mut [Append],
) -> Result<Outcomes, Failure> {
    let keep = |(outcomes, known)| {
        memory.put(known);
        outcomes
    };
    if plain::is_plain(items) {
        match transaction(conn, |tx| plain::append(tx, known(tx, memory)?, items)) {
            Err(Failure::Before(error)) if is_taken_key(&error) => {}
            done => return done.map(keep),
        }
    }
    transaction(conn, |tx| append_singly(tx, known(tx, memory)?, items)).map(keep)
}

/// Takes what is known and still holds in this transaction.
fn known(tx: &Transaction<'_>, memory: &Memory) -> rusqlite::Result<Known> {
    let data_version = tx.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
    Ok(memory.take().still_at(data_version))
}

/// Judges a batch, and writes what is accepted.
fn append_singly(
    tx: &Transaction<'_>,
    known: Known,
    items: &[Append],
) -> rusqlite::Result<(Outcomes, Known)> {
    let mut batch = Batch::new(tx, KeyCheck::LookUp, known);
    let outcomes = items.iter().map(|item| {
        let verdict = judge(&mut batch, item)?;
        if let Verdict::Accept(event) = &verdict {
            batch.write(item.room, event)?;
        }
        Ok(verdict.into_outcome(item.room))
    });
    let outcomes = outcomes.collect::<rusqlite::Result<_>>()?;
    Ok((outcomes, batch.finish()?))
}

/// The open transaction of a batch. Rooms and standings that it or one before has seen are at hand, as events changed them;
/// a room's new `last_seq` is noted once, at the end, if at all.
pub(super) struct Batch<'t> {
    tx: &'t Transaction<'t>,
    /// Prepared where they are asked for: a batch of plain messages asks for neither.
    insert: Option<Insert<'t>>,
    key: Option<CachedStatement<'t>>,
    key_check: KeyCheck,
    known: Known,
    /// Rooms that have events more.
    longer: BTreeSet<RoomNo>,
}

impl<'t> Batch<'t> {
    pub(super) const fn new(tx: &'t Transaction<'t>, key_check: KeyCheck, known: Known) -> Self {
        Self { tx, insert: None, key: None, key_check, known, longer: BTreeSet::new() }
    }

    /// Writes down what the batch has only in memory, and says what is known once it is committed. Without it nothing of
    /// the batch may be committed.
    pub(super) fn finish(mut self) -> rusqlite::Result<Known> {
        for no in &self.longer {
            let Some(room) = self.known.room(*no, || read_room(self.tx, *no))? else { continue };
            let last_seq = room.facts.last_seq;
            if last_seq.0 >= room.noted_seq.0 + END_NOTED_EVERY {
                let mut update = self.tx.prepare_cached("UPDATE rooms SET last_seq = ?2 WHERE no = ?1")?;
                update.execute((sql(no.0), sql(last_seq.0)))?;
                room.noted_seq = last_seq;
            }
        }
        Ok(self.known)
    }

    /// Writes an accepted event, and what follows from it.
    pub(super) fn write(&mut self, no: RoomNo, event: &Event) -> rusqlite::Result<()> {
        let body = or_prepare(&mut self.insert, || Insert::new(self.tx))?.write(no, event)?;
        match &event.body {
            EventBody::Edited { target, .. } => self.edit(no, *target, body, event)?,
            EventBody::Deleted { target } => self.delete(no, *target)?,
            EventBody::Reaction { target, emoji, remove } => {
                self.execute(
                    "INSERT OR REPLACE INTO reactions (room, target, emoji, user, seq, at, removed)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![
                        sql(no.0),
                        sql(target.0),
                        emoji,
                        event.from.as_str(),
                        sql(event.seq.0),
                        event.at.0,
                        remove
                    ],
                )?;
            }
            EventBody::Member { user, change } => self.change_standing(no, user, *change, event.seq)?,
            EventBody::Room(patch) => self.patch(no, patch, event.seq)?,
            _ => {}
        }
        self.move_end(no, event.seq)
    }

    /// The room has an event more.
    pub(super) fn move_end(&mut self, no: RoomNo, seq: Seq) -> rusqlite::Result<()> {
        if let Some(room) = self.room_mut(no)? {
            room.facts.last_seq = seq;
            self.longer.insert(no);
        }
        Ok(())
    }

    fn execute(&self, statement: &str, params: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.tx.prepare_cached(statement)?.execute(params).map(drop)
    }

    /// The message shows the text of its newest `edited` event; its own goes.
    fn edit(&self, no: RoomNo, target: Seq, body: Option<i64>, event: &Event) -> rusqlite::Result<()> {
        self.execute(
            "UPDATE bodies SET text = NULL WHERE id = (SELECT body FROM events WHERE room = ?1 AND seq = ?2)",
            (sql(no.0), sql(target.0)),
        )?;
        self.execute(
            "UPDATE events SET edited_body = ?3, edited_seq = ?4, edited_at = ?5 WHERE room = ?1 AND seq = ?2",
            (sql(no.0), sql(target.0), body, sql(event.seq.0), event.at.0),
        )
    }

    /// Takes the texts away in place: with `secure_delete` SQLite overwrites them.
    fn delete(&self, no: RoomNo, target: Seq) -> rusqlite::Result<()> {
        for statement in [
            "UPDATE bodies SET text = NULL, meta = NULL
             WHERE id IN (
                SELECT body FROM events WHERE room = ?1 AND seq = ?2
                UNION ALL
                SELECT body FROM events WHERE room = ?1 AND kind = 2 AND target = ?2
             )",
            "UPDATE events SET deleted = 1 WHERE room = ?1 AND seq = ?2",
            "DELETE FROM reactions WHERE room = ?1 AND target = ?2",
        ] {
            self.execute(statement, (sql(no.0), sql(target.0)))?;
        }
        Ok(())
    }

    fn change_standing(
        &mut self,
        no: RoomNo,
        user: &UserId,
        change: MemberChange,
        seq: Seq,
    ) -> rusqlite::Result<()> {
        let before = self.person(no, user)?;
        let Some(room) = self.room_mut(no)? else { return Ok(()) };
        let person = Person::after(change, seq, before, room.facts.visibility, room.private_seq);
        people::save(self.tx, no, user, person)?;
        self.known.learn(no, user, Some(person));
        Ok(())
    }

    fn patch(&mut self, no: RoomNo, patch: &RoomPatch, seq: Seq) -> rusqlite::Result<()> {
        let Some(room) = self.room_mut(no)? else { return Ok(()) };
        let visibility = patch.visibility.unwrap_or(room.facts.visibility);
        if (room.facts.visibility, visibility) == (Visibility::Public, Visibility::Private) {
            room.private_seq = Some(seq);
        }
        room.facts.visibility = visibility;
        room.facts.version += 1;
        let private_seq = room.private_seq.map(|seq| sql(seq.0));
        let values = params![
            sql(no.0),
            sql(seq.0),
            patch.name.as_deref(),
            patch.topic.as_deref(),
            patch.visibility.map(Visibility::as_str),
            patch.state.as_ref().map(Json::as_str),
        ];
        self.execute(
            "INSERT INTO room_changes (room, seq, name, topic, visibility, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            values,
        )?;
        self.execute(
            "UPDATE rooms SET version = version + 1, name = coalesce(?2, name), topic = coalesce(?3, topic),
                visibility = coalesce(?4, visibility), state = coalesce(?5, state), private_seq = ?6
             WHERE no = ?1",
            params![
                sql(no.0),
                patch.name.as_deref(),
                patch.topic.as_deref(),
                patch.visibility.map(Visibility::as_str),
                patch.state.as_ref().map(Json::as_str),
                private_seq,
            ],
        )
    }

    fn room_mut(&mut self, no: RoomNo) -> rusqlite::Result<Option<&mut Room>> {
        self.known.room(no, || read_room(self.tx, no))
    }

    fn person(&mut self, no: RoomNo, user: &UserId) -> rusqlite::Result<Option<Person>> {
        self.known.person(no, user, || people::read(self.tx, no, user))
    }
}

fn or_prepare<T>(
    prepared: &mut Option<T>,
    prepare: impl FnOnce() -> rusqlite::Result<T>,
) -> rusqlite::Result<&mut T> {
    match prepared {
        Some(prepared) => Ok(prepared),
        None => Ok(prepared.insert(prepare()?)),
    }
}

fn read_room(tx: &Transaction<'_>, no: RoomNo) -> rusqlite::Result<Option<Room>> {
    let mut statement = tx.prepare_cached(FACTS_BY_NO)?;
    let room = statement
        .query_row([sql(no.0)], |row| Ok(Room::new(room_facts(row)?, maybe_seq(row, 5)?, seq(row, 6)?)));
    room.optional()
}

impl Facts for Batch<'_> {
    type Error = rusqlite::Error;

    fn room(&mut self, room: RoomNo) -> rusqlite::Result<Option<RoomFacts>> {
        Ok(self.room_mut(room)?.map(|room| room.facts.clone()))
    }

    fn standing(&mut self, room: RoomNo, user: &UserId) -> rusqlite::Result<Standing> {
        Ok(self.person(room, user)?.map(|person| person.standing).unwrap_or_default())
    }

    fn key(
        &mut self,
        room: RoomNo,
        author: &UserId,
        key: &str,
    ) -> rusqlite::Result<Option<(Seq, Timestamp)>> {
        if self.key_check == KeyCheck::Trust {
            return Ok(None);
        }
        let first = |row: &rusqlite::Row<'_>| Ok((seq(row, 0)?, timestamp(row, 1)?));
        let by_key = || {
            self.tx.prepare_cached("SELECT seq, at FROM events WHERE room = ?1 AND author = ?2 AND key = ?3")
        };
        or_prepare(&mut self.key, by_key)?.query_row((sql(room.0), author.as_str(), key), first).optional()
    }

    fn message(&mut self, room: RoomNo, seq: Seq) -> rusqlite::Result<Option<MessageFacts>> {
        let mut statement = self.tx.prepare_cached(
            "SELECT author, at, coalesce(edited.text, own.text), edited_seq, edited_at
             FROM events
             LEFT JOIN bodies AS own ON own.id = body
             LEFT JOIN bodies AS edited ON edited.id = edited_body
             WHERE room = ?1 AND seq = ?2 AND kind = 1",
        )?;
        let message = statement.query_row((sql(room.0), sql(seq.0)), |row| {
            let edited_at: Option<i64> = row.get(4)?;
            Ok(MessageFacts {
                author: user(row, 0)?,
                at: timestamp(row, 1)?,
                text: row.get(2)?,
                edited: maybe_seq(row, 3)?.zip(edited_at.map(Timestamp)),
            })
        });
        message.optional()
    }

    fn reaction(
        &mut self,
        room: RoomNo,
        target: Seq,
        user: &UserId,
        emoji: &str,
    ) -> rusqlite::Result<Option<ReactionFacts>> {
        let mut statement = self.tx.prepare_cached(
            "SELECT seq, at, removed FROM reactions WHERE room = ?1 AND target = ?2 AND emoji = ?3 AND user = ?4",
        )?;
        let reaction = statement.query_row((sql(room.0), sql(target.0), emoji, user.as_str()), |row| {
            Ok(ReactionFacts { seq: seq(row, 0)?, at: timestamp(row, 1)?, removed: row.get(2)? })
        });
        reaction.optional()
    }

    fn other_emojis(&mut self, room: RoomNo, target: Seq, emoji: &str) -> rusqlite::Result<usize> {
        let mut statement = self.tx.prepare_cached(
            "SELECT count(DISTINCT emoji) FROM reactions WHERE room = ?1 AND target = ?2 AND emoji <> ?3",
        )?;
        let count: i64 = statement.query_row((sql(room.0), sql(target.0), emoji), |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn committed_at(&mut self, room: RoomNo, seq: Seq) -> rusqlite::Result<Option<Timestamp>> {
        let mut statement = self.tx.prepare_cached("SELECT at FROM events WHERE room = ?1 AND seq = ?2")?;
        statement.query_row((sql(room.0), sql(seq.0)), |row| timestamp(row, 0)).optional()
    }

    fn news(&mut self, room: RoomNo, patch: &RoomPatch) -> rusqlite::Result<RoomPatch> {
        let mut statement = self.tx.prepare_cached(ROOM_BY_NO)?;
        let today = statement.query_row([sql(room.0)], room_record).optional()?.map(|room| RoomPatch {
            name: Some(room.name),
            topic: Some(room.topic),
            visibility: Some(room.visibility),
            state: room.state,
        });
        Ok(news(patch, &today.unwrap_or_default()))
    }
}
