//! What a transaction costs, by how many messages share it: each store beside its floor.
//!
//! A floor is the least that the database can do for the same messages: multi-row inserts into the same tables and
//! indexes with the same settings, prepared before, that look nothing up and judge nothing. For Postgres it takes two turns, as nobody
//! commits who has not seen that the inserts went well. SQLite's files lie in the target directory, on the disk;
//! Postgres is a server of its own, or the one of `CHAT_TEST_POSTGRES`. Under `synchronous=FULL` and
//! `synchronous_commit=on` every commit waits for the disk: a transaction is an fsync, and its messages are those per
//! fsync. Under `synchronous=NORMAL` only checkpoints do, one in some thousands of messages. A store's number is one
//! `append`, from the call to its outcome: the engine's queue and pace are not in it.
//!
//! Criterion measures one after the other, and prints messages a second. At the end each store and its floor take turns,
//! also in going first; printed are the medians of their times, the ratio of those, and that of the times of all turns
//! together, in which are the turns that wait for the store's log to be copied. (The floor copies its own between the
//! turns, off the clock.) On a machine that has other work to do, only that tells the two apart. 1.00 is the floor's.
//!
//! The group `commit/rooms` is about many rooms: see [`rooms`].

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "what a bench has to say goes there")]

mod floor;
mod messages;
mod rooms;

use std::{
    cell::RefCell,
    path::Path,
    time::{Duration, Instant},
};

use chat_core::store::{Append, Appended, Store};
use chat_store::{PostgresStore, SqliteOptions, SqliteStore, Synchronous, testing::postgres_database};
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use tokio::runtime::Runtime;

use crate::{
    floor::{Floor, PostgresFloor, SqliteFloor},
    messages::{Messages, Room},
};

const BATCHES: [usize; 4] = [1, 10, 100, 1000];

/// Turns of a store and its floor for a ratio. What criterion did before has brought SQLite's log round, which grows first,
/// and that costs more.
const TURNS: [usize; 4] = [2000, 2000, 2000, 400];

/// A store with rooms in it, beside a floor with a database of its own.
struct Pair {
    name: &'static str,
    /// What waits for the disk.
    fsync: &'static str,
    store: Box<dyn Store>,
    floor: Box<dyn Floor>,
    messages: Messages,
    /// Which of [`BATCHES`] criterion's filter has let through.
    measured: [bool; BATCHES.len()],
}

/// What a turn took.
#[derive(Clone, Copy)]
struct Turn {
    store: Duration,
    floor: Duration,
}

impl Turn {
    fn ratio(self) -> f64 {
        self.floor.as_secs_f64() / self.store.as_secs_f64()
    }
}

impl Pair {
    /// A batch for each; they take turns in going first.
    fn turn(&mut self, runtime: &Runtime, count: usize, turn: usize) -> Turn {
        let batch = self.messages.batch(count);
        let rows = self.messages.rows(count);
        self.floor.rest();
        let Self { store, floor, .. } = self;
        let store = || timed(|| runtime.block_on(append(&**store, batch)));
        let mut floor = || timed(|| floor.insert(runtime, &rows));
        if turn.is_multiple_of(2) {
            let store = store();
            Turn { store, floor: floor() }
        } else {
            let floor = floor();
            Turn { store: store(), floor }
        }
    }

    /// Says how they compare at each size that was measured.
    fn compare(&mut self, runtime: &Runtime, turns: [usize; BATCHES.len()]) {
        for ((count, turns), measured) in BATCHES.into_iter().zip(turns).zip(self.measured) {
            if !measured {
                continue;
            }
            let mut took: Vec<_> = (0..turns).map(|turn| self.turn(runtime, count, turn)).collect();
            let sums = Turn {
                store: took.iter().map(|turn| turn.store).sum(),
                floor: took.iter().map(|turn| turn.floor).sum(),
            };
            let mut median = |time: fn(&Turn) -> Duration| {
                took.sort_unstable_by_key(time);
                time(&took[turns / 2])
            };
            let medians = Turn { store: median(|turn| turn.store), floor: median(|turn| turn.floor) };
            println!(
                "{}, {count} messages a transaction, an fsync a {}: {:.2} of the floor ({:.2?} beside {:.2?}), \
                 {:.2} in all turns together",
                self.name,
                self.fsync,
                medians.ratio(),
                medians.store,
                medians.floor,
                sums.ratio(),
            );
        }
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

async fn append(store: &dyn Store, batch: Vec<Append>) {
    let outcomes = store.append(batch).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Appended::New(_)))));
}

/// A store and its floor on files, each with the rooms that `make` makes.
fn sqlite(
    runtime: &Runtime,
    directory: &Path,
    synchronous: Synchronous,
    make: &impl AsyncFn(&dyn Store) -> Vec<Room>,
) -> Pair {
    let (name, setting, fsync) = match synchronous {
        Synchronous::Normal => ("SQLite NORMAL", "NORMAL", "checkpoint"),
        _ => ("SQLite FULL", "FULL", "transaction"),
    };
    let directory = directory.join(setting);
    let options = SqliteOptions::new().synchronous(synchronous);
    let store = runtime.block_on(options.open(directory.join("chat.db"))).unwrap();
    let rooms = runtime.block_on(make(&store));
    // Made by a store, so that it has the same tables.
    let path = directory.join("floor.db");
    let floor_rooms = runtime.block_on(async { make(&SqliteStore::open(&path).await.unwrap()).await });
    let floor = SqliteFloor::open(&path, &floor_rooms, setting);
    let (store, floor) = (Box::new(store), Box::new(floor));
    Pair { name, fsync, store, floor, messages: Messages::to(rooms), measured: Default::default() }
}

fn postgres(runtime: &Runtime, databases: [&str; 2]) -> Pair {
    let open = |url: &str| runtime.block_on(PostgresStore::open(url.parse().unwrap())).unwrap();
    let stores = databases.map(open);
    let [rooms, floor_rooms] = [0, 1].map(|index| runtime.block_on(messages::lobby(&stores[index])));
    let floor = runtime.block_on(PostgresFloor::connect(databases[1], &floor_rooms[0]));
    let [store, _] = stores;
    Pair {
        name: "Postgres",
        fsync: "transaction",
        store: Box::new(store),
        floor: Box::new(floor),
        messages: Messages::to(rooms),
        measured: Default::default(),
    }
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, pair: &mut Pair, index: usize) {
    let count = BATCHES[index];
    group.throughput(Throughput::Elements(count as u64));
    let Pair { store, floor, messages, measured, .. } = pair;
    group.bench_function(BenchmarkId::new("store", count), |bench| {
        measured[index] = true;
        bench.to_async(runtime).iter_batched(
            || messages.batch(count),
            async |batch| append(&**store, batch).await,
            BatchSize::PerIteration,
        );
    });
    let floor = RefCell::new(floor);
    group.bench_function(BenchmarkId::new("floor", count), |bench| {
        measured[index] = true;
        let rows = || {
            floor.borrow_mut().rest();
            messages.rows(count)
        };
        bench.iter_batched(rows, |rows| floor.borrow_mut().insert(runtime, &rows), BatchSize::PerIteration);
    });
}

fn main() {
    // As the program has it: a connection's task may run beside whoever waits for it.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let is_test = std::env::args().any(|argument| argument == "--test");
    rooms::measure(&runtime, &directory.path().join("rooms"), is_test);
    let databases = [postgres_database(), postgres_database()];
    let mut pairs = [
        sqlite(&runtime, directory.path(), Synchronous::Full, &messages::lobby),
        sqlite(&runtime, directory.path(), Synchronous::Normal, &messages::lobby),
        postgres(&runtime, [databases[0].url(), databases[1].url()]),
    ];
    let mut criterion = Criterion::default().configure_from_args();
    for pair in &mut pairs {
        let mut group = criterion.benchmark_group(format!("commit/{}", pair.name));
        group
            .sample_size(20)
            .measurement_time(Duration::from_secs(3))
            .warm_up_time(Duration::from_millis(500));
        for index in 0..BATCHES.len() {
            measure(&mut group, &runtime, pair, index);
        }
        group.finish();
    }
    criterion.final_summary();
    for pair in &mut pairs {
        pair.compare(&runtime, if is_test { [3; BATCHES.len()] } else { TURNS });
    }
    // What is left of connections is closed before the databases are dropped.
    drop(pairs);
    runtime.shutdown_timeout(Duration::from_secs(1));
}
