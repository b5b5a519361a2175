//! Databases for the tests, and how they are asked.

use std::path::{Path, PathBuf};

use chat_core::{
    Draft,
    ids::{Epoch, RoomId, RoomNo, Seq, Timestamp, UserId},
    rights::{Actor, Authority, Role, Visibility},
    store::{Append, Appended, Change, Created, NewRoom, Require, RoomKind, RoomRecord, Store},
};
use chat_store::{PostgresAddress, PostgresStore, SqliteStore, testing::PostgresDatabase};
use tempfile::{TempDir, tempdir};
use tokio_postgres::{Client, NoTls};

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn actor(id: &str) -> Actor {
    Actor { user: user(id), authority: Authority::User(Role::Member) }
}

pub(crate) fn by(id: &str, room: RoomNo, change: Change) -> Append {
    Append { room, actor: actor(id), at: Timestamp(1_700_000_000_000), change, require: Require::default() }
}

pub(crate) fn message(room: RoomNo, text: &str) -> Append {
    by("ann", room, Change::Message(Draft::text(text)))
}

/// Makes a room that ann manages and ben is in.
pub(crate) async fn make_room(store: &dyn Store, id: &str, visibility: Visibility) -> RoomRecord {
    let room = NewRoom {
        id: RoomId::new(id).unwrap(),
        epoch: Epoch::from_random(7),
        kind: RoomKind::Group,
        visibility,
        name: format!("the room {id}").into(),
        topic: "".into(),
        creator: user("ann"),
        members: vec![(user("ann"), Role::Manager), (user("ben"), Role::Member)],
        at: Timestamp(1),
    };
    match store.create_room(room, 1000).await.unwrap() {
        Created::New(room) => room,
        other => panic!("{other:?}"),
    }
}

/// Commits one change; its number.
pub(crate) async fn commit(store: &dyn Store, item: Append) -> Seq {
    let outcomes = store.append(vec![item.clone()]).await.unwrap();
    match outcomes.into_iter().next().unwrap() {
        Ok(Appended::New(committed)) => committed.event().seq,
        other => panic!("{item:?}: {other:?}"),
    }
}

/// A directory with a closed database of two rooms with a message each.
pub(crate) async fn small() -> (TempDir, PathBuf) {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = SqliteStore::open(&path).await.unwrap();
    for id in ["a", "r"] {
        let room = make_room(&store, id, Visibility::Public).await;
        commit(&store, message(room.no, "kept")).await;
    }
    (dir, path)
}

pub(crate) fn address(database: &PostgresDatabase) -> PostgresAddress {
    database.url().parse().unwrap()
}

pub(crate) async fn open(database: &PostgresDatabase) -> PostgresStore {
    PostgresStore::open(address(database)).await.unwrap()
}

/// A client that is no store.
pub(crate) async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Whether a database has never heard of us.
pub(crate) async fn is_untouched(database: &PostgresDatabase) -> bool {
    let client = client(database.url()).await;
    client.query_one("SELECT to_regnamespace('chat') IS NULL", &[]).await.unwrap().get(0)
}

/// How many rows there are, of whatever kind.
pub(crate) async fn rows(url: &str) -> i64 {
    let tables = ["rooms", "events", "room_changes", "reactions", "members", "read_marks", "tombstones"];
    let counts = tables.map(|table| format!("(SELECT count(*) FROM chat.{table})")).join(" + ");
    let sum = format!("SELECT {counts} + (SELECT rooms FROM chat.totals)");
    client(url).await.query_one(&sum, &[]).await.unwrap().get(0)
}

/// Opens a file with SQLite and alters it.
pub(crate) fn alter(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}
