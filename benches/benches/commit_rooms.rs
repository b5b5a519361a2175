//! What a message to one of many rooms costs SQLite's threads.
//!
//! 5,000 users talk in pairs: a batch has 50 messages, and nearly as many rooms. Each room has pages of its own in the
//! tables and indexes, so that here a message costs pages, where in one room it costs rows.
//!
//! Printed is the CPU time of the store's threads a message, by the scheduler's account (`/proc/self/task/*/schedstat`),
//! and the pages that each writes: those of the log, and those of the file. The numbers of a busy machine are higher,
//! but not by much. Linux only.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]
#![expect(clippy::cast_precision_loss, reason = "it shows three digits")]
#![expect(clippy::print_stdout, reason = "what a bench has to say goes there")]

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant, SystemTime},
};

use chat_benches::TEXT_BYTES;
use chat_core::{
    Draft, Identity,
    ids::{Epoch, RoomId, RoomNo, Timestamp},
    rights::{Actor, Role, Visibility},
    store::{Append, Appended, Change, Created, NewRoom, Require, RoomKind, Store},
};
use chat_store::SqliteStore;

/// Rooms of two users each.
const ROOMS: usize = 2500;

/// Messages of a batch: what 5,000 a second gather in 10 ms.
const BATCH: usize = 50;

/// Batches before it is measured: 20 messages for each room.
const BATCHES_BEFORE: usize = ROOMS * 20 / BATCH;

/// Batches that are measured.
const BATCHES: usize = 800;

/// Bytes of a page in the file; in the log it has 24 more.
const PAGE_BYTES: f64 = 4096.0;

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap())
}

struct Pairs {
    rooms: Vec<(RoomNo, [Actor; 2])>,
    /// State of a generator of random numbers (xorshift64; Marsaglia, "Xorshift RNGs", 2003).
    random: u64,
}

impl Pairs {
    async fn make(store: &dyn Store) -> Self {
        let mut rooms = Vec::new();
        for i in 0..ROOMS {
            let users = [0, 1].map(|j| Identity::new(&format!("user-{:05}", 2 * i + j)).unwrap());
            let room = NewRoom {
                id: RoomId::new(&format!("pair-{i:05}")).unwrap(),
                epoch: Epoch::from_random(1),
                kind: RoomKind::Group,
                visibility: Visibility::Private,
                name: format!("Pair {i}").into(),
                topic: "".into(),
                creator: users[0].user.clone(),
                members: vec![(users[0].user.clone(), Role::Manager), (users[1].user.clone(), Role::Member)],
                at: now(),
            };
            match store.create_room(room, ROOMS as u64).await.unwrap() {
                Created::New(room) => rooms.push((room.no, users.map(|user| user.actor()))),
                Created::Exists(_) | Created::Full => unreachable!("each is made once, and all are allowed"),
            }
        }
        Self { rooms, random: 0x9E37_79B9_7F4A_7C15 }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn message(&mut self) -> Append {
        let chosen = usize::try_from(self.random() % (2 * self.rooms.len() as u64)).unwrap();
        let key = format!("{:016x}", self.random());
        let (room, users) = &self.rooms[chosen / 2];
        Append {
            room: *room,
            actor: users[chosen % 2].clone(),
            at: now(),
            change: Change::Message(Draft::text("x".repeat(TEXT_BYTES)).key(key)),
            require: Require::default(),
        }
    }

    async fn append(&mut self, store: &dyn Store) {
        let batch = (0..BATCH).map(|_| self.message()).collect();
        let outcomes = store.append(batch).await.unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Appended::New(_)))));
    }
}

/// What a thread has used: CPU time in ns, written bytes.
#[derive(Default, Clone, Copy)]
struct Used {
    cpu_ns: u64,
    bytes: u64,
}

/// What each kind of thread of this process has used; one name for all readers.
fn used() -> BTreeMap<String, Used> {
    let mut used: BTreeMap<_, Used> = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let read = |file| fs::read_to_string(task.as_ref().unwrap().path().join(file)).unwrap();
        let name = read("comm").trim().trim_end_matches(|c: char| c == '-' || c.is_ascii_digit()).to_owned();
        let of = used.entry(name).or_default();
        of.cpu_ns += read("schedstat").split(' ').next().unwrap().parse::<u64>().unwrap();
        let io = read("io");
        let written = io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
        of.bytes += written.parse::<u64>().unwrap();
    }
    used
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (before, batches) = if is_test { (1, 1) } else { (BATCHES_BEFORE, BATCHES) };
    runtime.block_on(async {
        let store = SqliteStore::open(directory.path().join("chat.db")).await.unwrap();
        let mut pairs = Pairs::make(&store).await;
        for _ in 0..before {
            pairs.append(&store).await;
        }
        let (start, used_before) = (Instant::now(), used());
        let mut slowest = Duration::ZERO;
        for _ in 0..batches {
            let start = Instant::now();
            pairs.append(&store).await;
            slowest = slowest.max(start.elapsed());
        }
        let (took, used_after) = (start.elapsed(), used());
        let messages = (batches * BATCH) as f64;
        for thread in ["chat-writer", "chat-checkpoint"] {
            let [before, after] =
                [&used_before, &used_after].map(|used| used.get(thread).copied().unwrap_or_default());
            println!(
                "{thread}: {:.1} us of CPU a message, {:.2} pages",
                (after.cpu_ns - before.cpu_ns) as f64 / 1000.0 / messages,
                (after.bytes - before.bytes) as f64 / PAGE_BYTES / messages,
            );
        }
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        println!("{:.1} ms a batch, {:.0} ms the slowest", ms(took) / batches as f64, ms(slowest));
    });
}
