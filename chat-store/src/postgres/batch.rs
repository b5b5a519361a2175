//! Appends: one transaction for a batch, in two or three turns of asking and answering.
//!
//! The first takes the locks and all the facts that [`judge`] can ask for, the second writes what was accepted, the
//! third commits. What is asked in one turn is sent at once, and Postgres does it in the order in which it was sent.
//! Where there are only plain messages, the second turn commits too.

use chat_core::store::{Append, Appended, Outcomes, judge::judge};

use super::{
    doubt::Doubts,
    fault::Failure,
    ledger::Ledger,
    session::{Client, commit, execute_and_commit, rollback},
};
use crate::keys::KeyCheck;

/// Judges a batch, and writes what is accepted.
pub(super) async fn append(client: &Client, items: &[Append], doubts: &Doubts) -> Result<Outcomes, Failure> {
    match attempt(client, items, KeyCheck::Trust, doubts).await {
        Err(failure) if failure.is_taken_key() => attempt(client, items, KeyCheck::LookUp, doubts).await,
        done => done,
    }
}

async fn attempt(
    client: &Client,
    items: &[Append],
    key_check: KeyCheck,
    doubts: &Doubts,
) -> Result<Outcomes, Failure> {
    let doubted = doubts.about(items.iter().map(|item| item.room));
    let mut ledger = Ledger::begin(client, items, key_check).await?;
    doubts.settle(&doubted);
    let judged = items.iter().map(|item| {
        let outcome = judge(&mut ledger, item)?.into_outcome(item.room);
        if let Ok(Appended::New(accepted)) = &outcome {
            ledger.accept(accepted)?;
        }
        Ok(outcome)
    });
    let outcomes = judged.collect::<Result<Outcomes, Failure>>()?;
    if ledger.accepted.is_empty() {
        // The locks have left a trace that a commit would have to write to the disk.
        rollback(client).await?;
    } else {
        write_and_commit(client, &ledger, doubts).await?;
    }
    Ok(outcomes)
}

async fn write_and_commit(client: &Client, ledger: &Ledger, doubts: &Doubts) -> Result<(), Failure> {
    let rooms = ledger.written_rooms();
    let Some(question) = ledger.plain_messages() else {
        if let Err(failure) = ledger.write(client).await {
            if failure.is_taken_key() {
                rollback(client).await?;
            }
            return Err(failure);
        }
        let doubt = doubts.raise(rooms);
        commit(client).await?;
        doubt.settle();
        return Ok(());
    };
    let rooms_written = rooms.len() as u64;
    let doubt = doubts.raise(rooms);
    match execute_and_commit(client, &question).await {
        Ok(rows) => {
            doubt.settle();
            if rows == rooms_written { Ok(()) } else { Err(Failure::Strange("a locked room is gone")) }
        }
        Err(failure) => {
            if failure.is_answer() {
                doubt.settle();
            }
            Err(failure)
        }
    }
}
