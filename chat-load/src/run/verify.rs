//! Whether everything came, in the end.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{shared::Shared, user::User};
use crate::measurement::Verdict;

/// How often it is looked whether all is settled.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until everything that was sent is acked, and everybody has what the others said; at most so long.
pub(super) async fn settle(users: &[Rc<User>], shared: &Shared, long: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < long && !users.iter().all(|user| is_settled(user, shared)) {
        sleep(LOOK).await;
    }
}

fn is_settled(user: &User, shared: &Shared) -> bool {
    let client = user.client.borrow();
    let ledgers = &shared.tally.borrow().ledgers;
    client.is_live()
        && client
            .rooms()
            .iter()
            .zip(&user.rooms)
            .all(|(room, planned)| room.waiting() == 0 && room.position() >= ledgers[*planned].top())
}

/// What is wrong, of everything since the run began.
pub(super) fn verify(users: &[Rc<User>], shared: &Shared) -> Verdict {
    let tally = &mut *shared.tally.borrow_mut();
    let mut ends: Vec<u64> = tally.ledgers.iter().map(super::tally::Ledger::top).collect();
    for user in users {
        let client = user.client.borrow();
        for (room, planned) in client.rooms().iter().zip(&user.rooms) {
            ends[*planned] = ends[*planned].max(room.position());
        }
    }
    for user in users {
        let client = user.client.borrow();
        if !client.is_live() {
            tally.verdict.connections_lost += 1;
            tally.note(&user.name, "it is not connected at the end");
        }
        for (room, planned) in client.rooms().iter().zip(&user.rooms) {
            let behind = ends[*planned].saturating_sub(room.position());
            if behind > 0 {
                tally.note(&user.name, &format!("{}: the last {behind} have not come", room.name()));
            }
            let waiting = room.waiting() as u64;
            if waiting > 0 {
                tally.note(&user.name, &format!("{}: {waiting} have no ack", room.name()));
            }
            tally.verdict.lost += behind + room.lost();
            tally.verdict.acks_missing += waiting + room.skipped();
        }
    }
    for (ledger, end) in tally.ledgers.iter().zip(&ends) {
        tally.verdict.numbers_unaccounted += ledger.unaccounted(*end);
    }
    tally.verdict.clone()
}
