//! What is refused at the start: with one line, and the file as it was.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use chat_store::{OpenError, SqliteOptions, SqliteStore, maintenance};
use rusqlite::Connection;
use tempfile::{TempDir, tempdir};

use crate::{
    child::{Sender, sender},
    support::{commit, message, open, room},
};

/// Every file in a directory, less the locks.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_none_or(|extension| extension != "lock"));
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Opens what must not open, and holds the files against what they were.
async fn refusal(path: &Path) -> OpenError {
    let before = files(path.parent().unwrap());
    let error = SqliteStore::open(path).await.unwrap_err();
    assert_eq!(files(path.parent().unwrap()), before, "{error}");
    assert!(!error.to_string().contains('\n'), "{error:?}");
    assert!(error.to_string().contains("chat.db"), "{error}");
    error
}

/// A closed database of many pages.
async fn database() -> (TempDir, PathBuf) {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = open(&path).await;
    let room = room(&store, "r").await;
    let batch = (0..1000).map(|i| message(room, &format!("{i} {}", "x".repeat(500)))).collect();
    chat_core::store::Store::append(&store, batch).await.unwrap();
    drop(store);
    (dir, path)
}

fn alter(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_second_store_on_one_file_is_refused_by_whatever_name() {
    let (dir, path) = database().await;
    let store = open(&path).await;
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [&path, &dir.path().join("./chat.db"), &link] {
        let error = SqliteStore::open(path).await.unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    }
    let room = room(&store, "r").await;
    commit(&store, message(room, "unharmed")).await;
    drop(store);
    open(&path).await;
}

/// A second program that tries to send into a database.
fn assert_kept_out(path: &Path) {
    let mut second = sender(path, 1, 1);
    second.stderr(Stdio::null());
    let said = Sender::start(second).finish();
    assert!(said.acked.is_empty() && !said.done, "{}", path.display());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_second_store_on_a_hard_link_is_refused_and_nothing_is_lost() {
    let (dir, path) = database().await;
    let hard = dir.path().join("hard chat.db");
    fs::hard_link(&path, &hard).unwrap();
    let store = open(&path).await;
    let number = room(&store, "r").await;
    let first = commit(&store, message(number, "before")).await;
    assert!(matches!(refusal(&hard).await, OpenError::InUse { .. }));
    assert!(matches!(maintenance::renew_epochs(&hard).await, Err(OpenError::InUse { .. })));
    assert!(matches!(maintenance::migrate(&hard).await, Err(OpenError::InUse { .. })));
    assert_kept_out(&hard);
    assert!(!dir.path().join("hard chat.db-wal").exists());
    let last = commit(&store, message(number, "after")).await;
    assert_eq!(last.0, first.0 + 1);
    drop(store);
    let store = open(&hard).await;
    assert_eq!(chat_core::store::Store::ends(&store, vec![number]).await.unwrap(), [Some(last)]);
    assert!(matches!(SqliteStore::open(&path).await, Err(OpenError::InUse { .. })));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_second_store_is_refused_where_the_lock_beside_the_file_was_deleted() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    // New, and so locked before there is anything in it.
    let store = open(&path).await;
    fs::remove_file(dir.path().join("chat.db.lock")).unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert_kept_out(&path);
    drop(store);
    open(&path).await;
}

#[tokio::test]
async fn a_second_process_on_one_file_is_refused() {
    let (_dir, path) = database().await;
    let store = open(&path).await;
    assert_kept_out(&path);
    drop(store);
    assert!(Sender::start(sender(&path, 1, 1)).finish().done);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    fs::write(&path, "Dear diary,\n".repeat(1000)).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_damaged_page_is_refused() {
    let (_dir, path) = database().await;
    let good = fs::read(&path).unwrap();
    let page = 4096;
    let last = good.len() / page - 1;
    for damaged in [1, last / 2, last] {
        let mut bytes = good.clone();
        bytes[damaged * page..][..page].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        let error = refusal(&path).await;
        assert!(matches!(error, OpenError::Damaged { .. }), "page {damaged}: {error:?}");
    }
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    fs::write(&path, good).unwrap();
    open(&path).await;
}

#[tokio::test]
async fn a_schema_from_the_future_is_refused() {
    let (_dir, path) = database().await;
    alter(&path, "PRAGMA user_version = 1000");
    alter(&path, "PRAGMA wal_checkpoint(TRUNCATE)");
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::Newer { found: 1000, .. }), "{error:?}");
}

#[tokio::test]
async fn another_text_of_a_migration_is_refused() {
    let (_dir, path) = database().await;
    alter(&path, "UPDATE migrations SET checksum = 'other'");
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::Altered { version: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    alter(&path, "CREATE TABLE recipes (id INTEGER PRIMARY KEY); PRAGMA user_version = 1");
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    alter(&path, "PRAGMA application_id = 252006674; PRAGMA journal_mode = WAL");
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
}

#[tokio::test]
async fn the_log_of_a_crash_is_looked_into_and_left_alone() {
    let (dir, path) = database().await;
    let crashed = Sender::start(sender(&path, 1000, 100)).kill_once(|said| said.acked.len() > 20);
    assert!(!crashed.done);
    let wal = fs::read(dir.path().join("chat.db-wal")).unwrap();
    assert!(!wal.is_empty());
    let mut bytes = fs::read(&path).unwrap();
    let page = bytes.len() / 4096 / 2 * 4096;
    bytes[page..][..4096].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(fs::read(dir.path().join("chat.db-wal")).unwrap(), wal);
}

#[tokio::test]
async fn an_empty_file_becomes_a_database_and_a_directory_does_not() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    fs::write(&path, "").unwrap();
    open(&path).await;
    let error = SqliteStore::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn without_the_start_check_a_damaged_page_is_met_later() {
    let (_dir, path) = database().await;
    let mut bytes = fs::read(&path).unwrap();
    let page = bytes.len() / 4096 / 2 * 4096;
    bytes[page..][..4096].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    SqliteOptions::new().without_start_check().open(&path).await.unwrap();
}

#[test]
fn odd_names_are_paths_too() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a %20?#é & chat.db");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..2 {
        drop(runtime.block_on(SqliteStore::open(&path)).unwrap());
    }
    assert!(path.exists());
    let listed = Command::new("ls").arg(dir.path()).output().unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), 2);
}
