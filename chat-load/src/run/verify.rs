//! Whether everything came, in the end.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{foreign::Foreign, shared::Shared, tally::Tally, user::User, voice::Voice};
use crate::{client::Client, measurement::Verdict};

/// How often it is looked whether all is settled.
const LOOK: Duration = Duration::from_millis(10);

/// Once everything is there nothing more may come. So long it is waited for all the same: what came last may come twice.
const GRACE: Duration = Duration::from_millis(250);

/// Waits until everything that was sent is acked, and everybody has what the others said; at most so long. Then listens
/// for [`GRACE`].
pub(super) async fn settle(users: &[Rc<User>], shared: &Shared, long: Duration) {
    let begun = Instant::now();
    while !(shared.tally.borrow().board.is_settled() && users.iter().all(|user| is_settled(user, shared))) {
        if begun.elapsed() >= long {
            return;
        }
        sleep(LOOK).await;
    }
    sleep(GRACE).await;
}

fn is_settled(user: &User, shared: &Shared) -> bool {
    match &*user.voice.borrow() {
        Voice::Ours(client) => {
            let ledgers = &shared.tally.borrow().ledgers;
            client.is_live()
                && client
                    .rooms()
                    .iter()
                    .zip(&user.rooms)
                    .all(|(room, planned)| room.waiting() == 0 && room.position() >= ledgers[*planned].top())
        }
        Voice::Others(foreign) => foreign.is_live() && foreign.waiting() == 0,
    }
}

/// What is wrong, of everything since the run began.
pub(super) fn verify(users: &[Rc<User>], shared: &Shared) -> Verdict {
    let tally = &mut *shared.tally.borrow_mut();
    let mut ends: Vec<u64> = tally.ledgers.iter().map(super::tally::Ledger::top).collect();
    for user in users {
        if let Voice::Ours(client) = &*user.voice.borrow() {
            for (room, planned) in client.rooms().iter().zip(&user.rooms) {
                ends[*planned] = ends[*planned].max(room.position());
            }
        }
    }
    for user in users {
        match &*user.voice.borrow() {
            Voice::Ours(client) => verify_ours(user, client, &ends, tally),
            Voice::Others(foreign) => verify_others(user, foreign, tally),
        }
    }
    for (ledger, end) in tally.ledgers.iter().zip(&ends) {
        add(&mut tally.verdict.numbers_unaccounted, ledger.unaccounted(*end));
    }
    tally.verdict.lost += tally.board.holes();
    if let Some(others) = tally.board.others_told()
        && !tally.verdict.is_good()
    {
        tally.note("all", &others);
    }
    tally.verdict.clone()
}

/// A server may say any number: a sum of them stays at the highest, and does not go round to nothing.
const fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

fn verify_ours(user: &User, client: &Client, ends: &[u64], tally: &mut Tally) {
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
        add(&mut tally.verdict.lost, behind);
        add(&mut tally.verdict.lost, room.lost());
        add(&mut tally.verdict.lost_last, behind);
        tally.verdict.acks_missing += waiting + room.skipped();
        tally.verdict.acks_missing_last += waiting;
    }
}

fn verify_others(user: &User, foreign: &Foreign, tally: &mut Tally) {
    let (behind, waiting) = (foreign.behind(&tally.board), foreign.waiting() as u64);
    if behind > 0 {
        tally.note(&user.name, &format!("the last {behind} of the others have not come"));
    }
    if waiting > 0 {
        tally.note(&user.name, &format!("{waiting} have no ack"));
    }
    tally.verdict.lost += behind;
    tally.verdict.lost_last += behind;
    tally.verdict.acks_missing += waiting;
    tally.verdict.acks_missing_last += waiting;
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::run::{scene::ann, tally::Hearing};

    fn hear(user: &User, shared: &Shared, text: &str) {
        let tally = &mut *shared.tally.borrow_mut();
        let mut hearing = Hearing { tally, who: &user.name, rooms: &user.rooms, now: None };
        let Voice::Ours(client) = &mut *user.voice.borrow_mut() else { unreachable!("it is at ours") };
        client.hear(text.as_bytes(), &mut hearing);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_message_may_not_come_twice_either() {
        let (user, shared) = ann(([127, 0, 0, 1], 1).into());
        let message = r#"{"type":"message","room":"r","seq":1,"from":"bob","text":"hi"}"#;
        user.voice.borrow_mut().opened();
        hear(&user, &shared, r#"{"type":"welcome","protocol":"chat.v1"}"#);
        hear(&user, &shared, r#"{"type":"joined","id":1,"room":"r","epoch":"e","last_seq":0}"#);
        hear(&user, &shared, message);
        assert!(is_settled(&user, &shared));
        let users = [Rc::clone(&user)];
        let again = async {
            sleep(GRACE / 2).await;
            hear(&user, &shared, message);
            pending::<()>().await;
        };
        tokio::select! {
            () = settle(&users, &shared, Duration::from_secs(30)) => {}
            () = again => {}
        }
        assert_eq!(verify(&users, &shared).doubled, 1);
    }

    #[tokio::test]
    async fn a_number_beyond_all_reason_is_lost_messages_and_ends_no_run() {
        let (user, shared) = ann(([127, 0, 0, 1], 1).into());
        user.voice.borrow_mut().opened();
        hear(&user, &shared, r#"{"type":"welcome","protocol":"chat.v1"}"#);
        hear(&user, &shared, r#"{"type":"joined","id":1,"room":"r","epoch":"e","last_seq":0}"#);
        let seq = 9_999_999_999_999_999_999_u64;
        let message = format!(r#"{{"type":"message","room":"r","seq":{seq},"from":"bob","text":"hi"}}"#);
        hear(&user, &shared, &message);
        let reset = format!(
            r#"{{"type":"joined","id":2,"room":"r","epoch":"e","last_seq":{},"reset":true}}"#,
            u64::MAX
        );
        hear(&user, &shared, &reset);
        hear(&user, &shared, &message);
        let verdict = verify(&[user], &shared);
        assert_eq!((verdict.lost, verdict.numbers_unaccounted), (seq - 1, u64::MAX));
    }
}
