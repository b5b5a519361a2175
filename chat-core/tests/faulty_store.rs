//! The store with planted faults does what its faults say, and a store of that kind can be lived with: an unknown
//! outcome is settled by reading, or by sending the same key again.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this file is a test")]

use std::{
    future::{Future, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use chat_core::{
    Draft,
    ids::{Epoch, RoomId, RoomNo, Seq, Timestamp, UserId},
    protocol::{EventBody, HistoryFrom},
    rights::{Actor, Authority, Role, Visibility},
    store::{
        Append, Appended, Change, Created, MemoryStore, NewRoom, PageQuery, Require, RoomKind, Store,
        StoreError,
    },
    testing::{Calls, Chance, Fault, FaultyStore, conformance},
};

fn actor() -> Actor {
    Actor { user: UserId::new("ann").unwrap(), authority: Authority::User(Role::Member) }
}

fn send(room: RoomNo, key: &str, text: &str) -> Append {
    let (at, require) = (Timestamp(0), Require::default());
    Append { room, actor: actor(), at, change: Change::Message(Draft::text(text).key(key)), require }
}

async fn store_with_room() -> (FaultyStore, RoomNo) {
    let store = FaultyStore::new(MemoryStore::new());
    let new = NewRoom {
        id: RoomId::new("r").unwrap(),
        epoch: Epoch::from_random(1),
        kind: RoomKind::Group,
        visibility: Visibility::Public,
        name: "A room".into(),
        topic: "".into(),
        creator: actor().user,
        members: Vec::new(),
        at: Timestamp(0),
    };
    match store.create_room(new, 1).await.unwrap() {
        Created::New(room) => (store, room.no),
        other => panic!("the store was empty: {other:?}"),
    }
}

async fn end(store: &FaultyStore, room: RoomNo) -> Seq {
    store.ends(vec![room]).await.unwrap()[0].unwrap()
}

async fn texts(store: &FaultyStore, room: RoomNo) -> Vec<Box<str>> {
    let (from, kinds) = (HistoryFrom::After(Seq::ZERO), Vec::new());
    let query = PageQuery { room, reader: Some(actor()), from, limit: usize::MAX, bytes: usize::MAX, kinds };
    let events = store.page(query).await.unwrap().unwrap().events;
    let text = |body| if let EventBody::Message(message) = body { message.text } else { None };
    events.into_iter().filter_map(|event| text(event.body)).collect()
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn without_a_fault_it_passes_the_suite() {
    conformance::run(|| ready(FaultyStore::new(MemoryStore::new()))).await;
}

#[tokio::test]
async fn a_call_that_fails_before_has_done_nothing() {
    let (store, room) = store_with_room().await;
    for (fault, unavailable) in [(Fault::FailBefore, true), (Fault::Reject, false)] {
        store.script(Calls::Appends, [Some(fault)]);
        let error = store.append(vec![send(room, "k", "x")]).await.unwrap_err();
        assert_eq!(matches!(error, StoreError::Unavailable(_)), unavailable);
        assert_eq!(matches!(error, StoreError::Rejected(_)), !unavailable);
        assert_eq!(end(&store, room).await, Seq::ZERO);
    }
}

#[tokio::test]
async fn a_store_that_commits_and_then_fails_shows_what_it_committed() {
    let (store, room) = store_with_room().await;
    store.append(vec![send(room, "k1", "one")]).await.unwrap();
    store.script(Calls::Appends, [Some(Fault::FailAfter)]);
    let batch = vec![send(room, "k2", "two"), send(room, "k3", "three")];
    let error = store.append(batch.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");

    assert_eq!(end(&store, room).await, Seq(3));
    assert_eq!(texts(&store, room).await, ["one", "two", "three"].map(Into::into));
    let again: Vec<_> = store.append(batch).await.unwrap().into_iter().map(Result::unwrap).collect();
    let at = Timestamp(0);
    assert_eq!(again, [2, 3].map(|seq| Appended::Duplicate { seq: Seq(seq), at }));
    let next = store.append(vec![send(room, "k4", "four")]).await.unwrap();
    assert!(matches!(&next[0], Ok(Appended::New(committed)) if committed.event().seq == Seq(4)), "{next:?}");
}

#[tokio::test]
async fn a_poisonous_item_fails_its_batch_and_no_other() {
    let (store, room) = store_with_room().await;
    store.poison("poison");
    let (good, bad) = (send(room, "k1", "good"), send(room, "k2", "some poison here"));
    let error = store.append(vec![good.clone(), bad.clone()]).await.unwrap_err();
    assert!(matches!(error, StoreError::Rejected(_)), "{error:?}");
    store.append(vec![good]).await.unwrap();
    store.append(vec![bad]).await.unwrap_err();
    assert_eq!(texts(&store, room).await, ["good".into()]);
    assert_eq!(store.counts().rejected, 2);
}

#[tokio::test]
async fn held_calls_go_on_in_order_when_they_are_released() {
    let (store, room) = store_with_room().await;
    store.script(Calls::Appends, [Some(Fault::HoldBefore), Some(Fault::HoldAfter), Some(Fault::HoldBefore)]);
    let mut before = store.append(vec![send(room, "k1", "held before")]);
    let mut after = store.append(vec![send(room, "k2", "held after")]);
    let mut last = store.append(vec![send(room, "k3", "last")]);
    assert_eq!(store.holding(), 3);
    for _ in 0..3 {
        assert!(poll_once(&mut last).is_pending() && poll_once(&mut after).is_pending());
        assert!(poll_once(&mut before).is_pending());
    }
    assert_eq!(texts(&store, room).await, ["held after".into()], "it is done, only its answer is held");
    store.release(1);
    assert!(poll_once(&mut after).is_pending() && poll_once(&mut last).is_pending());
    before.await.unwrap();
    store.release_all();
    store.release_all();
    assert_eq!(store.holding(), 0);
    after.await.unwrap();
    last.await.unwrap();
    assert_eq!(texts(&store, room).await, ["held after", "held before", "last"].map(Into::into));

    store.script(Calls::Appends, [Some(Fault::HoldBefore)]);
    let mut held = store.append(vec![send(room, "k4", "nobody waits")]);
    assert!(poll_once(&mut held).is_pending(), "a release of more than were held is not kept for later");
    drop(held);
    assert_eq!(end(&store, room).await, Seq(3));
}

#[tokio::test]
async fn an_outage_ends_when_it_is_told_to() {
    let (store, room) = store_with_room().await;
    store.go_down();
    store.ping().await.unwrap_err();
    store.append(vec![send(room, "k", "x")]).await.unwrap_err();
    store.trim(room, Seq(1)).await.unwrap_err();
    store.come_back();
    store.ping().await.unwrap();
    assert_eq!(end(&store, room).await, Seq::ZERO);
    assert_eq!(store.counts().failed_before, 3);
}

fn unlucky(store: &FaultyStore, seed: u64) {
    let faults = vec![Fault::FailBefore, Fault::FailAfter, Fault::Reject];
    store.at_random(fastrand::Rng::with_seed(seed), Chance { one_in: 2, faults });
}

#[tokio::test]
async fn a_seed_replays_its_faults() {
    let mut counts = Vec::new();
    for seed in [7, 7, 8] {
        let (store, room) = store_with_room().await;
        unlucky(&store, seed);
        for n in 0..100 {
            let _ = store.append(vec![send(room, &format!("k{n}"), "x")]).await;
        }
        counts.push(store.counts());
    }
    assert_eq!(counts[0], counts[1]);
    assert_ne!(counts[0], counts[2]);
}

#[tokio::test]
async fn a_key_sent_until_it_is_acked_is_committed_once() {
    for seed in 0..20 {
        let (store, room) = store_with_room().await;
        unlucky(&store, seed);
        let sent: Vec<Box<str>> = (0..50).map(|n| format!("message {n}").into()).collect();
        for text in &sent {
            while store.append(vec![send(room, text, text)]).await.is_err() {}
        }
        store.at_random(fastrand::Rng::with_seed(seed), Chance { one_in: 0, faults: Vec::new() });
        assert_eq!(texts(&store, room).await, sent, "seed {seed}");
        assert!(store.counts().failed_after > 0, "seed {seed}");
    }
}
