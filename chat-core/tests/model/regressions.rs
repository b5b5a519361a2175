//! Cases that once failed, by hand: each says what the store's lags are for.

use chat_core::{
    protocol::Codec,
    rights::{Role, Standing},
};

use crate::{
    plan::{
        Action, CONNECTIONS, Call, Edge,
        Op::{self, Call as Beside, Nap, Read, Rest, Say, Wake},
        Pick, Plan, Start,
    },
    run_paused,
};

/// Waits of the store that pass before the first operation: each call has one before its work and one after.
const SETTING_UP: usize = 24;

/// Runs the operations over a store that waits as long as `lags_ms` says, which are counted from the first operation.
fn replay(lags_ms: &[(usize, u8)], ops: Vec<Op>) {
    let mut plan = Plan { lags_ms: vec![0; 200], codecs: [Codec::Single; CONNECTIONS.len()], ops };
    for (turn, lag_ms) in lags_ms {
        plan.lags_ms[SETTING_UP + turn] = *lag_ms;
    }
    let told = run_paused(&plan);
    assert_eq!(told, Ok(()), "{plan:?}");
}

const fn send(room: usize, bytes: u16) -> Action {
    Action::Send { room, key: None, reply_to: None, meta: false, bytes }
}

const fn sent(room: usize, bytes: u16) -> Op {
    Beside(Call::Send { user: 1, room, key: None, bytes })
}

#[test]
fn a_room_deleted_between_two_questions_does_not_come_back_with_the_older_answer() {
    let ops = vec![
        Say(0, Action::Join(0, Start::Live)), // its answer is held back …
        Rest { ms: 0 },
        Say(2, Action::Join(0, Start::Live)), // … while the room comes into memory,
        Rest { ms: 0 },
        Beside(Call::Delete(0)), // is deleted,
        Rest { ms: 0 },
        Say(4, Action::Join(0, Start::Live)), // and is asked for again.
        Rest { ms: 200 },
    ];
    replay(&[(1, 50), (8, 100)], ops);
}

#[test]
fn a_page_of_history_comes_before_a_deletion_that_it_does_not_know_of() {
    let history = Action::History { room: 0, from: Edge::Newest, limit: None, kinds: Vec::new() };
    let ops = vec![
        Say(0, Action::Join(0, Start::Live)),
        Rest { ms: 0 },
        Say(2, Action::Join(0, Start::Live)),
        Rest { ms: 0 },
        Say(2, send(0, 0)),
        Rest { ms: 0 },
        Say(0, history), // the page is read and held back
        Rest { ms: 0 },
        Say(2, Action::Delete { room: 0, target: Pick::Message(0) }),
        Rest { ms: 50 },
    ];
    replay(&[(9, 20)], ops);
}

#[test]
fn a_ban_is_told_as_a_ban_where_retention_has_dropped_what_comes_next() {
    let ops = vec![
        Say(3, Action::Join(1, Start::Live)),
        Rest { ms: 0 },
        Nap(3),
        sent(1, 1200),
        Rest { ms: 0 },
        sent(1, 1200),
        Rest { ms: 0 },
        Beside(Call::Standing { room: 1, user: 1, standing: Standing::Banned }),
        Rest { ms: 0 },
        Beside(Call::Trim { room: 1, keep: 0 }),
        Rest { ms: 0 },
    ];
    replay(&[], ops);
}

#[test]
fn a_page_does_not_lead_past_the_loss_of_a_right_that_has_come_again() {
    let ops = vec![
        Say(0, Action::Join(1, Start::Back(1))), // the page to replay is read late
        Rest { ms: 0 },
        Beside(Call::Standing { room: 1, user: 0, standing: Standing::Outsider }),
        Beside(Call::Standing { room: 1, user: 0, standing: Standing::Member(Role::Member) }),
        Rest { ms: 200 }, // both are in the page, and the engine does not know of them yet
    ];
    replay(&[(2, 20), (8, 50)], ops);
}

#[test]
fn a_room_deleted_before_a_reader_came_to_its_removal_is_closed() {
    let ops = vec![
        Say(2, Action::Join(1, Start::Live)),
        Rest { ms: 0 },
        Nap(2),
        sent(1, 1200),
        Rest { ms: 0 },
        sent(1, 1200),
        Rest { ms: 0 },
        Beside(Call::Standing { room: 1, user: 1, standing: Standing::Outsider }),
        Rest { ms: 0 },
        Beside(Call::Delete(1)), // the store has done it, and the engine does not know yet
        Rest { ms: 0 },
        Wake(2),
        Rest { ms: 200 },
    ];
    replay(&[(17, 50)], ops);
}

#[test]
fn a_page_that_a_reader_has_not_taken_yet_does_not_keep_a_deleted_text() {
    let ops = vec![
        Say(2, Action::Join(0, Start::Live)),
        sent(0, 550),
        Rest { ms: 0 },
        sent(0, 400),
        Rest { ms: 0 },
        Nap(4),
        Say(4, Action::Join(0, Start::Below(2))),
        Rest { ms: 0 },
        Read(4, 1), // is told that it has joined, and the page is asked for
        Rest { ms: 0 },
        Read(4, 1), // takes the first message, and leaves the second
        Say(2, Action::Delete { room: 0, target: Pick::Message(0) }),
        Rest { ms: 0 },
        Wake(4),
        Rest { ms: 0 },
    ];
    replay(&[], ops);
}
