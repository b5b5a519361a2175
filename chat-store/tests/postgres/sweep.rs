//! What deleted rooms leave, and how it goes.

use chat_core::{
    ids::{RoomNo, Seq},
    protocol::RoomPatch,
    rights::{Role, Standing},
    store::{Change, ReadMark, Store},
};
use chat_store::{
    PostgresStore,
    testing::{PostgresServer, postgres_database},
};
use tokio_postgres::Client;

use crate::support::{
    change, commit, count, host, large_room, open, outsider, timeline, two, until, until_counted, user,
};

/// The rows that hang on the number of a room.
const ROWS: &str = "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM room_changes)
    + (SELECT count(*) FROM reactions) + (SELECT count(*) FROM members) + (SELECT count(*) FROM read_marks)
    + (SELECT count(*) FROM tombstones)";

const EVENTS: &str = "SELECT count(*) FROM events";

/// A room with rows in every table, 8 of them beside its messages.
async fn full_room(store: &PostgresStore, id: &str, messages: u64) -> RoomNo {
    let room = large_room(store, id, messages).await;
    commit(store, change(room, Change::React { target: Seq(2), emoji: "👍".into(), remove: false })).await;
    let bob = Change::Member { user: user("bob"), standing: Standing::Member(Role::Member) };
    commit(store, change(room, bob)).await;
    let patch = RoomPatch { topic: Some("news".into()), ..RoomPatch::default() };
    commit(store, change(room, Change::Room(patch))).await;
    store.save_read_marks(vec![ReadMark { room, user: user("bob"), seq: Seq(2) }]).await.unwrap();
    room
}

/// Somebody who has a row of the events, so that no sweep gets past it.
async fn hold_back(url: &str, seq: u64) -> Client {
    let client = outsider(url).await;
    client.batch_execute(&format!("BEGIN; SELECT FROM events WHERE seq = {seq} FOR UPDATE")).await.unwrap();
    client
}

#[tokio::test]
async fn all_that_deleted_rooms_leave_goes_whichever_store_deleted_them_and_nothing_else() {
    let (database, [one, other]) = two().await;
    let outsider = outsider(database.url()).await;
    let kept = full_room(&one, "kept", 10).await;
    let rows = count(&outsider, ROWS).await;
    let events = timeline(&one, kept).await;
    let mut rooms = Vec::new();
    for i in 0..6 {
        rooms.push(full_room(&one, &format!("r{i}"), 3000).await);
    }
    for pair in rooms.chunks(2) {
        let (first, second) =
            tokio::join!(one.delete_room(pair[0], host()), other.delete_room(pair[1], host()));
        first.unwrap().unwrap();
        second.unwrap().unwrap();
    }
    until_counted(&outsider, ROWS, rows).await;
    assert_eq!(timeline(&other, kept).await, events);
}

#[tokio::test]
async fn a_sweep_that_did_not_come_to_its_end_goes_on_after_a_restart() {
    let database = postgres_database();
    let store = open(database.url()).await;
    let room = full_room(&store, "r", 20_000).await;
    let outsider = outsider(database.url()).await;
    let holder = hold_back(database.url(), 15_000).await;
    store.delete_room(room, host()).await.unwrap().unwrap();
    until("it has begun", async || count(&outsider, EVENTS).await < 20_000).await;
    drop(store);
    assert!(count(&outsider, EVENTS).await > 0, "it is in its midst");
    drop(holder);
    // Two start at once: they share the work, or one does it.
    let stores = tokio::join!(open(database.url()), open(database.url()));
    until_counted(&outsider, ROWS, 0).await;
    drop(stores);
}

#[tokio::test]
async fn a_sweep_that_was_put_off_goes_on_when_postgres_comes_back() {
    let server = PostgresServer::start();
    let database = server.fresh_database();
    let store = open(database.url()).await;
    let room = full_room(&store, "r", 8000).await;
    let holder = hold_back(database.url(), 7000).await;
    store.delete_room(room, host()).await.unwrap().unwrap();
    until("it has begun", async || count(&outsider(database.url()).await, EVENTS).await < 8000).await;
    drop(holder);
    server.kill();
    until("that is noticed", async || store.ping().await.is_err()).await;
    server.start_again();
    let outsider = outsider(database.url()).await;
    until_counted(&outsider, ROWS, 0).await;
}
