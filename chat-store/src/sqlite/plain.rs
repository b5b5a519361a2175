//! Batches of nothing but plain messages: many rows to a statement.
//!
//! A message on its own takes two statements, which have to be bound, begun and reset. Here one statement takes up to
//! [`ROWS_MAX`] of them, after all of the batch was judged. That can be done where no item asks for what another one has
//! written: the ends of rooms are in [`Batch`], and keys are trusted. Where a key is taken the whole transaction is
//! undone, and the batch goes item by item: see [`append`](super::batch::append).

use std::sync::LazyLock;

use chat_core::{
    protocol::{Draft, EventBody},
    store::{Append, Appended, Change, Committed, Outcomes, judge::judge},
};
use rusqlite::Transaction;

use super::{batch::Batch, known::Known, rows::sql};
use crate::keys::KeyCheck;

/// Most rows of a statement. Between 16 and 512 the bench `commit` tells no difference.
const ROWS_MAX: usize = 64;

/// How many rows a statement has: as many statements are prepared, and no more.
const SIZES: [usize; 3] = [ROWS_MAX, 8, 1];

/// The statements of one size: texts, events.
struct Statements {
    rows: usize,
    bodies: String,
    events: String,
}

/// `OR FAIL` leaves what a statement did before it failed. The whole transaction is undone then, and SQLite is spared a
/// copy of every page from before the statement: with many rooms as much again as it writes into the log.
static STATEMENTS: LazyLock<[Statements; SIZES.len()]> = LazyLock::new(|| {
    SIZES.map(|rows| Statements {
        rows,
        bodies: format!("INSERT OR FAIL INTO bodies (text) VALUES {}", vec!["(?)"; rows].join(", ")),
        events: format!(
            "INSERT OR FAIL INTO events (room, seq, at, author, key, body, kind, deleted) VALUES {}",
            vec!["(?, ?, ?, ?, ?, ?, 1, 0)"; rows].join(", ")
        ),
    })
});

/// Whether a batch has nothing else.
pub(super) fn is_plain(items: &[Append]) -> bool {
    items.iter().all(|item| {
        matches!(&item.change, Change::Message(Draft { reply_to: None, meta: None, .. }))
            && KeyCheck::of(item) == KeyCheck::Trust
    })
}

/// Judges a batch that [is plain](is_plain), and writes what is accepted. Where a key is taken it fails, and nothing may
/// be committed.
pub(super) fn append(
    tx: &Transaction<'_>,
    known: Known,
    items: &[Append],
) -> rusqlite::Result<(Outcomes, Known)> {
    let mut batch = Batch::new(tx, KeyCheck::Trust, known)?;
    let mut accepted = Vec::with_capacity(items.len());
    let judged = items.iter().map(|item| {
        let outcome = judge(&mut batch, item)?.into_outcome(item.room);
        if let Ok(Appended::New(committed)) = &outcome {
            batch.move_end(item.room, committed.event().seq)?;
            accepted.push(committed.clone());
        }
        Ok(outcome)
    });
    let outcomes = judged.collect::<rusqlite::Result<_>>()?;
    let mut rest = &accepted[..];
    while let Some(statements) = STATEMENTS.iter().find(|statements| statements.rows <= rest.len()) {
        let (rows, after) = rest.split_at(statements.rows);
        insert(tx, statements, rows)?;
        rest = after;
    }
    Ok((outcomes, batch.finish()?))
}

fn insert(tx: &Transaction<'_>, statements: &Statements, rows: &[Committed]) -> rusqlite::Result<()> {
    let mut bodies = tx.prepare_cached(&statements.bodies)?;
    for (parameter, row) in (1..).zip(rows) {
        let EventBody::Message(message) = &row.event().body else { continue };
        bodies.raw_bind_parameter(parameter, message.text.as_deref())?;
    }
    bodies.raw_execute()?;
    // New rows are numbered on from the last one.
    let first_body = tx.last_insert_rowid() + 1 - i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let mut events = tx.prepare_cached(&statements.events)?;
    for ((first, body), row) in (1..).step_by(6).zip(first_body..).zip(rows) {
        let event = row.event();
        let EventBody::Message(message) = &event.body else { continue };
        events.raw_bind_parameter(first, sql(row.room().0))?;
        events.raw_bind_parameter(first + 1, sql(event.seq.0))?;
        events.raw_bind_parameter(first + 2, event.at.0)?;
        events.raw_bind_parameter(first + 3, event.from.as_str())?;
        events.raw_bind_parameter(first + 4, message.key.as_deref())?;
        events.raw_bind_parameter(first + 5, body)?;
    }
    events.raw_execute().map(drop)
}
