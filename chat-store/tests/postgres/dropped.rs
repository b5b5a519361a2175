//! Calls that nobody waits for any more.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use chat_core::{
    ids::{RoomNo, Seq},
    protocol::HistoryFrom,
    store::{BoxFuture, Store},
};
use chat_store::PostgresStore;
use futures_util::future::join_all;
use tokio::{task::JoinSet, time::sleep};

use crate::support::{
    commit, count, fresh, host, message, outsider, page, room, timeline, until, until_counted, user,
};

/// Sessions of stores that are in the midst of something.
const AT_WORK: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'";

/// Drops a call after it was polled so often. Whether it came to its end before.
async fn is_done_after<T>(mut call: BoxFuture<'_, T>, polls: usize) -> bool {
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        call.as_mut().poll(cx).map(|_| true)
    })
    .await
}

/// Everything works, on all connections that there may be.
async fn assert_sound(store: &PostgresStore, room: RoomNo) {
    let works = (0..24).map(async |_| {
        page(store, room, HistoryFrom::Newest).await;
        commit(store, message(room, "sound")).await;
    });
    join_all(works).await;
    timeline(store, room).await;
}

#[tokio::test]
async fn an_append_may_be_dropped_wherever_it_stands_and_the_end_that_is_told_then_is_true() {
    let (database, store) = fresh().await;
    let room = room(&store, "r").await;
    let outsider = outsider(database.url()).await;
    let mut polls = 0;
    let mut dropped = 0;
    // The first time a connection has to be made and its statements prepared; later, all is there.
    for _ in 0..3 {
        while !is_done_after(store.append(vec![message(room, "perhaps")]), polls).await {
            let mut end = None;
            // The lock may be had by the one that was dropped.
            until("an end is told", async || {
                end = store.ends(vec![room]).await.ok();
                end.is_some()
            })
            .await;
            until_counted(&outsider, AT_WORK, 0).await;
            assert_eq!(Some(timeline(&store, room).await.len() as u64), end.unwrap()[0].map(|seq| seq.0));
            polls += 1;
            dropped += 1;
        }
        polls = 0;
    }
    assert!(dropped > 6, "it was dropped {dropped} times only");
    assert_sound(&store, room).await;
}

#[tokio::test]
async fn every_other_change_may_be_dropped_wherever_it_stands_too() {
    let (database, store) = fresh().await;
    let outsider = outsider(database.url()).await;
    let mut polls = 0;
    loop {
        let room = room(&store, &format!("r{polls}")).await;
        commit(&store, message(room, "text")).await;
        is_done_after(store.trim(room, Seq(2)), polls).await;
        is_done_after(store.ends(vec![room]), polls).await;
        let id = format!("r{polls}").parse().unwrap();
        is_done_after(store.room(id, user("ann")), polls).await;
        let is_done = is_done_after(store.delete_room(room, host()), polls).await;
        until_counted(&outsider, AT_WORK, 0).await;
        let end = store.ends(vec![room]).await.unwrap()[0];
        assert_eq!(count(&outsider, "SELECT count(*) FROM rooms").await, u64::from(end.is_some()));
        assert_eq!(count(&outsider, "SELECT rooms FROM totals").await, u64::from(end.is_some()));
        if is_done {
            assert_eq!(end, None);
            break;
        }
        if end.is_some() {
            store.delete_room(room, host()).await.unwrap().unwrap();
        }
        polls += 1;
    }
    assert!(polls > 3, "it was dropped {polls} times only");
    let room = room(&store, "r").await;
    assert_sound(&store, room).await;
    until_counted(&outsider, "SELECT count(*) FROM tombstones", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_that_are_dropped_at_any_time_leave_no_lock_and_no_hole() {
    let (database, store) = fresh().await;
    let store = Arc::new(store);
    let rooms = [room(&*store, "a").await, room(&*store, "b").await];
    let mut tasks = JoinSet::new();
    for i in 0..150_u64 {
        let store = Arc::clone(&store);
        let task = tasks.spawn(async move {
            drop(store.append(rooms.map(|room| message(room, "perhaps")).to_vec()).await);
        });
        // From 0 to 5 ms, in no order.
        sleep(Duration::from_micros(i * 7919 % 5000)).await;
        task.abort();
    }
    while tasks.join_next().await.is_some() {}
    let outsider = outsider(database.url()).await;
    until_counted(&outsider, AT_WORK, 0).await;
    let locks = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
        WHERE c.relnamespace = 'chat'::regnamespace AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until_counted(&outsider, locks, 0).await;
    for room in rooms {
        let events = timeline(&*store, room).await;
        assert_eq!(store.ends(vec![room]).await.unwrap()[0].unwrap().0, events.len() as u64);
    }
    assert_sound(&store, rooms[0]).await;
}
