//! How many instructions the hot functions take, under valgrind: a number that other work on the machine does not touch.
//!
//! `scripts/instructions` runs it, and holds what it counts against `instructions.txt`. Everything is on one thread, and
//! what is counted waits for no time; the engine has no bus, which would look at the store now and then. A session is
//! driven as a transport drives it, through what the crate gives to everybody.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]
#![expect(unused_qualifications, missing_docs, clippy::exit, reason = "the macros write so")]

use std::{
    future::poll_fn,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use chat_benches::{
    ROOM, TEXT_BYTES, event, limits,
    wire::{acks_in, messages_in},
};
use chat_core::{
    Codec, Draft, Engine, Identity, RoomDraft, RoomId, WireSession,
    ids::Timestamp,
    protocol::{Event, Request, codec::put_one},
    rights::Visibility,
    store::{Append, Change, MemoryStore, Outcomes, Require, Store},
};
use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use tokio::runtime::{Builder, Runtime};

/// A command of a client, with a key as clients have them.
fn command(id: u64) -> String {
    let text = "x".repeat(TEXT_BYTES);
    format!(r#"{{"type":"send","id":{id},"room":"{ROOM}","key":"{id:016x}","text":"{text}"}}"#)
}

#[library_benchmark]
#[bench::one(command(1))]
fn decode_send(text: String) -> (String, Request) {
    let request = Request::decode(black_box(&text)).unwrap();
    (text, request)
}

fn event_and_buffer() -> (Event, Vec<u8>) {
    (event(1000), Vec::with_capacity(512))
}

#[library_benchmark]
#[bench::one(event_and_buffer())]
fn encode_event((event, mut frame): (Event, Vec<u8>)) -> (Event, Vec<u8>) {
    put_one(&mut frame, Codec::Single, black_box(&event));
    (event, frame)
}

/// A room in which ann sends and others read, each of whom has all there is.
struct Room {
    runtime: Runtime,
    _engine: Engine,
    ann: WireSession,
    readers: Vec<WireSession>,
}

impl Room {
    /// The first of the readers has the other codec: what it takes leaves that of the others to be encoded.
    fn of(readers: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let (engine, ann, readers) = runtime.block_on(async {
            let engine = Engine::builder(MemoryStore::new()).limits(limits()).build().await.unwrap();
            let lobby = RoomDraft::group(Visibility::Public).id(ROOM.parse().unwrap());
            engine.create_room(&Identity::new("ann").unwrap(), lobby).await.unwrap();
            let mut sessions = vec![join(&engine, "bob", Codec::Batch).await];
            for _ in 1..readers {
                sessions.push(join(&engine, "bob", Codec::Single).await);
            }
            let ann = join(&engine, "ann", Codec::Single).await;
            // What they were told of each other.
            for session in &mut sessions {
                idle(session).await;
            }
            (engine, ann, sessions)
        });
        Self { runtime, _engine: engine, ann, readers }
    }

    /// Ann sends, and has her acks. Whoever reads the other codec has the messages too.
    fn send(&mut self, commands: &[String]) {
        let Self { runtime, ann, readers, .. } = self;
        runtime.block_on(async {
            for command in commands {
                ann.handle_text(command);
            }
            let mut acks = 0;
            while acks < commands.len() {
                acks += acks_in(&poll_fn(|cx| ann.poll_bytes(cx)).await);
            }
            poll_fn(|cx| readers[0].poll_bytes(cx)).await;
        });
    }
}

async fn join(engine: &Engine, user: &str, codec: Codec) -> WireSession {
    let mut session = engine.attach(Identity::new(user).unwrap(), codec);
    session.handle_text(&format!(r#"{{"type":"join","id":1,"room":"{ROOM}"}}"#));
    idle(&mut session).await;
    session
}

/// Takes what there is, until everything is answered.
async fn idle(session: &mut WireSession) {
    poll_fn(|cx| {
        while session.poll_bytes(cx).is_ready() {}
        if session.is_idle() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn commands(count: u64) -> Vec<String> {
    (1..=count).map(command).collect()
}

/// A room with messages that nobody has encoded for the last two readers yet.
fn unread(messages: u64) -> Room {
    let mut room = Room::of(3);
    room.send(&commands(messages));
    room
}

/// The same, and one of the two has them.
fn encoded(messages: u64) -> Room {
    let mut room = unread(messages);
    assert_eq!(drain(&mut room.readers[1]) as u64, messages);
    room
}

/// Takes all there is, as a transport does: the messages in it. Each bench holds them against what was sent, so that no
/// count is one of nothing.
fn drain(session: &mut WireSession) -> usize {
    let mut cx = Context::from_waker(Waker::noop());
    let mut messages = 0;
    while let Poll::Ready(bytes) = session.poll_bytes(&mut cx) {
        messages += messages_in(&black_box(bytes));
    }
    messages
}

#[library_benchmark]
#[bench::of_1(unread(1), 1)]
#[bench::of_64(unread(64), 64)]
fn first_reader(mut room: Room, messages: usize) -> Room {
    assert_eq!(drain(&mut room.readers[1]), messages);
    room
}

#[library_benchmark]
#[bench::of_1(encoded(1), 1)]
#[bench::of_64(encoded(64), 64)]
fn next_reader(mut room: Room, messages: usize) -> Room {
    assert_eq!(drain(&mut room.readers[2]), messages);
    room
}

// From the commands to the acks, and to all readers.
#[library_benchmark]
#[bench::one_to_1(Room::of(2), commands(1))]
#[bench::one_to_100(Room::of(101), commands(1))]
#[bench::all_64_to_1(Room::of(2), commands(64))]
fn send(mut room: Room, commands: Vec<String>) -> (Room, Vec<String>) {
    room.send(&commands);
    for reader in &mut room.readers[1..] {
        assert_eq!(drain(reader), commands.len());
    }
    (room, commands)
}

fn store_and_batch(messages: u64) -> (MemoryStore, Vec<Append>) {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let (store, ann) = (MemoryStore::new(), Identity::new("ann").unwrap());
    let no = runtime.block_on(async {
        let engine = Engine::builder(store.clone()).build().await.unwrap();
        let lobby = RoomDraft::group(Visibility::Public).id(ROOM.parse().unwrap());
        engine.create_room(&ann, lobby).await.unwrap();
        store.room(RoomId::new(ROOM).unwrap(), ann.user.clone()).await.unwrap().unwrap().room.no
    });
    let append = |key: u64| Append {
        room: no,
        actor: ann.actor(),
        at: Timestamp(1_764_000_000_000),
        change: Change::Message(Draft::text("x".repeat(TEXT_BYTES)).key(format!("{key:016x}"))),
        require: Require::default(),
    };
    (store, (0..messages).map(append).collect())
}

// The rules of a timeline, and the maps in which the reference keeps it.
#[library_benchmark]
#[bench::of_1(store_and_batch(1))]
#[bench::of_64(store_and_batch(64))]
fn judge_and_keep((store, batch): (MemoryStore, Vec<Append>)) -> (MemoryStore, Outcomes) {
    let outcomes = match pin!(store.append(batch)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(outcomes)) => outcomes,
        other => unreachable!("it never waits or fails: {other:?}"),
    };
    (store, outcomes)
}

library_benchmark_group!(
    name = hot,
    benchmarks = [decode_send, encode_event, first_reader, next_reader, send, judge_and_keep]
);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = hot
);
