//! Batches: numbers, refusals, and what each item sees.

use std::sync::Arc;

use super::{
    all,
    stage::{
        Got::{New, No, Was},
        Stage, add, delete, edit, host, keyed, message, private, public, react, remove, rename,
    },
};
use crate::{
    ids::{RoomNo, Seq},
    limits::BATCH_ITEMS_MAX,
    store::{Append, Appended, Refused, Require, Store},
};

/// The first event of a room is 1, and each further one the next number, in one batch and in many.
pub async fn numbers_are_dense_from_one(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let first = [room.by("ann", message("a")), room.by("bob", message("b")), room.by("ann", message("c"))];
    assert_eq!(room.append(first).await, [New(1), New(2), New(3)]);
    assert_eq!(room.one("bob", message("d")).await, New(4));
    assert_eq!(
        room.append([room.by("ann", edit(1, "e")), room.by("bob", react(1, "x"))]).await,
        [New(5), New(6)]
    );
    room.check().await;
}

/// A committed event has the room, the time, the author and the content of its item; a page has the same.
pub async fn an_event_says_what_was_asked(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let item = room.by("bob", keyed("k", "hello"));
    let outcomes = store.append(vec![item.clone()]).await.unwrap();
    let [Ok(Appended::New(committed))] = &*outcomes else { panic!("{outcomes:?}") };
    let event = Arc::clone(committed.event());
    assert_eq!(room.got(&item, outcomes[0].clone()), New(3));
    assert_eq!(room.read("ann").await.events.last(), Some(&*event));
    for (who, change) in
        [("ann", edit(3, "x")), ("ann", add("cat")), ("ann", rename("x")), ("bob", react(3, "x"))]
    {
        room.one(who, change).await;
    }
    room.check().await;
}

/// A batch of nothing has no outcomes.
pub async fn an_empty_batch_is_fine(store: &dyn Store) {
    assert_eq!(store.append(Vec::new()).await.unwrap(), []);
}

/// Refused items take no number and change nothing; the good ones around them are committed.
pub async fn refused_items_leave_no_trace_and_take_no_number(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let batch = [
        room.by("eve", keyed("k", "from outside")),
        room.by("bob", message("good")),
        room.by("bob", delete(99)),
        room.by("bob", remove("ann")),
        room.by("ann", edit(3, "not mine")),
        room.by("bob", rename("not mine")),
        room.by("ann", message("good too")),
        room.by("eve", react(3, "x")),
    ];
    let (no_room, no_target, forbidden) =
        (No(Refused::NoRoom), No(Refused::NoTarget), No(Refused::Forbidden));
    let expected = [no_room, New(3), no_target, forbidden, forbidden, forbidden, New(4), no_room];
    assert_eq!(room.append(batch).await, expected);
    room.check().await;
    assert_eq!(room.view("ann").await.room, crate::store::RoomRecord { last_seq: Seq(4), ..room.record });
}

/// An item for a room that is not there is refused alone.
pub async fn an_unknown_room_is_refused_beside_good_ones(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let lost = |no| Append { room: RoomNo(no), ..room.by(host(), message("lost")) };
    let other = room.no().0 + 1;
    let batch =
        [room.by("ann", message("a")), lost(other), room.by("ann", message("b")), lost(u64::from(u32::MAX))];
    assert_eq!(room.append(batch).await, [New(1), No(Refused::NoRoom), New(2), No(Refused::NoRoom)]);
    room.check().await;
}

/// One batch may hold items of many rooms; each room has numbers of its own.
pub async fn rooms_of_one_batch_are_numbered_apart(store: &dyn Store) {
    let (one, two) = (Stage::open(store, public("one")).await, Stage::open(store, private("two")).await);
    let batch: Vec<Append> =
        (0..6).map(|n| if n % 2 == 0 { &one } else { &two }.by("ann", message("x"))).collect();
    let outcomes = store.append(batch.clone()).await.unwrap();
    let got: Vec<_> =
        (0..6).map(|n| if n % 2 == 0 { &one } else { &two }.got(&batch[n], outcomes[n].clone())).collect();
    assert_eq!(got, [New(1), New(3), New(2), New(4), New(3), New(5)]);
    one.check().await;
    two.check().await;
}

/// Each item sees those before it: a new member.
pub async fn a_member_who_was_just_added_may_send(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let batch =
        [room.by("cat", message("too early")), room.by("ann", add("cat")), room.by("cat", message("hello"))];
    assert_eq!(room.append(batch).await, [No(Refused::NoRoom), New(3), New(4)]);
    room.check().await;
}

/// Each item sees those before it: a removal.
pub async fn a_member_who_was_just_removed_may_not_send(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let batch = [room.by("bob", message("a")), room.by("ann", remove("bob")), room.by("bob", message("b"))];
    assert_eq!(room.append(batch).await, [New(3), New(4), No(Refused::NoRoom)]);
    room.check().await;
}

/// Each item sees those before it: the message to be edited, and its new text.
pub async fn an_edit_sees_the_one_before_it(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let texts = ["a", "b", "b", "a"].map(|text| room.by("ann", edit(1, text)));
    let [a, b, b_again, a_again] = texts;
    let batch = [room.by("ann", message("a")), a, b, b_again, a_again];
    assert_eq!(room.append(batch).await, [New(1), Was(1), New(2), Was(2), New(3)]);
    room.check().await;
}

/// Each item sees those before it: a deletion.
pub async fn a_reaction_sees_the_deletion_before_it(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let batch = [
        room.by("ann", message("a")),
        room.by("bob", react(1, "x")),
        room.by("bob", react(1, "x")),
        room.by("ann", delete(1)),
        room.by("bob", react(1, "y")),
        room.by("ann", edit(1, "b")),
        room.by("ann", delete(1)),
    ];
    let gone = No(Refused::NoTarget);
    assert_eq!(room.append(batch).await, [New(1), New(2), Was(2), New(3), gone, gone, gone]);
    room.check().await;
}

/// Each item sees those before it: of two who saw the same version, the first wins.
pub async fn a_version_counts_within_the_batch(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let at_version = |version, name| {
        let require = Require { version: Some(version), ..Require::default() };
        Append { require, ..room.by("ann", rename(name)) }
    };
    let batch = [at_version(0, "first"), at_version(0, "second"), at_version(1, "third")];
    assert_eq!(room.append(batch).await, [New(3), No(Refused::Conflict(1)), New(4)]);
    assert_eq!((room.view("ann").await.room.version, &*room.view("ann").await.room.name), (2, "third"));
    room.check().await;
}

/// The largest batch the engine makes.
pub async fn a_thousand_items_are_one_batch(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let item = |n: usize| room.by(["ann", "bob"][n % 2], keyed(&format!("k{n}"), &format!("message {n}")));
    let batch: Vec<Append> = (0..BATCH_ITEMS_MAX).map(item).collect();
    let numbers = || 1..=BATCH_ITEMS_MAX as u64;
    assert_eq!(room.append_all(batch.clone()).await, numbers().map(New).collect::<Vec<_>>());
    assert_eq!(room.append_all(batch).await, numbers().map(Was).collect::<Vec<_>>());
    let page = room.read("ann").await;
    assert_eq!(page.events.len(), BATCH_ITEMS_MAX);
    assert_eq!(page.events, room.timeline());
}

/// Batches handed in at the same time are committed one after the other, none lost and none torn apart.
pub async fn batches_at_the_same_time_are_dense(store: &dyn Store) {
    const BATCHES: usize = 16;
    let (one, two) = (Stage::open(store, public("one")).await, Stage::open(store, public("two")).await);
    let batch = |n: usize| {
        // Every other one names the rooms in the other order, so that locks taken in that order would meet.
        let rooms = if n.is_multiple_of(2) { [&one, &two] } else { [&two, &one] };
        rooms.map(|room| room.by("ann", message(&format!("from batch {n}"))))
    };
    let batches: Vec<_> = (0..BATCHES).map(batch).collect();
    let outcomes = all(batches.iter().map(|batch| store.append(batch.to_vec())).collect()).await;
    for (batch, outcomes) in batches.iter().zip(outcomes) {
        for (item, outcome) in batch.iter().zip(outcomes.unwrap()) {
            let room = if item.room == one.no() { &one } else { &two };
            assert!(matches!(room.got(item, outcome), New(_)));
        }
    }
    assert_eq!((one.timeline().len(), two.timeline().len()), (BATCHES, BATCHES));
    one.check().await;
    two.check().await;
}
