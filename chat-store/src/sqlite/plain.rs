//! Batches of nothing but plain messages: many rows to a statement.
//!
//! A message on its own takes two statements, which have to be bound, begun and reset. Here one statement takes up to
//! [`ROWS_MAX`] of them, after all of the batch was judged. That can be done where no item asks for what another one has
//! written: the ends of rooms are in [`Batch`], and keys are trusted. Where a key is taken the whole transaction is
//! undone, and the batch goes item by item: see [`append`](super::batch::append).

use std::{mem, sync::LazyLock};

use chat_core::{
    protocol::{Draft, Event, EventBody},
    store::{
        Append, Appended, Change, Committed, Outcomes, Refused,
        judge::{Verdict, judge},
    },
};
use rusqlite::Statement;

use super::{batch::Batch, fault::Transaction, known::Known, rows::sql};
use crate::keys::KeyCheck;

/// Most rows of a statement. Between 16 and 512 the bench `commit` tells no difference.
const ROWS_MAX: usize = 64;

/// How many rows a statement has: as many statements are prepared, and no more. A batch takes one of each size below
/// [`ROWS_MAX`] at most.
const SIZES: [usize; 7] = [ROWS_MAX, 32, 16, 8, 4, 2, 1];

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
        bodies: format!("INSERT OR FAIL INTO bodies (text) VALUES {}", vec!["(?)"; rows].join(",")),
        events: format!(
            "INSERT OR FAIL INTO events (room, seq, at, author, key, body, kind, deleted) VALUES {}",
            vec!["(?,?,?,?,?,?,1,0)"; rows].join(",")
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

/// Judges a batch that [is plain](is_plain), and writes what is accepted. Where a key is taken it fails, the items are as
/// they were, and nothing may be committed.
pub(super) fn append(
    tx: &Transaction<'_>,
    known: Known,
    items: &mut [Append],
) -> rusqlite::Result<(Outcomes, Known)> {
    let mut batch = Batch::new(tx, KeyCheck::Trust, known);
    let judged = items.iter_mut().map(|item| judge_taking(&mut batch, item));
    let outcomes: Outcomes = judged.collect::<rusqlite::Result<_>>()?;
    if let Err(error) = write(tx, &outcomes) {
        give_back(items, outcomes);
        return Err(error);
    }
    Ok((outcomes, batch.finish()?))
}

/// Judges an item. Its text and key go into the event, and are not copied: the rules look at neither.
fn judge_taking(batch: &mut Batch<'_>, item: &mut Append) -> rusqlite::Result<Result<Appended, Refused>> {
    let (text, key) = match &mut item.change {
        Change::Message(draft) => (mem::take(&mut draft.text), draft.key.take()),
        _ => return Ok(judge(batch, item)?.into_outcome(item.room)),
    };
    let mut verdict = judge(batch, item)?;
    match (&mut verdict, &mut item.change) {
        (Verdict::Accept(Event { seq, body: EventBody::Message(message), .. }), _) => {
            batch.move_end(item.room, *seq)?;
            (message.text, message.key) = (Some(text), key);
        }
        (_, Change::Message(draft)) => (draft.text, draft.key) = (text, key),
        _ => {}
    }
    Ok(verdict.into_outcome(item.room))
}

/// Gives the items back what their events have taken.
fn give_back(items: &mut [Append], outcomes: Outcomes) {
    for (item, outcome) in items.iter_mut().zip(outcomes) {
        if let (Change::Message(draft), Ok(Appended::New(committed))) = (&mut item.change, outcome)
            && let EventBody::Message(message) = &committed.event().body
        {
            (draft.text, draft.key) = (message.text.clone().unwrap_or_default(), message.key.clone());
        }
    }
}

fn write(tx: &Transaction<'_>, outcomes: &Outcomes) -> rusqlite::Result<()> {
    let accepted = outcomes.iter().filter_map(|outcome| match outcome {
        Ok(Appended::New(committed)) => Some(committed),
        _ => None,
    });
    let accepted: Vec<&Committed> = accepted.collect();
    let mut rest = &accepted[..];
    for statements in &*STATEMENTS {
        if rest.len() < statements.rows {
            continue;
        }
        let mut bodies = tx.prepare_cached(&statements.bodies)?;
        let mut events = tx.prepare_cached(&statements.events)?;
        while let Some((rows, after)) = rest.split_at_checked(statements.rows) {
            insert(tx, &mut bodies, &mut events, rows)?;
            rest = after;
        }
    }
    Ok(())
}

fn insert(
    tx: &Transaction<'_>,
    bodies: &mut Statement<'_>,
    events: &mut Statement<'_>,
    rows: &[&Committed],
) -> rusqlite::Result<()> {
    for (parameter, row) in (1..).zip(rows) {
        let EventBody::Message(message) = &row.event().body else { continue };
        bodies.raw_bind_parameter(parameter, message.text.as_deref())?;
    }
    bodies.raw_execute()?;
    // New rows are numbered on from the last one.
    let first_body = tx.last_insert_rowid() + 1 - i64::try_from(rows.len()).unwrap_or(i64::MAX);
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
