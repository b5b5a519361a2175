//! Readers beside the writer.

use std::sync::Arc;

use chat_core::{
    ids::Seq,
    protocol::HistoryFrom,
    store::{Refused, Store},
};
use chat_store::SqliteStore;
use rusqlite::Connection;
use tokio::task::JoinSet;

use crate::support::{ann, commit, message, open, page, room};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_that_begins_after_a_commit_sees_it() {
    let store = Arc::new(SqliteStore::in_memory().await.unwrap());
    let room = room(&*store, "r").await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for _ in 0..50 {
                let seq = commit(&*store, message(room, "seen at once")).await;
                let page = page(&*store, room, HistoryFrom::After(seq.prev())).await;
                assert_eq!(page.events[0].seq, seq);
                assert!(page.last_seq >= seq);
                assert_eq!(page.events.last().unwrap().seq, page.last_seq, "a page is one moment");
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(store.ends(vec![room]).await.unwrap(), [Some(Seq(401))]);
}

#[tokio::test]
async fn a_store_goes_while_its_work_is_under_way() {
    let store = SqliteStore::in_memory().await.unwrap();
    let room = room(&store, "r").await;
    let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..10 {
        // Handed in when it is first polled.
        let _ = store.append(vec![message(room, "perhaps")]).as_mut().poll(cx);
    }
    // The fence: it comes after all that was handed in.
    let ends = store.ends(vec![room]).await.unwrap();
    assert_eq!(ends, [Some(Seq(11))]);
    drop(store);
}

#[tokio::test]
async fn what_another_program_or_another_call_changes_holds_for_the_next_batch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = open(&path).await;
    let room = room(&store, "r").await;
    assert_eq!(commit(&store, message(room, "known")).await, Seq(2));
    let ban = "UPDATE members SET role = NULL, banned = 1";
    Connection::open(&path).unwrap().execute_batch(ban).unwrap();
    let refused = store.append(vec![message(room, "banned")]).await.unwrap();
    assert!(matches!(refused[..], [Err(Refused::NoRoom)]), "{refused:?}");
    let pardon = "UPDATE members SET role = 'manager', banned = 0";
    Connection::open(&path).unwrap().execute_batch(pardon).unwrap();
    assert_eq!(commit(&store, message(room, "known again")).await, Seq(3));
    assert_eq!(store.trim(room, Seq(4)).await.unwrap(), Some(Seq(4)));
    assert_eq!(commit(&store, message(room, "trimmed")).await, Seq(4));
    store.delete_room(room, ann()).await.unwrap().unwrap();
    let refused = store.append(vec![message(room, "deleted")]).await.unwrap();
    assert!(matches!(refused[..], [Err(Refused::NoRoom)]), "{refused:?}");
}
