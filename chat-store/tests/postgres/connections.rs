//! Connections that end, that nobody gets, that others wait on, and that take no writes.

use std::pin::pin;

use chat_core::{
    ids::{RoomNo, Seq},
    protocol::HistoryFrom,
    store::{Store, StoreError},
};
use chat_store::{
    PostgresOptions, PostgresStore,
    testing::{PostgresDatabase, postgres_database},
};
use futures_util::future::join_all;
use tokio_postgres::Client;

use crate::support::{
    commit, count, fresh, is_unavailable, message, new_room, open, outsider, page, room, timeline, until,
    until_counted,
};

/// Uses as many connections as there may be.
async fn use_all(store: &PostgresStore, room: RoomNo) {
    join_all((0..24).map(async |_| {
        page(store, room, HistoryFrom::Newest).await;
        commit(store, message(room, "text")).await;
    }))
    .await;
}

/// Ends every connection to a database but one.
async fn end_others(outsider: &Client) -> u64 {
    let end = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    count(outsider, end).await
}

#[tokio::test]
async fn after_all_connections_were_ended_few_calls_fail() {
    let (database, store) = fresh().await;
    let room = room(&store, "r").await;
    let outsider = outsider(database.url()).await;
    for _ in 0..3 {
        use_all(&store, room).await;
        assert!(end_others(&outsider).await > 1);
        let mut failed = 0;
        while store.append(vec![message(room, "text")]).await.is_err() {
            failed += 1;
            assert!(failed <= 3, "too many calls fail");
        }
        while store.members(room, None, 1).await.is_err() {
            failed += 1;
            assert!(failed <= 3, "too many calls fail");
        }
    }
    timeline(&store, room).await;
}

/// A login of its own, that may make schemas.
async fn login(database: &PostgresDatabase, outsider: &Client, settings: &str) -> String {
    let name = format!("login_{}", database.name());
    outsider
        .batch_execute(&format!(
            "CREATE ROLE {name} LOGIN {settings}; GRANT CREATE ON DATABASE {} TO {name}",
            database.name()
        ))
        .await
        .unwrap();
    let (_, place) = database.url().split_once('@').unwrap();
    format!("postgres://{name}@{place}")
}

#[tokio::test]
async fn who_gets_too_few_connections_works_with_those() {
    let database = postgres_database();
    let outsider = outsider(database.url()).await;
    let store = open(&login(&database, &outsider, "CONNECTION LIMIT 3").await).await;
    let room = room(&store, "r").await;
    let answers = join_all((0..24).map(|_| store.members(room, None, 1))).await;
    assert!(answers.iter().any(Result::is_ok) && answers.iter().any(is_unavailable), "{answers:?}");
    // Postgres is not taken for away.
    for _ in 0..10 {
        commit(&store, message(room, "text")).await;
        page(&store, room, HistoryFrom::Newest).await;
    }
}

#[tokio::test]
async fn what_is_sent_waits_for_no_room_that_is_made_on_however_few_connections() {
    let waiting = "SELECT least(count(*), 1) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for connections in [1, 7, 12] {
        let database = postgres_database();
        let options = PostgresOptions::new(database.url().parse().unwrap());
        let store = options.connections(connections.try_into().unwrap()).open().await.unwrap();
        let room = room(&store, "r").await;
        let (holder, onlooker) = (outsider(database.url()).await, outsider(database.url()).await);
        holder.batch_execute("BEGIN; SELECT FROM totals FOR UPDATE").await.unwrap();

        let mut made = pin!(join_all((0..16).map(|_| store.create_room(new_room("new"), 1000))));
        let meanwhile = async {
            until_counted(&onlooker, waiting, 1).await;
            assert_eq!(commit(&store, message(room, "text")).await, Seq(2));
            assert_eq!(store.ends(vec![room]).await.unwrap(), [Some(Seq(2))]);
            store.ping().await.unwrap();
        };
        tokio::select! {
            biased;
            made = &mut made => panic!("nothing else came through: {made:?}"),
            () = meanwhile => {}
        }
        // Nobody takes Postgres for away because of those that get nothing.
        assert!(made.await.iter().all(is_unavailable));
        store.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_database_that_takes_no_writes_says_so_when_asked_and_takes_none() {
    let (database, store) = fresh().await;
    let room = room(&store, "r").await;
    let outsider = outsider(database.url()).await;
    let set = async |value| {
        let sql = format!("ALTER DATABASE {} SET default_transaction_read_only = {value}", database.name());
        outsider.batch_execute(&sql).await.unwrap();
        end_others(&outsider).await;
    };
    set("on").await;
    // The first of them may find their connections ended.
    let mut answer = store.ping().await;
    for _ in 0..3 {
        answer = store.ping().await;
    }
    let StoreError::Unavailable(reason) = answer.unwrap_err() else { panic!("it is only unavailable") };
    assert_eq!(reason.to_string(), "this postgres takes no writes");
    for _ in 0..4 {
        assert!(is_unavailable(&store.append(vec![message(room, "text")]).await));
        assert!(is_unavailable(&store.trim(room, Seq(2)).await));
    }
    assert_eq!(store.members(room, None, 10).await.unwrap().len(), 1, "reads go on");

    outsider.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    set("off").await;
    until("it takes writes", async || store.ping().await.is_ok()).await;
    until("each connection is a new one", async || store.append(vec![]).await.is_ok()).await;
    assert_eq!(commit(&store, message(room, "text")).await, Seq(2));
}
