//! Pages of a timeline.

use chat_core::{
    ids::{RoomNo, Seq, UserId},
    protocol::{Event, EventBody, Reactions, RoomPatch},
    rights::{Actor, Visibility},
    store::{NoPage, Page, PageQuery, judge::RoomFacts},
};
use rusqlite::{CachedStatement, OptionalExtension, Transaction, params};

use super::{
    events::{self, select_events},
    people,
    rows::{FACTS_BY_NO, json, maybe, maybe_seq, number, room_facts, seq, sql, sql_len},
};
use crate::pages::{self, Cut, Direction, Messages, Span, kinds_mask};

/// Reads a page; the transaction is what makes it one moment.
pub(super) fn page(tx: &Transaction<'_>, query: &PageQuery) -> rusqlite::Result<Result<Page, NoPage>> {
    let mut statement = tx.prepare_cached(FACTS_BY_NO)?;
    let room = statement.query_row([sql(query.room.0)], |row| Ok((room_facts(row)?, maybe_seq(row, 5)?)));
    let Some((room, private_seq)) = room.optional()? else { return Ok(Err(NoPage::Gone)) };
    let end = match &query.reader {
        Some(reader) => match right_ends(tx, query.room, &room, private_seq, reader)? {
            Ok(end) => end,
            Err(none) => return Ok(Err(none)),
        },
        None => None,
    };
    let (mut events, more) = cut(tx, query, &room, end)?;
    if let Some(reader) = &query.reader {
        add_reactions(tx, query.room, &mut events, &reader.user)?;
    }
    Ok(Ok(Page { events, more, first_seq: room.first_seq, last_seq: room.last_seq, end }))
}

/// Where the reader's right ended; `None` where it has not.
fn right_ends(
    tx: &Transaction<'_>,
    no: RoomNo,
    room: &RoomFacts,
    private_seq: Option<Seq>,
    reader: &Actor,
) -> rusqlite::Result<Result<Option<Seq>, NoPage>> {
    let person = people::read(tx, no, &reader.user)?;
    Ok(pages::right_ends(room.visibility, private_seq, person, reader.authority))
}

/// `?4` has one bit for each kind that is wanted.
const UPWARDS: &str =
    select_events!("WHERE room = ?1 AND seq > ?2 AND seq < ?3 AND (?4 >> kind) & 1 ORDER BY seq LIMIT ?5");
const DOWNWARDS: &str = select_events!(
    "WHERE room = ?1 AND seq > ?2 AND seq < ?3 AND (?4 >> kind) & 1 ORDER BY seq DESC LIMIT ?5"
);

/// The events that fit into the page, oldest first, and whether another one would follow.
fn cut(
    tx: &Transaction<'_>,
    query: &PageQuery,
    room: &RoomFacts,
    end: Option<Seq>,
) -> rusqlite::Result<(Vec<Event>, bool)> {
    let span = Span::of(query, room.last_seq, end);
    let statement = match span.direction {
        Direction::Upwards => UPWARDS,
        Direction::Downwards => DOWNWARDS,
    };
    let mut rows = tx.prepare_cached(statement)?;
    let mut rows = rows.query(params![
        sql(query.room.0),
        sql(span.after.0),
        sql(span.before.0),
        kinds_mask(&query.kinds),
        sql_len(query.limit.saturating_add(1))
    ])?;
    let mut cut = Cut::new(query);
    while let Some(row) = rows.next()? {
        let mut event = events::read(row, &room.id)?;
        if let EventBody::Room(patch) = &mut event.body {
            *patch = room_change(tx, query.room, event.seq)?;
        }
        if cut.take(event).is_break() {
            break;
        }
    }
    Ok(cut.finish(span.direction))
}

fn room_change(tx: &Transaction<'_>, room: RoomNo, seq: Seq) -> rusqlite::Result<RoomPatch> {
    let mut statement = tx.prepare_cached(
        "SELECT name, topic, visibility, state FROM room_changes WHERE room = ?1 AND seq = ?2",
    )?;
    statement.query_row((sql(room.0), sql(seq.0)), |row| {
        Ok(RoomPatch {
            name: row.get(0)?,
            topic: row.get(1)?,
            visibility: maybe(row, 2, Visibility::parse)?,
            state: maybe(row, 3, json)?,
        })
    })
}

/// In order of the primary key, so that nothing is sorted; text compares by its bytes.
const REACTIONS: &str = "
    SELECT target, emoji, count(*), max(user = ?4) FROM reactions
    WHERE room = ?1 AND target BETWEEN ?2 AND ?3 AND NOT removed
    GROUP BY target, emoji ORDER BY target, emoji";

fn add_reactions(
    tx: &Transaction<'_>,
    room: RoomNo,
    events: &mut [Event],
    reader: &UserId,
) -> rusqlite::Result<()> {
    let mut messages = Messages::of(events);
    let Some((first, last)) = messages.span() else { return Ok(()) };
    let mut statement: CachedStatement<'_> = tx.prepare_cached(REACTIONS)?;
    let mut rows = statement.query((sql(room.0), sql(first.0), sql(last.0), reader.as_str()))?;
    while let Some(row) = rows.next()? {
        let reactions = Reactions { emoji: row.get(1)?, count: number(row, 2)?, me: row.get(3)? };
        messages.add(seq(row, 0)?, reactions);
    }
    Ok(())
}
