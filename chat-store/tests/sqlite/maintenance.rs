//! What is done to a database beside serving it: copies, migrations, new epochs.

use std::{
    collections::BTreeSet,
    fs,
    future::Future,
    path::{Path, PathBuf},
    pin::pin,
    task::{Context, Waker},
};

use chat_core::{protocol::EventBody, store::Store};
use chat_store::{
    OpenError, SqliteStore,
    maintenance::{self, BackupError},
};
use rusqlite::Connection;
use tempfile::{TempDir, tempdir};

use crate::{
    child::{Sender, sender},
    support::{ann, change, commit, keys, message, open, room, timeline},
};

/// A directory with a closed database of two rooms.
async fn database() -> (TempDir, PathBuf) {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = open(&path).await;
    for id in ["a", "r"] {
        let room = room(&store, id).await;
        commit(&store, message(room, "kept")).await;
    }
    (dir, path)
}

fn epochs(path: &Path) -> Vec<String> {
    let conn = Connection::open(path).unwrap();
    let mut epochs = conn.prepare("SELECT epoch FROM rooms ORDER BY no").unwrap();
    let epochs = epochs.query_map([], |row| row.get(0)).unwrap();
    epochs.collect::<Result<_, _>>().unwrap()
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Each is new, none is as another, and they look as those of new rooms do.
fn assert_renewed(before: &[String], after: &[String]) {
    assert_eq!(before.len(), after.len());
    let all: BTreeSet<_> = before.iter().chain(after).collect();
    // In these tests every room begins with the same one.
    assert_eq!(all.len(), after.len() + 1, "{before:?} {after:?}");
    let good = |epoch: &String| epoch.len() == 32 && epoch.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(after.iter().all(good), "{after:?}");
}

#[tokio::test]
async fn a_copy_has_all_that_was_acknowledged_while_another_process_goes_on_sending() {
    let (dir, path) = database().await;
    let before = epochs(&path);
    let copy = dir.path().join("copy.db");
    let mut sender = Sender::start(sender(&path, 300, 2000));
    let acked = sender.listen_until(|said| said.acked.len() > 50).acked.clone();
    let copied = maintenance::backup(&path, &copy).await.unwrap();
    let said = sender.finish();
    assert!(said.done && said.unavailable == 0, "{said:?}");
    assert_eq!((copied.rooms, copied.bytes), (2, fs::metadata(&copy).unwrap().len()));
    assert_renewed(&before, &epochs(&copy));
    assert_eq!(epochs(&path), before, "the database keeps its own");
    let copy = open(&copy).await;
    let room = room(&copy, "r").await;
    let kept = keys(&timeline(&copy, room).await);
    for (key, seq) in acked {
        assert!(kept.contains(&(key.clone(), seq)), "{key} was acknowledged before the copy began");
    }
    assert!(kept.iter().all(|(key, seq)| said.acked.get(key) == Some(seq)));
}

#[tokio::test]
async fn a_store_that_is_open_is_copied_and_goes_on() {
    let (dir, path) = database().await;
    let store = open(&path).await;
    let room = room(&store, "r").await;
    let last = commit(&store, message(room, "only in the log")).await;
    let gone = crate::support::room(&store, "gone").await;
    store.delete_room(gone, ann()).await.unwrap().unwrap();
    let copy = dir.path().join("copy.db");
    maintenance::backup(&path, &copy).await.unwrap();
    assert_eq!(commit(&store, message(room, "after")).await, last.next());
    // A number that a deleted room had is not given again.
    let numbers = |path: &Path| -> i64 {
        let conn = Connection::open(path).unwrap();
        conn.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'rooms'", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(numbers(&copy), numbers(&path));
    // The newest number is noted in the copy, as if the store had been closed.
    let noted = |path: &Path| -> i64 {
        let conn = Connection::open(path).unwrap();
        conn.query_row("SELECT last_seq FROM rooms WHERE id = 'r'", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(noted(&copy).unsigned_abs(), last.0);
    assert!(noted(&path).unsigned_abs() < last.0);
    assert_eq!(timeline(&open(&copy).await, room).await.len() as u64, last.0);
}

#[tokio::test]
async fn the_database_is_the_same_after_it_was_copied() {
    let (dir, path) = database().await;
    let (bytes, before) = (fs::read(&path).unwrap(), names(dir.path()));
    let target = tempdir().unwrap();
    maintenance::backup(&path, target.path().join("copy.db")).await.unwrap();
    let link = target.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    maintenance::backup(&link, target.path().join("other.db")).await.unwrap();
    maintenance::backup(&link, target.path().join("other.db")).await.unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(names(dir.path()), before);
    assert_eq!(names(target.path()), ["copy.db", "link.db", "other.db"].map(str::to_owned).into());
    open(&path).await;
}

#[tokio::test]
async fn a_copy_has_nothing_of_a_deleted_text_and_the_permissions_of_the_database() {
    use std::os::unix::fs::PermissionsExt;

    use chat_core::store::Change;

    let (dir, path) = database().await;
    let store = open(&path).await;
    let room = room(&store, "r").await;
    let target = commit(&store, message(room, "a word that was taken back")).await;
    commit(&store, message(room, "a word that was left")).await;
    commit(&store, change(room, Change::Delete { target })).await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let copy = dir.path().join("copy.db");
    maintenance::backup(&path, &copy).await.unwrap();
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o640);
    let bytes = fs::read(&copy).unwrap();
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("a word that was left") && !has("a word that was taken back"));
}

#[tokio::test]
async fn what_has_the_name_of_a_copy_already_is_left_alone() {
    let (dir, path) = database().await;
    let copy = dir.path().join("copy.db");
    for taken in [&copy, &path, &dir.path().to_owned()] {
        fs::write(&copy, "precious").unwrap();
        let error = maintenance::backup(&path, taken).await.unwrap_err();
        assert!(matches!(error, BackupError::Exists { .. }), "{error:?}");
        assert_eq!(fs::read(&copy).unwrap(), b"precious");
    }
    fs::remove_file(&copy).unwrap();
    std::os::unix::fs::symlink(dir.path().join("nowhere"), &copy).unwrap();
    let error = maintenance::backup(&path, &copy).await.unwrap_err();
    assert!(matches!(error, BackupError::Exists { .. }), "{error:?}");
    let error = maintenance::backup(&path, dir.path().join("none/copy.db")).await.unwrap_err();
    assert!(matches!(error, BackupError::Copy { .. }), "{error:?}");
    assert!(epochs(&path).len() == 2, "{path:?} is still a database");
}

#[tokio::test]
async fn a_log_that_an_earlier_file_of_this_name_left_is_not_replayed_into_a_copy() {
    let (dir, path) = database().await;
    let copy = dir.path().join("copy.db");
    for suffix in ["-wal", "-shm", "-journal"] {
        let left = dir.path().join(format!("copy.db{suffix}"));
        fs::write(&left, "of another").unwrap();
        let before = names(dir.path());
        let error = maintenance::backup(&path, &copy).await.unwrap_err();
        assert!(matches!(&error, BackupError::Exists { path } if *path == left), "{error:?}");
        assert_eq!(names(dir.path()), before);
        assert_eq!(fs::read(&left).unwrap(), b"of another");
        fs::remove_file(&left).unwrap();
    }
    maintenance::backup(&path, &copy).await.unwrap();
    open(&copy).await;
}

#[tokio::test]
async fn what_cannot_be_copied_leaves_nothing_behind() {
    let (dir, good) = database().await;
    let alter = |sql: &str| Connection::open(&good).unwrap().execute_batch(sql).unwrap();
    let target = tempdir().unwrap();
    let copy = target.path().join("copy.db");
    let refused = async |path: &Path| {
        let BackupError::Source(error) = maintenance::backup(path, &copy).await.unwrap_err() else {
            panic!("it is the database that cannot be used");
        };
        assert!(names(target.path()).is_empty(), "{error}: {:?}", names(target.path()));
        assert!(!error.to_string().contains('\n'), "{error}");
        error
    };
    let error = refused(&dir.path().join("none/none.db")).await;
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    let other = dir.path().join("other.db");
    fs::write(&other, "").unwrap();
    let error = refused(&other).await;
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    fs::write(&other, "Dear diary,\n".repeat(1000)).unwrap();
    let error = refused(&other).await;
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    fs::remove_file(&other).unwrap();
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE recipes (id INTEGER PRIMARY KEY)").unwrap();
    let error = refused(&other).await;
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    alter("DELETE FROM events WHERE room = 2 AND seq = 2");
    let error = refused(&good).await;
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    alter("PRAGMA user_version = 1000");
    let error = refused(&good).await;
    assert!(matches!(error, OpenError::Newer { .. }), "{error:?}");
}

#[tokio::test]
async fn a_damaged_page_makes_no_copy() {
    let (dir, path) = database().await;
    let mut bytes = fs::read(&path).unwrap();
    let page = 4096;
    let table: u32 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'events'", [], |row| row.get(0))
        .unwrap();
    bytes[(table as usize - 1) * page..][..page].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let before = names(dir.path());
    let error = maintenance::backup(&path, dir.path().join("copy.db")).await.unwrap_err();
    assert!(matches!(error, BackupError::Source(OpenError::Damaged { .. })), "{error:?}");
    assert_eq!(names(dir.path()), before);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_database_with_two_names_is_copied_by_the_one_that_a_store_has() {
    let (dir, path) = database().await;
    let (other, target) = (dir.path().join("other.db"), tempdir().unwrap());
    fs::hard_link(&path, &other).unwrap();
    let store = open(&path).await;
    // This one is in the log only.
    let room = room(&store, "r").await;
    let newest = commit(&store, message(room, "newest")).await;
    let there = names(dir.path());
    let error = maintenance::backup(&other, target.path().join("no.db")).await.unwrap_err();
    assert!(matches!(error, BackupError::Source(OpenError::InUse { .. })), "{error:?}");
    assert_eq!((names(dir.path()), names(target.path()).len()), (there, 0));
    let copy = target.path().join("copy.db");
    maintenance::backup(&path, &copy).await.unwrap();
    assert_eq!(open(&copy).await.ends(vec![room]).await.unwrap(), [Some(newest)]);
    drop(store);
    maintenance::backup(&other, target.path().join("closed.db")).await.unwrap();
}

#[tokio::test]
async fn a_copy_that_nobody_waits_for_is_whole_or_not_there() {
    let (dir, path) = database().await;
    let target = tempdir().unwrap();
    let copy = target.path().join("copy.db");
    {
        let copying = pin!(maintenance::backup(&path, &copy));
        assert!(copying.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    // Dropping it waited for its thread.
    let names = names(target.path());
    assert!(names.is_empty() || names.iter().eq(["copy.db"]), "{names:?}");
    if !names.is_empty() {
        assert_eq!(epochs(&copy).len(), 2);
    }
    drop(dir);
}

#[tokio::test]
async fn epochs_are_renewed_where_no_store_has_the_database() {
    let (_dir, path) = database().await;
    let before = epochs(&path);
    let store = open(&path).await;
    let error = maintenance::renew_epochs(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    let number = room(&store, "r").await;
    let events = timeline(&store, number).await;
    drop(store);
    assert_eq!(epochs(&path), before);
    assert_eq!(maintenance::renew_epochs(&path).await.unwrap(), 2);
    assert_renewed(&before, &epochs(&path));
    let store = open(&path).await;
    let again = timeline(&store, number).await;
    assert_eq!(again.len(), events.len());
    assert!(again.iter().any(|event| matches!(&event.body, EventBody::Message(_))));
}

#[tokio::test]
async fn epochs_of_a_crashed_database_are_renewed_with_all_that_its_log_holds() {
    let (_dir, path) = database().await;
    let said = Sender::start(sender(&path, 1000, 100)).kill_once(|said| said.acked.len() > 20);
    let before = epochs(&path);
    assert_eq!(maintenance::renew_epochs(&path).await.unwrap(), 2);
    assert_renewed(&before, &epochs(&path));
    let store = open(&path).await;
    let room = room(&store, "r").await;
    let kept = keys(&timeline(&store, room).await);
    assert!(said.acked.into_iter().all(|acked| kept.contains(&acked)));
}

#[tokio::test]
async fn nothing_is_made_where_there_is_nothing_to_renew() {
    let dir = tempdir().unwrap();
    let error = maintenance::renew_epochs(dir.path().join("none/chat.db")).await.unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    assert!(names(dir.path()).is_empty());
    fs::write(dir.path().join("chat.db"), "").unwrap();
    let error = maintenance::renew_epochs(dir.path().join("chat.db")).await.unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
}

#[tokio::test]
async fn a_schema_is_brought_up_to_date_once() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("new/chat.db");
    let migrated = maintenance::migrate(&path).await.unwrap();
    assert!(migrated.from == 0 && migrated.to >= 1, "{migrated:?}");
    let again = maintenance::migrate(&path).await.unwrap();
    assert_eq!((again.from, again.to), (migrated.to, migrated.to));
    assert_eq!(names(path.parent().unwrap()), ["chat.db", "chat.db.lock"].map(str::to_owned).into());
    let store = SqliteStore::open(&path).await.unwrap();
    let error = maintenance::migrate(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    drop(store);
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 1000").unwrap();
    let error = maintenance::migrate(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 1000, .. }), "{error:?}");
}
