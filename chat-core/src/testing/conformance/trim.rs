//! Trim: retention removes a prefix, and nothing else.

use super::{
    pages::{small_room, starts},
    stage::{
        Got::{New, No, Was},
        Stage, delete, edit, host, host_as, keyed, message, public, react, user,
    },
};
use crate::{
    ids::{RoomNo, Seq},
    protocol::{Draft, EventKind},
    store::{Change, PageQuery, ReadMark, Refused, Store},
};

/// The oldest number rises, the newest stays, and new events go on after it.
pub async fn a_trimmed_room_begins_later(store: &dyn Store) {
    let room = small_room(store, "r").await;
    let last = Seq(room.timeline().len() as u64);
    assert_eq!(store.trim(room.no(), Seq(4)).await.unwrap(), Some(Seq(4)));
    let seen = room.view("ann").await.room;
    assert_eq!((seen.first_seq, seen.last_seq), (Seq(4), last));
    assert_eq!(store.trim(room.no(), last.next()).await.unwrap(), Some(last.next()));
    let empty = room.read("ann").await;
    assert_eq!((empty.events, empty.first_seq, empty.last_seq), (vec![], last.next(), last));
    assert_eq!(room.view("bob").await.unread, 0);
    assert_eq!(room.one("ann", message("next")).await, New(last.next().0));
    assert_eq!(store.ends(vec![room.no()]).await.unwrap(), [Some(last.next())]);
    room.check_page(&room.query(Some(host_as("ann"))), last.next(), None).await;
}

/// A bound that is not above today's changes nothing; one past the end stops there; an unknown room has none.
pub async fn trim_goes_forward_up_to_the_end(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let empty = Stage::open(store, public("empty")).await;
    for _ in 0..5 {
        room.make("ann", message("x")).await;
    }
    for (asked, first) in
        [(0, 1), (1, 1), (3, 3), (2, 3), (0, 3), (3, 3), (5, 5), (6, 6), (1, 6), (99, 6), (u64::MAX, 6)]
    {
        assert_eq!(store.trim(room.no(), Seq(asked)).await.unwrap(), Some(Seq(first)), "{asked}");
        room.check_page(&room.query(Some(host())), Seq(first), None).await;
    }
    assert_eq!(store.trim(empty.no(), Seq(99)).await.unwrap(), Some(Seq(1)));
    assert_eq!(store.trim(RoomNo(empty.no().0 + 1), Seq(1)).await.unwrap(), None);
}

/// Keys go with their messages; those of messages that are kept stay.
pub async fn keys_of_trimmed_messages_are_free_again(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let batch = ["k1", "k2", "k3"].map(|key| room.by("ann", keyed(key, "x")));
    assert_eq!(room.append(batch.clone()).await, [New(1), New(2), New(3)]);
    assert_eq!(store.trim(room.no(), Seq(3)).await.unwrap(), Some(Seq(3)));
    assert_eq!(room.append(batch).await, [New(4), New(5), Was(3)]);
    room.check_page(&room.query(Some(host())), Seq(3), None).await;
}

/// A message that was trimmed is not there any more: for edits, deletions, reactions, answers.
pub async fn a_trimmed_message_is_no_target(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    room.make("ann", message("1")).await;
    room.make("ann", edit(1, "one")).await;
    room.make("ann", message("3")).await;
    store.trim(room.no(), Seq(3)).await.unwrap();
    let answer = |target| Change::Message(Draft::text("answer").reply_to(Seq(target)));
    for change in [edit(1, "x"), delete(1), react(1, "x"), answer(1), answer(2)] {
        assert_eq!(room.one("ann", change.clone()).await, No(Refused::NoTarget), "{change:?}");
    }
    for change in [edit(3, "x"), react(3, "x"), answer(3)] {
        room.make("ann", change).await;
    }
    store.save_read_marks(vec![ReadMark { room: room.no(), user: user("bob"), seq: Seq(1) }]).await.unwrap();
    assert_eq!(room.view("bob").await.unread, 2);
    room.check_page(&room.query(Some(host_as("ann"))), Seq(3), None).await;
}

/// Every start, wherever the room now begins, against a naive reading.
pub async fn pages_of_a_trimmed_room_hold_what_is_left(store: &dyn Store) {
    let room = small_room(store, "r").await;
    let last = room.timeline().len() as u64;
    for first in [2, 3, 6, 9, last, last + 1].map(Seq) {
        assert_eq!(store.trim(room.no(), first).await.unwrap(), Some(first));
        for from in starts(last) {
            for limit in [1, 3, usize::MAX] {
                for kinds in [vec![], vec![EventKind::Edited, EventKind::Message]] {
                    let query = PageQuery { from, limit, kinds, ..room.query(Some(host_as("ann"))) };
                    room.check_page(&query, first, None).await;
                }
            }
        }
    }
}
