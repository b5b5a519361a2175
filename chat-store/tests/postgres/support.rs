//! Databases, whoever looks at them from outside, and what the tests of every store use.

use std::time::{Duration, Instant};

use chat_core::{
    ids::RoomNo,
    rights::{Actor, Authority},
    store::{Append, Appended, Store, StoreError},
};
use chat_store::{
    PostgresStore,
    testing::{PostgresDatabase, postgres_database},
};
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};

pub(crate) use crate::rooms::*;

/// How long a test waits for what must come. It is far beyond what it takes, for machines that have much to do.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(url.parse().unwrap()).await.unwrap()
}

/// A store on a database of its own.
pub(crate) async fn fresh() -> (PostgresDatabase, PostgresStore) {
    let database = postgres_database();
    let store = open(database.url()).await;
    (database, store)
}

/// Two of them.
pub(crate) async fn two() -> (PostgresDatabase, [PostgresStore; 2]) {
    let (database, one) = fresh().await;
    let other = open(database.url()).await;
    (database, [one, other])
}

/// A connection of somebody else.
pub(crate) async fn outsider(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SET search_path = chat").await.unwrap();
    client
}

pub(crate) async fn count(client: &Client, query: &str) -> u64 {
    let count: i64 = client.query_one(query, &[]).await.unwrap().get(0);
    count.unsigned_abs()
}

/// Waits until a query counts `wanted`.
pub(crate) async fn until_counted(client: &Client, query: &str, wanted: u64) {
    until(query, async || count(client, query).await == wanted).await;
}

/// Waits until something is the case.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "it never came: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn host() -> Actor {
    Actor { user: user("ann"), authority: Authority::Host }
}

pub(crate) fn is_unavailable<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Unavailable(_)))
}

/// Commits a batch of which nothing is refused. The numbers, and whether each is new.
pub(crate) async fn commit_all(store: &PostgresStore, batch: Vec<Append>) -> Vec<(u64, bool)> {
    let outcomes = store.append(batch).await.unwrap().into_iter().map(|outcome| match outcome.unwrap() {
        Appended::New(committed) => (committed.event().seq.0, true),
        Appended::Duplicate { seq, .. } => (seq.0, false),
    });
    outcomes.collect()
}

/// A room with this many messages after its first event.
pub(crate) async fn large_room(store: &PostgresStore, id: &str, messages: u64) -> RoomNo {
    let room = room(store, id).await;
    for first in (0..messages).step_by(2000) {
        let batch = (first..messages.min(first + 2000)).map(|i| message(room, &format!("message {i}")));
        commit_all(store, batch.collect()).await;
    }
    room
}
