//! Opening, closing and opening again.

use chat_core::{
    Draft,
    ids::{RoomId, RoomNo, Seq},
    protocol::{EventBody, Json, RoomPatch},
    rights::{Actor, Authority},
    store::{Change, ReadMark, Store},
};
use chat_store::{SqliteOptions, SqliteStore, Synchronous};
use tempfile::tempdir;

use crate::support::{change, commit, message, open, room, timeline, user};

const ODD: &str =
    "NUL \0, \u{202e}turned\u{202c}, 'quoted', \"\\\", \r\n\t\u{1b}[31m, \u{fffd}\u{10ffff}🎈\0";

#[tokio::test]
async fn everything_is_there_when_it_is_opened_again() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = open(&path).await;
    let room = room(&store, "r").await;
    let meta = Json::parse("{ \"a\" : \"\\u0000\" }").unwrap();
    commit(&store, change(room, Change::Message(Draft::text(ODD).key("k").meta(meta)))).await;
    commit(&store, change(room, Change::React { target: Seq(2), emoji: ODD.into(), remove: false })).await;
    commit(&store, change(room, Change::Edit { target: Seq(2), text: format!("{ODD}!").into() })).await;
    let patch = RoomPatch { topic: Some(ODD.into()), ..RoomPatch::default() };
    commit(&store, change(room, Change::Room(patch))).await;
    store.save_read_marks(vec![ReadMark { room, user: user("bob"), seq: Seq(1) }]).await.unwrap();
    let (id, bob) = (RoomId::new("r").unwrap(), user("bob"));
    let before = (timeline(&store, room).await, store.room(id.clone(), bob.clone()).await.unwrap());
    drop(store);

    let store = open(&path).await;
    let after = (timeline(&store, room).await, store.room(id, bob).await.unwrap());
    assert_eq!(after, before);
    let EventBody::Message(message) = &after.0[1].body else { panic!("{after:?}") };
    assert_eq!(message.text.as_deref(), Some(format!("{ODD}!").as_str()));
    assert_eq!(*message.reactions[0].emoji, *ODD);
    assert_eq!(after.1.unwrap().unread, 1);
    assert_eq!(commit(&store, change(room, Change::Message(Draft::text("again").key("k")))).await, Seq(2));
    assert_eq!(commit(&store, crate::support::message(room, "next")).await, Seq(6));
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
