//! What a transaction costs, by how many messages share it: each store beside its floor.
//!
//! A floor is the least that the database can do for the same messages: multi-row inserts into the same tables and
//! indexes with the same settings, that look nothing up and judge nothing. For Postgres it takes two turns, as nobody
//! commits who has not seen that the inserts went well. SQLite's files lie in the target directory, on the disk;
//! Postgres is a server of its own, or the one of `CHAT_TEST_POSTGRES`. Under `synchronous=FULL` and
//! `synchronous_commit=on` every commit waits for the disk: a transaction is an fsync, and its messages are those per
//! fsync. Under `synchronous=NORMAL` only checkpoints do, one in some thousands of messages. A store's number is one
//! `append`, from the call to its outcome: the engine's queue and pace are not in it.
//!
//! Criterion measures one after the other, and prints messages a second. At the end each store and its floor take turns,
//! and what is printed is the median of the ratios of their throughputs: on a machine that has other work to do, only
//! that tells the two apart. 1.00 is the floor's.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "what a bench has to say goes there")]

mod floor;
mod messages;

use std::{
    cell::RefCell,
    cmp::Ordering,
    path::Path,
    time::{Duration, Instant},
};

use chat_core::store::{Append, Appended, Store};
use chat_store::{PostgresStore, SqliteOptions, SqliteStore, Synchronous, testing::postgres_database};
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use tokio::runtime::Runtime;

use crate::{
    floor::{Floor, PostgresFloor, SqliteFloor},
    messages::Messages,
};

const BATCHES: [usize; 4] = [1, 10, 100, 1000];

/// Turns of a store and its floor for a ratio: enough for SQLite's log to come round, which grows first, and that costs more.
const TURNS: [usize; 4] = [400, 400, 3000, 400];

/// A store with a room in it, beside a floor with a database of its own.
struct Pair {
    name: &'static str,
    /// What waits for the disk.
    fsync: &'static str,
    store: Box<dyn Store>,
    floor: Box<dyn Floor>,
    messages: Messages,
}

impl Pair {
    async fn append(&self, batch: Vec<Append>) {
        let outcomes = self.store.append(batch).await.unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Appended::New(_)))));
    }

    /// The times of the store and of the floor for a batch.
    fn turn(&mut self, runtime: &Runtime, count: usize) -> [Duration; 2] {
        let batch = self.messages.batch(count);
        let start = Instant::now();
        runtime.block_on(self.append(batch));
        let ours = start.elapsed();
        let keys = self.messages.keys(count);
        self.floor.rest();
        let start = Instant::now();
        self.floor.insert(runtime, &keys);
        [ours, start.elapsed()]
    }
}

fn median<T: Copy>(values: impl Iterator<Item = T>, order: impl Fn(&T, &T) -> Ordering) -> T {
    let mut values: Vec<_> = values.collect();
    values.sort_by(order);
    values[values.len() / 2]
}

fn sqlite(runtime: &Runtime, directory: &Path, synchronous: Synchronous) -> Pair {
    let (name, setting, fsync) = match synchronous {
        Synchronous::Normal => ("SQLite NORMAL", "NORMAL", "checkpoint"),
        _ => ("SQLite FULL", "FULL", "transaction"),
    };
    let directory = directory.join(setting);
    let options = SqliteOptions::new().synchronous(synchronous);
    let store = runtime.block_on(options.open(directory.join("chat.db"))).unwrap();
    let room = runtime.block_on(messages::new_room(&store));
    // Made by a store, so that it has the same tables.
    let path = directory.join("floor.db");
    let floor_room = runtime.block_on(async {
        let store = SqliteStore::open(&path).await.unwrap();
        messages::new_room(&store).await
    });
    let floor = SqliteFloor::open(&path, floor_room, setting);
    Pair { name, fsync, store: Box::new(store), floor: Box::new(floor), messages: Messages::to(room) }
}

fn postgres(runtime: &Runtime, databases: [&str; 2]) -> Pair {
    let open = |url: &str| runtime.block_on(PostgresStore::open(url.parse().unwrap())).unwrap();
    let stores = databases.map(open);
    let [room, floor_room] = [0, 1].map(|index| runtime.block_on(messages::new_room(&stores[index])));
    let floor = runtime.block_on(PostgresFloor::connect(databases[1], floor_room));
    let [store, _] = stores;
    Pair {
        name: "Postgres",
        fsync: "transaction",
        store: Box::new(store),
        floor: Box::new(floor),
        messages: Messages::to(room),
    }
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, pair: &mut Pair, count: usize) {
    group.throughput(Throughput::Elements(count as u64));
    let Pair { store, floor, messages, .. } = pair;
    group.bench_function(BenchmarkId::new("store", count), |bench| {
        bench.to_async(runtime).iter_batched(
            || messages.batch(count),
            async |batch| {
                let outcomes = store.append(batch).await.unwrap();
                assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Appended::New(_)))));
            },
            BatchSize::PerIteration,
        );
    });
    let floor = RefCell::new(floor);
    group.bench_function(BenchmarkId::new("floor", count), |bench| {
        let keys = || {
            floor.borrow_mut().rest();
            messages.keys(count)
        };
        bench.iter_batched(keys, |keys| floor.borrow_mut().insert(runtime, &keys), BatchSize::PerIteration);
    });
}

fn main() {
    // As the program has it: a connection's task may run beside whoever waits for it.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let databases = [postgres_database(), postgres_database()];
    let mut pairs = [
        sqlite(&runtime, directory.path(), Synchronous::Full),
        sqlite(&runtime, directory.path(), Synchronous::Normal),
        postgres(&runtime, [databases[0].url(), databases[1].url()]),
    ];
    let mut criterion = Criterion::default().configure_from_args();
    for pair in &mut pairs {
        let mut group = criterion.benchmark_group(format!("commit/{}", pair.name));
        group
            .sample_size(20)
            .measurement_time(Duration::from_secs(3))
            .warm_up_time(Duration::from_millis(500));
        for count in BATCHES {
            measure(&mut group, &runtime, pair, count);
        }
        group.finish();
    }
    criterion.final_summary();
    let is_test = std::env::args().any(|argument| argument == "--test");
    for pair in &mut pairs {
        for (count, turns) in BATCHES.into_iter().zip(TURNS) {
            let turns = if is_test { 3 } else { turns };
            let times: Vec<_> = (0..turns).map(|_| pair.turn(&runtime, count)).collect();
            let ratios = times.iter().map(|[ours, floor]| floor.as_secs_f64() / ours.as_secs_f64());
            println!(
                "{}, {count} messages a transaction, an fsync a {}: {:.2} of the floor ({:.2?} beside {:.2?})",
                pair.name,
                pair.fsync,
                median(ratios, f64::total_cmp),
                median(times.iter().map(|times| times[0]), Duration::cmp),
                median(times.iter().map(|times| times[1]), Duration::cmp),
            );
        }
    }
    // What is left of connections is closed before the databases are dropped.
    drop(pairs);
    runtime.shutdown_timeout(Duration::from_secs(1));
}
