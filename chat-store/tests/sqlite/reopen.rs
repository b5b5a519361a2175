//! Opening, closing and opening again.

use chat_core::{
    ids::RoomNo,
    rights::{Actor, Authority},
    store::Store,
};
use chat_store::{SqliteOptions, SqliteStore, Synchronous};
use tempfile::tempdir;

use crate::{
    kept::Kept,
    support::{commit, message, open, room, timeline, user},
};

#[tokio::test]
async fn everything_is_there_when_it_is_opened_again() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = open(&path).await;
    let kept = Kept::make(&store).await;
    drop(store);
    kept.assert_in(&open(&path).await).await;
}

#[tokio::test]
async fn the_number_of_a_deleted_room_is_never_given_again() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = open(&path).await;
    assert_eq!(room(&store, "a").await, RoomNo(1));
    let host = Actor { user: user("ann"), authority: Authority::Host };
    store.delete_room(RoomNo(1), host).await.unwrap().unwrap();
    drop(store);
    let store = open(&path).await;
    assert_eq!(room(&store, "a").await, RoomNo(2));
}

#[tokio::test]
async fn missing_directories_are_made() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a/b/chat.db");
    let store = open(&path).await;
    room(&store, "r").await;
    assert!(path.exists());
}

#[tokio::test]
async fn a_closed_database_is_one_file_and_its_lock() {
    let dir = tempdir().unwrap();
    let store = open(&dir.path().join("chat.db")).await;
    room(&store, "r").await;
    drop(store);
    let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["chat.db", "chat.db.lock"]);
}

#[tokio::test]
async fn a_throw_away_database_leaves_nothing_behind() {
    let store = SqliteStore::in_memory().await.unwrap();
    let room = room(&store, "r").await;
    commit(&store, message(room, "gone soon")).await;
    let dir = store.path().parent().unwrap().to_owned();
    assert!(dir.exists());
    drop(store);
    assert!(!dir.exists());
}

#[tokio::test]
async fn options_do_not_change_what_is_kept() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let options = SqliteOptions::new().synchronous(Synchronous::Normal).readers(1.try_into().unwrap());
    let store = options.without_start_check().open(&path).await.unwrap();
    let room = room(&store, "r").await;
    commit(&store, message(room, "kept")).await;
    drop(store);
    assert_eq!(timeline(&open(&path).await, room).await.len(), 2);
}

#[test]
fn no_runtime_is_needed_and_an_open_that_nobody_waits_for_gives_the_file_free() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut given_up = Box::pin(SqliteStore::open(&path));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(Future::poll(given_up.as_mut(), &mut cx).is_pending());
    drop(given_up);
    let store = runtime.block_on(SqliteStore::open(&path)).unwrap();
    runtime.block_on(store.ping()).unwrap();
}

#[tokio::test]
async fn a_closed_database_has_noted_where_its_rooms_end() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = open(&path).await;
    let room = room(&store, "r").await;
    for _ in 0..20 {
        commit(&store, message(room, "x")).await;
    }
    drop(store);
    let conn = rusqlite::Connection::open(&path).unwrap();
    let noted: i64 = conn.query_row("SELECT last_seq FROM rooms", [], |row| row.get(0)).unwrap();
    assert_eq!(noted, 21);
}
