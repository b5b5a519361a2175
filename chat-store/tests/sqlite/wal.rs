//! The write-ahead log: how long it gets, and what stays in it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chat_core::{
    Draft,
    ids::{RoomNo, Seq},
    protocol::HistoryFrom,
    store::{Append, Change, Store},
};
use tempfile::tempdir;

use crate::support::{change, commit, message, open, page, room};

fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_bounded_under_constant_writing_and_reading() {
    const LOG_BYTES_MAX: u64 = 72 << 20; // 16,000 pages of 4 KiB, and some more until a reader is out of the way
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = Arc::new(open(&path).await);
    let room = room(&*store, "r").await;
    let stop = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::Relaxed) {
                page(&*store, room, HistoryFrom::Newest).await;
            }
        }
    });
    let text = "x".repeat(4000);
    let mut longest = 0;
    for _ in 0..400 {
        store.append((0..100).map(|_| message(room, &text)).collect()).await.unwrap();
        longest = longest.max(fs::metadata(wal(&path)).unwrap().len());
    }
    stop.store(true, Ordering::Relaxed);
    reader.await.unwrap();
    assert!(fs::metadata(&path).unwrap().len() > LOG_BYTES_MAX, "enough was written to tell");
    assert!(longest < LOG_BYTES_MAX, "{longest} bytes");
}

#[tokio::test]
async fn once_nobody_writes_the_log_is_emptied() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = open(&path).await;
    room(&store, "r").await;
    assert!(fs::metadata(wal(&path)).unwrap().len() > 0);
    let began = Instant::now();
    while fs::metadata(wal(&path)).unwrap().len() > 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "it is never emptied");
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A text with its number; some are longer than a page.
fn secret(i: u64) -> String {
    let filler = if i.is_multiple_of(50) { 6000 } else { 30 + i % 170 };
    format!("<secret {i}>{}", "s".repeat(usize::try_from(filler).unwrap()))
}

fn edited(i: u64) -> String {
    secret(i + 1_000_000)
}

/// The numbers of the secrets whose beginning stands anywhere in a file.
fn secrets_in(path: &Path) -> Vec<u64> {
    let file = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let numbers = file.split("<secret ").skip(1).filter_map(|rest| rest.split_once('>')?.0.parse().ok());
    numbers.collect()
}

/// Commits a batch and checks that nothing was refused.
async fn commit_all(store: &chat_store::SqliteStore, items: impl Iterator<Item = Append>) {
    let outcomes = store.append(items.collect()).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

#[tokio::test]
async fn a_deleted_text_is_in_no_byte_of_the_files() {
    const MESSAGES: u64 = 2000;
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = open(&path).await;
    let rooms: Vec<RoomNo> = vec![room(&store, "a").await, room(&store, "b").await, room(&store, "c").await];
    // Rooms in turn, so that pages are split in their midst.
    for first in (0..MESSAGES).step_by(50) {
        let items = (first..first + 50).flat_map(|i| rooms.iter().map(move |room| (i, *room)));
        let message = |(i, room)| change(room, Change::Message(Draft::text(secret(i)).key(format!("k{i}"))));
        commit_all(&store, items.map(message)).await;
    }
    let targets = |every: usize| (0..MESSAGES).step_by(every).map(|i| (i, Seq(i + 2)));
    for room in rooms.iter().copied() {
        let edit = |(i, target)| change(room, Change::Edit { target, text: edited(i).into() });
        commit_all(&store, targets(21).map(edit)).await;
        commit_all(&store, targets(7).map(|(_, target)| change(room, Change::Delete { target }))).await;
        commit(&store, message(room, "kept")).await;
    }
    assert!(store.checkpoint().await.unwrap());
    let found = [path.clone(), wal(&path)].iter().flat_map(|file| secrets_in(file)).collect::<BTreeSet<_>>();
    let kept = (0..MESSAGES).filter(|i| !i.is_multiple_of(7)).collect();
    assert_eq!(found, kept);
}
