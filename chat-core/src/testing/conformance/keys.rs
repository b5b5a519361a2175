//! Idempotency keys: what was sent twice is committed once.

use super::{
    all,
    stage::{
        Got::{self, New, No, Was},
        Stage, add, delete, keyed, private, public, remove, rename,
    },
};
use crate::store::{Append, Appended, Refused, Require, Store};

/// The second of two items with one key is a duplicate of the first, beside it in the batch.
pub async fn a_key_counts_once_within_a_batch(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let batch = ["k1", "k2", "k1", "k2", "k3"].map(|key| room.by("ann", keyed(key, "hello")));
    assert_eq!(room.append(batch).await, [New(1), New(2), Was(1), Was(2), New(3)]);
    room.check().await;
}

/// A key that was taken answers with the first send's number and time; the first text stays.
pub async fn a_key_sent_again_finds_the_first(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let first = room.by("ann", keyed("k", "first"));
    assert_eq!(room.append([first.clone()]).await, [New(1)]);
    assert_eq!(room.one("bob", keyed("other", "between")).await, New(2));
    for text in ["first", "second"] {
        let outcomes = store.append(vec![room.by("ann", keyed("k", text))]).await.unwrap();
        let Ok(Appended::Duplicate { seq, at }) = outcomes[0] else { panic!("{outcomes:?}") };
        assert_eq!((seq.0, at), (1, first.at));
    }
    assert_eq!(room.message("bob", 1).await.text.as_deref(), Some("first"));
    room.check().await;
}

/// Taken keys and a doubled one within a large batch: what is new beside them is numbered without a gap.
pub async fn taken_keys_amid_many_leave_no_gap(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let batch = |keys: &mut dyn Iterator<Item = u64>| -> Vec<_> {
        keys.map(|key| room.by("ann", keyed(&format!("k{key}"), "hello"))).collect()
    };
    let first = room.append_all(batch(&mut (1..=150))).await;
    assert_eq!(first, (1..=150).map(New).collect::<Vec<_>>());
    let again = room.append_all(batch(&mut (101..=400).chain([200]))).await;
    let expected = (101..=150).map(Was).chain((151..=400).map(New)).chain([Was(200)]);
    assert_eq!(again, expected.collect::<Vec<_>>());
    room.check().await;
}

/// Another author's equal key is another key.
pub async fn a_key_belongs_to_one_author(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let batch = ["ann", "bob", "ann", "bob"].map(|who| room.by(who, keyed("k", who)));
    assert_eq!(room.append(batch).await, [New(1), New(2), Was(1), Was(2)]);
    assert_eq!(room.one("bob", keyed("k", "again")).await, Was(2));
    room.check().await;
}

/// An equal key in another room is another key.
pub async fn a_key_belongs_to_one_room(store: &dyn Store) {
    let (one, two) = (Stage::open(store, public("one")).await, Stage::open(store, public("two")).await);
    assert_eq!(one.one("ann", keyed("k", "one")).await, New(1));
    assert_eq!(two.one("ann", keyed("k", "two")).await, New(1));
    assert_eq!(
        [one.one("ann", keyed("k", "x")).await, two.one("ann", keyed("k", "x")).await],
        [Was(1), Was(1)]
    );
    one.check().await;
    two.check().await;
}

/// A deleted message is not sent again by its key.
pub async fn a_key_outlives_the_deletion_of_its_message(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    room.make("ann", keyed("k", "hello")).await;
    room.make("ann", delete(1)).await;
    assert_eq!(room.one("ann", keyed("k", "hello")).await, Was(1));
    let deleted = room.message("ann", 1).await;
    assert_eq!((deleted.text, deleted.key.as_deref()), (None, Some("k")));
    room.check().await;
}

/// Keys that look alike are different keys.
pub async fn keys_are_compared_byte_for_byte(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let keys = ["k", "K", "k ", " k", "\u{e9}", "e\u{301}", "ß", "ss", "k%", "k_", "0", "00", "'", "𝄞"];
    let batch: Vec<_> = keys.map(|key| room.by("ann", keyed(key, "hello"))).to_vec();
    let numbers = || 1..=keys.len() as u64;
    assert_eq!(room.append_all(batch.clone()).await, numbers().map(New).collect::<Vec<_>>());
    assert_eq!(room.append_all(batch).await, numbers().map(Was).collect::<Vec<_>>());
    room.check().await;
}

/// A send that is repeated because its answer was lost finds itself, whatever the room's version is by then.
pub async fn a_taken_key_is_found_before_the_version_is_judged(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let at_version_0 = |key| {
        let require = Require { version: Some(0), ..Require::default() };
        Append { require, ..room.by("bob", keyed(key, "hello")) }
    };
    assert_eq!(room.append([at_version_0("k")]).await, [New(3)]);
    room.make("ann", rename("another")).await;
    assert_eq!(room.append([at_version_0("k"), at_version_0("l")]).await, [Was(3), No(Refused::Conflict(1))]);
    room.check().await;
}

/// A key tells nothing to somebody for whom the room does not exist any more.
pub async fn who_lost_the_room_finds_no_key(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    room.make("bob", keyed("k", "hello")).await;
    room.make("ann", remove("bob")).await;
    assert_eq!(room.one("bob", keyed("k", "hello")).await, No(Refused::NoRoom));
    room.make("ann", add("bob")).await;
    assert_eq!(room.one("bob", keyed("k", "hello")).await, Was(3));
    room.check().await;
}

/// What was refused took no key.
pub async fn a_refused_item_leaves_its_key_free(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let batch =
        [room.by("cat", keyed("k", "early")), room.by("ann", add("cat")), room.by("cat", keyed("k", "now"))];
    assert_eq!(room.append(batch).await, [No(Refused::NoRoom), New(3), New(4)]);
    assert_eq!(room.message("ann", 4).await.text.as_deref(), Some("now"));
    room.check().await;
}

/// Of many who send one key at the same time, exactly one is committed and the others find it.
pub async fn batches_that_race_for_a_key_commit_it_once(store: &dyn Store) {
    const RACERS: usize = 12;
    let room = Stage::open(store, public("r")).await;
    let racer = |n: usize| {
        let own = room.by("bob", keyed(&format!("own {n}"), "own"));
        vec![own, room.by("ann", keyed("same", &format!("from {n}")))]
    };
    let batches: Vec<_> = (0..RACERS).map(racer).collect();
    let outcomes = all(batches.iter().map(|batch| store.append(batch.clone())).collect()).await;
    let mut same = Vec::new();
    for (batch, outcomes) in batches.iter().zip(outcomes) {
        let got: Vec<Got> =
            batch.iter().zip(outcomes.unwrap()).map(|(item, outcome)| room.got(item, outcome)).collect();
        assert!(matches!(got[0], New(_)), "{got:?}");
        same.push(got[1]);
    }
    let winners: Vec<u64> =
        same.iter().filter_map(|got| if let New(seq) = got { Some(*seq) } else { None }).collect();
    assert_eq!(winners.len(), 1, "{same:?}");
    assert_eq!(same.iter().filter(|got| **got == Was(winners[0])).count(), RACERS - 1, "{same:?}");
    assert_eq!(room.timeline().len(), RACERS + 1);
    room.check().await;
}
