//! A message from its command to everybody: bytes in, and out of it an ack and an event for each reader, also as bytes.
//!
//! There is no network. One session sends, 1, 8 or 64 messages at once as a client with several in flight does, and 1 or
//! 100 others read. A number is the time of all of them: each command read and judged, committed, acked to its sender and
//! delivered to every reader as a frame; the rate is the time of one message. It is CPU time of the whole process, the
//! store's threads included: the engine paces its commits by some milliseconds, in which nothing is done.
//!
//! The stores are the one in memory and SQLite with a throw-away file that waits for no disk. The baseline beside each
//! does the same by hand, message by message: it reads the JSON, gives a number, keeps the message (in a `Vec`, or in one
//! transaction with a unique key), and encodes the event for each reader into a buffer. It has no rights, no limits, one
//! room, nobody who is slow, and nothing to come back to.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::{
    cell::RefCell, future::poll_fn, hint::black_box, path::Path, sync::Arc, task::Poll, time::Duration,
};

use chat_benches::{
    ROOM, TEXT_BYTES,
    cpu::CpuTime,
    limits,
    tally::Tally,
    wire::{acks_in, messages_in},
};
use chat_core::{
    Codec, Engine, Identity, RoomDraft, WireSession,
    ids::{RoomId, Seq, Timestamp, UserId},
    protocol::{Event, EventBody, Message, codec::put_one},
    rights::Visibility,
    store::{MemoryStore, Store},
};
use chat_store::SqliteOptions;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::Measurement,
};
use rusqlite::{Connection, TransactionBehavior};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

const READERS: [usize; 2] = [1, 100];
const IN_FLIGHT: [usize; 3] = [1, 8, 64];

/// Commands of one client, no two with the same key.
#[derive(Default)]
struct Commands(u64);

impl Commands {
    fn next(&mut self) -> String {
        self.0 += 1;
        let (id, text) = (self.0, "x".repeat(TEXT_BYTES));
        format!(r#"{{"type":"send","id":{id},"room":"{ROOM}","key":"{id:016x}","text":"{text}"}}"#)
    }

    fn take(&mut self, rounds: u64, in_flight: usize) -> Vec<String> {
        (0..rounds * in_flight as u64).map(|_| self.next()).collect()
    }
}

/// Something that takes commands and delivers.
trait Way {
    /// The CPU time of so many rounds.
    fn run(&mut self, rounds: u64, in_flight: usize) -> Duration;
}

/// The engine with a session that sends and others that read, a task each.
struct Ours<'a> {
    runtime: &'a Runtime,
    engine: Engine,
    sender: WireSession,
    readers: usize,
    tally: Tally,
    commands: Commands,
    _tasks: JoinSet<()>,
}

impl<'a> Ours<'a> {
    fn start(runtime: &'a Runtime, store: Arc<dyn Store>, readers: usize) -> Self {
        runtime.block_on(async {
            let engine = Engine::builder_shared(store).limits(limits()).build().await.unwrap();
            let lobby = RoomDraft::group(Visibility::Public).id(ROOM.parse().unwrap());
            engine.create_room(&Identity::new("ann").unwrap(), lobby).await.unwrap();
            let (tally, mut tasks) = (Tally::default(), JoinSet::new());
            for _ in 0..readers {
                let mut session = join(&engine, "bob").await;
                let tally = tally.clone();
                tasks.spawn(async move {
                    loop {
                        tally.arrived(messages_in(&black_box(poll_fn(|cx| session.poll_bytes(cx)).await)));
                    }
                });
            }
            let sender = join(&engine, "ann").await;
            let commands = Commands::default();
            Self { runtime, engine, sender, readers, tally, commands, _tasks: tasks }
        })
    }
}

async fn join(engine: &Engine, user: &str) -> WireSession {
    let mut session = engine.attach(Identity::new(user).unwrap(), Codec::Single);
    session.handle_text(&format!(r#"{{"type":"join","id":1,"room":"{ROOM}"}}"#));
    poll_fn(|cx| {
        while session.poll_bytes(cx).is_ready() {}
        if session.is_idle() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    session
}

impl Way for Ours<'_> {
    fn run(&mut self, rounds: u64, in_flight: usize) -> Duration {
        let Self { runtime, engine, sender, readers, tally, commands, .. } = self;
        runtime.block_on(async {
            let last = Seq(commands.0);
            engine.trim(&ROOM.parse().unwrap(), last).await.unwrap();
            let texts = commands.take(rounds, in_flight);
            let start = CpuTime.start();
            for round in texts.chunks(in_flight) {
                tally.expect(*readers * in_flight);
                for text in round {
                    sender.handle_text(text);
                }
                let mut acks = 0;
                while acks < in_flight {
                    acks += acks_in(&black_box(poll_fn(|cx| sender.poll_bytes(cx)).await));
                }
                tally.all_arrived().await;
            }
            CpuTime.end(start)
        })
    }
}

/// Where the baseline keeps messages.
trait Keep {
    fn keep(&mut self, key: &str, event: &Event);
}

impl Keep for Vec<Event> {
    fn keep(&mut self, _: &str, event: &Event) {
        self.push(event.clone());
    }
}

impl Keep for Connection {
    fn keep(&mut self, key: &str, event: &Event) {
        let EventBody::Message(message) = &event.body else { unreachable!("only messages are sent") };
        let tx = self.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        tx.prepare_cached("INSERT INTO messages (seq, at, author, key, text) VALUES (?, ?, ?, ?, ?)")
            .unwrap()
            .execute((
                event.seq.0.cast_signed(),
                event.at.0,
                event.from.as_str(),
                key,
                message.text.as_deref(),
            ))
            .unwrap();
        tx.commit().unwrap();
    }
}

fn database(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
        CREATE TABLE messages (seq INTEGER PRIMARY KEY, at INTEGER, author TEXT, key TEXT, text TEXT) STRICT;
        CREATE UNIQUE INDEX keys ON messages (author, key);",
    )
    .unwrap();
    conn
}

/// Baseline: all of it one after the other.
struct ByHand<K> {
    kept: K,
    readers: Vec<Vec<u8>>,
    commands: Commands,
    last_seq: u64,
    clear: fn(&mut K),
}

impl<K> ByHand<K> {
    fn start(kept: K, clear: fn(&mut K), readers: usize) -> Self {
        Self { kept, readers: vec![Vec::new(); readers], commands: Commands::default(), last_seq: 0, clear }
    }
}

impl<K: Keep> ByHand<K> {
    fn take(&mut self, text: &str, ack: &mut Vec<u8>) {
        let command: serde_json::Value = serde_json::from_str(text).unwrap();
        let (key, text) = (command["key"].as_str().unwrap(), command["text"].as_str().unwrap());
        self.last_seq += 1;
        let event = Event {
            room: RoomId::new(command["room"].as_str().unwrap()).unwrap(),
            seq: Seq(self.last_seq),
            at: Timestamp(1_764_000_000_000),
            from: UserId::new("ann").unwrap(),
            body: EventBody::Message(Message { text: Some(text.into()), ..Message::default() }),
        };
        self.kept.keep(key, &event);
        put_one(
            ack,
            Codec::Single,
            &serde_json::json!({ "type": "ack", "id": command["id"], "seq": event.seq.0 }),
        );
        for reader in &mut self.readers {
            put_one(reader, Codec::Single, &event);
        }
    }
}

impl<K: Keep> Way for ByHand<K> {
    fn run(&mut self, rounds: u64, in_flight: usize) -> Duration {
        (self.clear)(&mut self.kept);
        let texts = self.commands.take(rounds, in_flight);
        let start = CpuTime.start();
        let mut acks = Vec::new();
        for round in texts.chunks(in_flight) {
            for text in round {
                self.take(text, &mut acks);
            }
            for out in self.readers.iter_mut().chain([&mut acks]) {
                black_box(&*out);
                out.clear();
            }
        }
        CpuTime.end(start)
    }
}

fn measure<W: Way>(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    name: &str,
    readers: usize,
    start: impl Fn(usize) -> W,
) {
    let started = RefCell::new(None);
    for in_flight in IN_FLIGHT {
        group.throughput(Throughput::Elements(in_flight as u64));
        let id = BenchmarkId::new(name, format!("{readers} readers, {in_flight} in flight"));
        group.bench_function(id, |bench| {
            let mut started = started.borrow_mut();
            let way = started.get_or_insert_with(|| start(readers));
            bench.iter_custom(|rounds| way.run(rounds, in_flight));
        });
    }
}

fn end_to_end(criterion: &mut Criterion<CpuTime>) {
    // As the benches of broadcast have it: sessions on one thread. SQLite's writer has its own.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut group = criterion.benchmark_group("end_to_end/memory");
    group.sample_size(15).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    for readers in READERS {
        let ours = |readers| Ours::start(&runtime, Arc::new(MemoryStore::new()), readers);
        measure(&mut group, "engine", readers, ours);
        measure(&mut group, "by hand", readers, |readers| ByHand::start(Vec::new(), Vec::clear, readers));
    }
    group.finish();
    let mut group = criterion.benchmark_group("end_to_end/SQLite");
    group.sample_size(15).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    for readers in READERS {
        let ours = |readers| {
            let store = runtime.block_on(SqliteOptions::new().open_in_memory()).unwrap();
            Ours::start(&runtime, Arc::new(store), readers)
        };
        measure(&mut group, "engine", readers, ours);
        let by_hand = |readers| {
            let conn = database(&directory.path().join(format!("{readers}.db")));
            ByHand::start(conn, |conn| conn.execute_batch("DELETE FROM messages").unwrap(), readers)
        };
        measure(&mut group, "by hand", readers, by_hand);
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = end_to_end
}
criterion_main!(benches);
