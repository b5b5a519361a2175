//! Coming back: a join with `after` that is given 10,000 events, up to the bytes of their frames.
//!
//! A number is the time from the command until the last of the events has come out of the session; the rate is events a
//! second. From the *tail* they come as they were encoded for others, 10 to a commit; the others have to be read from the
//! store, in pages, and be encoded. The stores are the one in memory and SQLite with a file that is in the cache.
//!
//! The baselines are the plain loops that a replay cannot do without: for the tail one copy of the bytes, for the stores
//! to read the same rows in one statement (in memory: to have them) and to encode each as a frame. They judge no right,
//! read in no pages, and do not go on to live.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::{future::poll_fn, hint::black_box, path::Path, sync::Arc, time::Duration};

use chat_benches::{ROOM, TEXT_BYTES, event, house::House, limits, wire::messages_in};
use chat_core::{
    After, Codec, Draft, Engine, Identity, Incoming, RoomDraft, RoomId, Seq, UserId,
    ids::Timestamp,
    protocol::{Event, EventBody, Message, codec::put_one},
    rights::Visibility,
    store::{Append, Appended, Change, MemoryStore, Require, Store},
};
use chat_store::SqliteStore;
use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use rusqlite::Connection;
use tokio::runtime::{Builder, Runtime};

const EVENTS: usize = 10_000;

/// Events of one commit in the tail.
const COMMIT: usize = 10;

/// A tail that holds all of them.
const TAIL_BYTES: usize = 8 << 20;

/// Bytes of frames that a baseline gathers, as the engine does.
const FLUSH_BYTES: usize = 64 << 10;

/// Fills a new room.
async fn fill(store: Arc<dyn Store>) -> Engine {
    let (ann, room) = (Identity::new("ann").unwrap(), RoomId::new(ROOM).unwrap());
    let engine = Engine::builder_shared(store.clone()).build().await.unwrap();
    engine.create_room(&ann, RoomDraft::group(Visibility::Public).id(room.clone())).await.unwrap();
    let no = store.room(room, ann.user.clone()).await.unwrap().unwrap().room.no;
    let append = |_| Append {
        room: no,
        actor: ann.actor(),
        at: Timestamp(1_764_000_000_000),
        change: Change::Message(Draft::text("x".repeat(TEXT_BYTES))),
        require: Require::default(),
    };
    let outcomes = store.append((0..EVENTS).map(append).collect()).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Appended::New(_)))));
    engine
}

/// A room whose tail has all of it. It stays so while the session is there.
async fn live() -> (House, chat_core::LocalSession) {
    let mut limits = limits();
    limits.tail_bytes = TAIL_BYTES;
    let house = House::with_limits(limits).await;
    let mut session = house.engine.connect(Identity::new("ann").unwrap());
    session.join(ROOM, After::Live).await.unwrap();
    for _ in 0..EVENTS / COMMIT {
        house.commit(COMMIT).await;
        let mut heard = 0;
        while heard < COMMIT {
            heard += usize::from(matches!(session.next().await, Some(Incoming::Event(_))));
        }
    }
    (house, session)
}

/// A join that is given everything.
async fn resume(engine: &Engine) {
    let mut session = engine.attach(Identity::new("bob").unwrap(), Codec::Single);
    session.handle_text(&format!(r#"{{"type":"join","id":1,"room":"{ROOM}","after":0}}"#));
    let mut messages = 0;
    while messages < EVENTS {
        messages += messages_in(&black_box(poll_fn(|cx| session.poll_bytes(cx)).await));
    }
}

fn measure_engine(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, name: &str, engine: &Engine) {
    group.bench_function(name, |bench| bench.to_async(runtime).iter(|| resume(engine)));
}

/// Baseline: the events as frames, a buffer after the other.
fn encode(events: impl Iterator<Item = Event>) {
    let (mut out, mut encoded) = (Vec::with_capacity(FLUSH_BYTES), 0);
    for event in events {
        put_one(&mut out, Codec::Single, &event);
        encoded += 1;
        if out.len() >= FLUSH_BYTES {
            black_box(&out);
            out.clear();
        }
    }
    assert_eq!(encoded, EVENTS);
}

/// Baseline: the rows of a file as the store has made it.
fn read_rows(conn: &Connection) {
    let mut rows = conn
        .prepare_cached(
            "SELECT e.seq, e.at, e.author, b.text FROM events e JOIN bodies b ON b.id = e.body
             WHERE e.room = 1 AND e.seq > 0 ORDER BY e.seq",
        )
        .unwrap();
    let room = RoomId::new(ROOM).unwrap();
    let events = rows.query_map([], |row| {
        Ok(Event {
            room: room.clone(),
            seq: Seq(row.get::<_, i64>(0)?.cast_unsigned()),
            at: Timestamp(row.get(1)?),
            from: UserId::new(row.get_ref(2)?.as_str()?).unwrap(),
            body: EventBody::Message(Message {
                text: Some(row.get_ref(3)?.as_str()?.into()),
                ..Message::default()
            }),
        })
    });
    encode(events.unwrap().map(|event| event.unwrap()));
}

/// A file with the same rows that nobody else has open.
fn rows(runtime: &Runtime, path: &Path) -> Connection {
    runtime.block_on(async { fill(Arc::new(SqliteStore::open(path).await.unwrap())).await });
    Connection::open(path).unwrap()
}

fn join_resume(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut group = criterion.benchmark_group("join_resume");
    group.sample_size(20).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    group.throughput(Throughput::Elements(EVENTS as u64));

    let (house, _listener) = runtime.block_on(live());
    measure_engine(&mut group, &runtime, "tail", &house.engine);
    let mut frames = Vec::new();
    (1..).take(EVENTS).for_each(|seq| put_one(&mut frames, Codec::Single, &event(seq)));
    group.bench_function("tail, baseline: copy the bytes", |bench| bench.iter(|| black_box(&frames).clone()));

    let engine = runtime.block_on(fill(Arc::new(MemoryStore::new())));
    measure_engine(&mut group, &runtime, "store in memory", &engine);
    let events: Vec<_> = (1..).take(EVENTS).map(event).collect();
    group.bench_function("store in memory, baseline: encode", |bench| {
        bench.iter(|| encode(black_box(&events).iter().cloned()));
    });

    let store = runtime.block_on(SqliteStore::open(directory.path().join("chat.db"))).unwrap();
    let engine = runtime.block_on(fill(Arc::new(store)));
    measure_engine(&mut group, &runtime, "SQLite", &engine);
    let conn = rows(&runtime, &directory.path().join("rows.db"));
    group.bench_function("SQLite, baseline: read and encode", |bench| bench.iter(|| read_rows(&conn)));
    group.finish();
}

criterion_group!(benches, join_resume);
criterion_main!(benches);
