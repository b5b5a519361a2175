//! Two stores over one database, as two servers have them: what they send.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use chat_core::{
    Draft,
    ids::{RoomNo, Seq},
    protocol::{HistoryFrom, RoomPatch},
    store::{Append, Appended, Change, NoPage, PageQuery, ReadMark, Refused, Require, Store},
};
use chat_store::{PostgresStore, testing::postgres_database};
use tokio::task::JoinSet;

use crate::{
    child::{Sender, sender},
    support::{
        ann, change, commit, commit_all, count, host, keys, large_room, message, open, outsider, page, room,
        timeline, two, user,
    },
};

async fn deadlocks(url: &str) -> u64 {
    let query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    count(&outsider(url).await, query).await
}

/// The `i`th batch of the `task`th task: a raced key into every room and a plain message, in an order of its own.
fn batch(rooms: &[RoomNo], task: usize, i: usize) -> Vec<Append> {
    let rooms = (0..rooms.len()).map(|r| {
        rooms[if task.is_multiple_of(2) { r + i } else { 3 * rooms.len() - r + task } % rooms.len()]
    });
    let items = rooms.flat_map(|room| {
        let raced = Change::Message(Draft::text("raced").key(format!("key {i}")));
        [change(room, raced), message(room, "plain")]
    });
    items.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_with_rooms_in_common_never_deadlock_and_each_raced_key_has_one_number() {
    const BATCHES: usize = 80;
    let (database, stores) = two().await;
    let mut rooms = Vec::new();
    for id in ["a", "b", "c", "d", "e"] {
        rooms.push(room(&stores[0], id).await);
    }
    let (rooms, stores) = (Arc::new(rooms), stores.map(Arc::new));
    let mut tasks = JoinSet::new();
    for task in 0..4 {
        let (store, rooms) = (Arc::clone(&stores[task % 2]), Arc::clone(&rooms));
        tasks.spawn(async move {
            let mut told = Vec::new();
            for i in 0..BATCHES {
                let batch = batch(&rooms, task, i);
                let numbers = commit_all(&store, batch.clone()).await;
                told.extend(batch.into_iter().zip(numbers));
            }
            told
        });
    }
    let mut raced = BTreeMap::<_, Vec<_>>::new();
    for (item, number) in tasks.join_all().await.into_iter().flatten() {
        if let Change::Message(Draft { key: Some(key), .. }) = item.change {
            raced.entry((item.room, key)).or_default().push(number);
        }
    }
    assert_eq!(raced.len(), BATCHES * rooms.len());
    for numbers in raced.values() {
        assert_eq!(numbers.iter().filter(|(_, is_new)| *is_new).count(), 1, "{numbers:?}");
        assert!(numbers.iter().all(|(seq, _)| *seq == numbers[0].0), "{numbers:?}");
    }
    for room in rooms.iter() {
        let [one, other] = [timeline(&*stores[0], *room).await, timeline(&*stores[1], *room).await];
        assert_eq!(one.len(), 1 + 5 * BATCHES, "every plain message and every key once");
        assert_eq!(one, other);
    }
    assert_eq!(deadlocks(database.url()).await, 0);
}

#[tokio::test]
async fn two_processes_that_send_the_same_keys_are_told_the_same_numbers() {
    let database = postgres_database();
    let sending = [0, 1].map(|_| {
        let sender = Sender::start(sender(database.url(), 200, 100));
        tokio::task::spawn_blocking(|| sender.finish())
    });
    let [one, other] = sending;
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    assert!(one.done && other.done);
    assert_eq!((one.acked.len(), one.unavailable, other.unavailable), (200, 0, 0));
    assert_eq!(one.acked, other.acked);
    let store = open(database.url()).await;
    let room = room(&store, "r").await;
    let kept = keys(&timeline(&store, room).await);
    assert_eq!(kept.len(), 200);
    assert_eq!(kept.into_iter().collect::<BTreeMap<_, _>>(), one.acked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_begins_after_a_commit_on_the_other_store_sees_it() {
    let (_database, stores) = two().await;
    let room = room(&stores[0], "r").await;
    let stores = stores.map(Arc::new);
    let mut tasks = JoinSet::new();
    for task in 0..4 {
        let (writer, reader) = (Arc::clone(&stores[task % 2]), Arc::clone(&stores[(task + 1) % 2]));
        tasks.spawn(async move {
            for _ in 0..60 {
                let seq = commit(&*writer, message(room, "seen at once")).await;
                let page = page(&*reader, room, HistoryFrom::After(seq.prev())).await;
                assert_eq!(page.events[0].seq, seq);
                assert_eq!(page.events.last().unwrap().seq, page.last_seq, "a page is one moment");
                assert!(reader.ends(vec![room]).await.unwrap()[0].unwrap() >= seq);
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(stores[0].ends(vec![room]).await.unwrap(), [Some(Seq(241))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_changes_that_want_the_same_version_one_wins() {
    let (_database, stores) = two().await;
    let room = room(&stores[0], "r").await;
    let stores = stores.map(Arc::new);
    for version in 0..20 {
        let mut tasks = JoinSet::new();
        for task in 0..4 {
            let store = Arc::clone(&stores[task % 2]);
            let patch =
                RoomPatch { topic: Some(format!("{task} at {version}").into()), ..RoomPatch::default() };
            let mut item = change(room, Change::Room(patch));
            item.require = Require::default();
            item.require.version = Some(version);
            tasks.spawn(async move { store.append(vec![item]).await.unwrap().remove(0) });
        }
        let (won, lost): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
        assert!(matches!(won[..], [Ok(Appended::New(_))]), "{won:?}");
        assert!(lost.iter().all(|outcome| *outcome == Err(Refused::Conflict(version + 1))), "{lost:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_is_deleted_amid_sends_takes_none_afterwards() {
    let (database, stores) = two().await;
    let stores = stores.map(Arc::new);
    for round in 0..5 {
        let room = room(&*stores[0], "r").await;
        let other = self::room(&*stores[0], "other").await;
        let mut tasks = JoinSet::new();
        for task in 0..4 {
            let store = Arc::clone(&stores[task % 2]);
            tasks.spawn(async move {
                let mut sent = 1;
                loop {
                    let batch = vec![message(other, "stays"), message(room, "goes")];
                    match store.append(batch).await.unwrap().remove(1) {
                        Ok(_) => sent += 1,
                        Err(refused) => break (sent, refused),
                    }
                }
            });
        }
        for _ in 0..round {
            commit(&*stores[1], message(room, "goes too")).await;
        }
        stores[1].delete_room(room, host()).await.unwrap().unwrap();
        for store in &stores {
            let query = PageQuery {
                room,
                reader: Some(ann()),
                from: HistoryFrom::Newest,
                limit: 10,
                bytes: 1 << 20,
                kinds: Vec::new(),
            };
            assert_eq!(store.page(query).await.unwrap(), Err(NoPage::Gone));
            assert_eq!(store.ends(vec![room]).await.unwrap(), [None]);
            let again = store.append(vec![message(room, "too late")]).await.unwrap();
            assert_eq!(again, [Err(Refused::NoRoom)]);
        }
        for (_, refused) in tasks.join_all().await {
            assert_eq!(refused, Refused::NoRoom);
        }
    }
    let other = room(&*stores[0], "other").await;
    timeline(&*stores[1], other).await;
    assert_eq!(deadlocks(database.url()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_marks_that_both_save_in_different_orders_only_go_forward() {
    const ROUNDS: u64 = 40;
    let (database, stores) = two().await;
    let mut rooms = Vec::new();
    for id in ["a", "b", "c"] {
        rooms.push(large_room(&stores[0], id, ROUNDS * 4).await);
    }
    let (rooms, stores) = (Arc::new(rooms), stores.map(Arc::new));
    let mut tasks = JoinSet::new();
    for task in 0..4 {
        let (store, rooms) = (Arc::clone(&stores[task % 2]), Arc::clone(&rooms));
        tasks.spawn(async move {
            for round in 0..ROUNDS {
                let seq = Seq(round * 4 + task as u64 + 1);
                let users = ["zoe", "ann", "bob"].into_iter();
                let mark = |(name, room)| ReadMark { room, user: user(name), seq };
                let mut marks: Vec<_> =
                    users.flat_map(|name| rooms.iter().map(move |room| (name, *room))).map(mark).collect();
                marks.rotate_left(task);
                if task > 1 {
                    marks.reverse();
                }
                store.save_read_marks(marks).await.unwrap();
                let view = store.room("b".parse().unwrap(), user("bob")).await.unwrap().unwrap();
                assert!(view.read >= seq);
            }
        });
    }
    tasks.join_all().await;
    for id in ["a", "b", "c"] {
        for name in ["zoe", "ann", "bob"] {
            let view = stores[0].room(id.parse().unwrap(), user(name)).await.unwrap().unwrap();
            assert_eq!(view.read, Seq(ROUNDS * 4));
        }
    }
    assert_eq!(deadlocks(database.url()).await, 0);
}

/// Sends until told to stop. How often.
async fn send_until(store: &PostgresStore, room: RoomNo, stop: &AtomicBool) -> usize {
    let mut sent = 0;
    while !stop.load(Relaxed) {
        commit(store, message(room, "meanwhile")).await;
        sent += 1;
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_trim_works_amid_sends() {
    const MESSAGES: u64 = 20_000;
    let (database, stores) = two().await;
    let room = large_room(&stores[0], "r", MESSAGES).await;
    let (stores, stop) = (stores.map(Arc::new), Arc::new(AtomicBool::new(false)));
    let mut tasks = JoinSet::new();
    for store in &stores {
        let (store, stop) = (Arc::clone(store), Arc::clone(&stop));
        tasks.spawn(async move { send_until(&store, room, &stop).await });
    }
    let first = Seq(MESSAGES);
    let [one, other] = &stores;
    let trimmed = tokio::join!(one.trim(room, first), other.trim(room, Seq(MESSAGES / 2)));
    assert_eq!(trimmed.0.unwrap(), Some(first));
    assert!(trimmed.1.unwrap().is_some_and(|kept| kept >= Seq(MESSAGES / 2)));
    stop.store(true, Relaxed);
    let sent: usize = tasks.join_all().await.into_iter().sum();
    let page = page(&**one, room, HistoryFrom::After(Seq::ZERO)).await;
    assert_eq!((page.first_seq, page.events[0].seq), (first, first));
    assert_eq!(page.last_seq, Seq(MESSAGES + 1 + sent as u64));
    let outsider = outsider(database.url()).await;
    assert_eq!(count(&outsider, "SELECT count(*) FROM events").await, 2 + sent as u64);
    assert_eq!(deadlocks(database.url()).await, 0);
}
