//! What a transaction costs on SQLite, by how many messages share it. Rates are messages a second.
//!
//! The file lies in the target directory, on the disk; each commit waits for it (`synchronous=FULL`). A batch of 1 is
//! the baseline: one transaction a message, as a server without group commit makes them. A number is one `append`, from
//! the call to its outcome. It is one of the store alone: the engine's queue and pace are not in it.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::time::{Duration, SystemTime};

use chat_benches::TEXT_BYTES;
use chat_core::{
    Draft, Identity,
    ids::{Epoch, RoomId, RoomNo, Timestamp},
    rights::Visibility,
    store::{Append, Appended, Change, Created, NewRoom, Require, RoomKind, Store},
};
use chat_store::SqliteStore;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const BATCHES: [usize; 4] = [1, 10, 100, 1000];

fn at() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap())
}

async fn new_room(store: &SqliteStore, ann: &Identity) -> RoomNo {
    let room = NewRoom {
        id: RoomId::new("lobby").unwrap(),
        epoch: Epoch::from_random(1),
        kind: RoomKind::Group,
        visibility: Visibility::Public,
        name: "The lobby".into(),
        topic: "".into(),
        creator: ann.user.clone(),
        members: Vec::new(),
        at: at(),
    };
    match store.create_room(room, 1).await.unwrap() {
        Created::New(room) | Created::Exists(room) => room.no,
        Created::Full => unreachable!("it is the first room"),
    }
}

/// Messages with keys, as clients send them: no two have the same.
fn batch(room: RoomNo, ann: &Identity, count: usize, next_key: &mut u64) -> Vec<Append> {
    let text = "x".repeat(TEXT_BYTES);
    let append = |key: u64| Append {
        room,
        actor: ann.actor(),
        at: at(),
        change: Change::Message(Draft::text(text.as_str()).key(format!("{key:016x}"))),
        require: Require::default(),
    };
    let first = *next_key;
    *next_key += count as u64;
    (first..*next_key).map(append).collect()
}

fn commit(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = runtime.block_on(SqliteStore::open(directory.path().join("chat.db"))).unwrap();
    let ann = Identity::new("ann").unwrap();
    let room = runtime.block_on(new_room(&store, &ann));
    let mut next_key = 0;
    let mut group = criterion.benchmark_group("commit");
    group.sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    for count in BATCHES {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("SQLite FULL, messages a transaction", count), |bench| {
            bench.to_async(&runtime).iter_batched(
                || batch(room, &ann, count, &mut next_key),
                async |batch| {
                    let outcomes = store.append(batch).await.unwrap();
                    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Appended::New(_)))));
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, commit);
criterion_main!(benches);
