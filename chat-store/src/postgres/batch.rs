//! Appends: one transaction for a batch, in three turns of asking and answering.
//!
//! The first takes the locks and all the facts that [`judge`] can ask for, the second writes what was accepted, the
//! third commits. What is asked in one turn is sent at once, and Postgres does it in the order in which it was sent.

use chat_core::store::{Append, Appended, Outcomes, judge::judge};

use super::{
    doubt::Doubts,
    fault::Failure,
    ledger::Ledger,
    session::{Client, commit, end},
};

/// Judges a batch, and writes what is accepted.
pub(super) async fn append(client: &Client, items: &[Append], doubts: &Doubts) -> Result<Outcomes, Failure> {
    let doubted = doubts.about(items.iter().map(|item| item.room));
    let mut ledger = Ledger::begin(client, items).await?;
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
        end(client).await?;
        return Ok(outcomes);
    }
    ledger.write(client).await?;
    let doubt = doubts.raise(ledger.written_rooms());
    commit(client).await?;
    doubt.settle();
    Ok(outcomes)
}
