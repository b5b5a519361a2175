//! Addresses with several hosts.

use chat_core::{ids::Seq, store::Store};
use chat_store::{PostgresError, PostgresStore, testing::PostgresServer};

use crate::support::{commit, message, open, outsider, room, until};

/// An address of both, the first one first.
fn both(servers: [&PostgresServer; 2], parameters: &str) -> String {
    let places = servers.map(|server| server.url().split_once('@').unwrap().1.split_once('/').unwrap().0);
    format!("postgres://postgres@{}/postgres?{parameters}", places.join(","))
}

#[tokio::test]
async fn a_host_that_does_not_answer_leaves_time_for_the_next() {
    let (one, other) = (PostgresServer::start(), PostgresServer::start());
    one.stop_answering();
    for parameters in ["", "connect_timeout=7", "target_session_attrs=any"] {
        open(&both([&one, &other], parameters)).await.ping().await.unwrap();
    }

    // So it does while a store is open.
    one.answer_again();
    let store = open(&both([&one, &other], "")).await;
    room(&store, "first").await;
    one.stop_answering();
    until("it is at the other host", async || store.ping().await.is_ok()).await;
    let room = room(&store, "second").await;
    assert_eq!(commit(&store, message(room, "text")).await, Seq(2));
    let outsider = outsider(other.url()).await;
    let id: String = outsider.query_one("SELECT id FROM rooms", &[]).await.unwrap().get(0);
    assert_eq!(id, "second");
    one.answer_again();
}

#[tokio::test]
async fn of_several_hosts_one_that_takes_no_writes_is_passed_over() {
    let (one, other) = (PostgresServer::start(), PostgresServer::start());
    let outsider = outsider(one.url()).await;
    outsider.batch_execute("CREATE DATABASE second").await.unwrap();
    for database in ["second", "postgres"] {
        let read_only = format!("ALTER DATABASE {database} SET default_transaction_read_only = on");
        outsider.batch_execute(&read_only).await.unwrap();
    }
    open(&both([&one, &other], "")).await.ping().await.unwrap();
    open(&both([&other, &one], "load_balance_hosts=random")).await.ping().await.unwrap();

    // Where none is left, it is told what a server had to say, and not that the last one was not meant.
    let url = both([&other, &one], "").replace("/postgres?", "/second?");
    let error = PostgresStore::open(url.parse().unwrap()).await.unwrap_err();
    let PostgresError::Unreachable { source, .. } = error else { panic!("{error:?}") };
    assert!(format!("{source:?}").contains("does not exist"), "{source:?}");
}
