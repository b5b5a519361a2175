//! What gathers in a busy room, and who does not wait for it. Time stands still but where everybody waits.

#![expect(clippy::unwrap_used, reason = "a test fails where something is not as it says")]

use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use chat_core::{
    After, Codec, Draft, Engine, Identity, Incoming, Limits, LocalSession, MissingRooms, WireSession,
    limits::Gathering,
    store::MemoryStore,
    testing::{Calls, Fault, FaultyStore},
};
use tokio::time::{Instant, sleep, timeout};

const WINDOW: Duration = Duration::from_millis(300);
/// What a timer may be late, and a commit may take.
const SOON: Duration = Duration::from_millis(20);

/// An engine for which each room is a busy one.
async fn engine(store: &FaultyStore) -> Engine {
    let mut limits = Limits::default();
    limits.gathering = Gathering {
        first: WINDOW,
        per_reader: Duration::ZERO,
        max: WINDOW,
        write_cost: Duration::from_secs(1),
    };
    let missing = MissingRooms::Create { rooms_max: 100 };
    Engine::builder(store.clone()).limits(limits).missing_rooms(missing).build().await.unwrap()
}

fn store() -> FaultyStore {
    FaultyStore::new(MemoryStore::new())
}

async fn local(engine: &Engine, name: &str) -> LocalSession {
    let mut session = engine.connect(Identity::new(name).unwrap());
    session.join("lobby", After::Live).await.unwrap();
    session
}

/// A session on a wire that has joined, and everything that it was told till now.
async fn wire(engine: &Engine, name: &str) -> WireSession {
    let mut session = engine.attach(Identity::new(name).unwrap(), Codec::Single);
    session.handle_text(r#"{"type":"join","id":1,"room":"lobby"}"#);
    until(&mut session, "joined").await;
    session
}

/// What comes next that has this in it.
async fn until(session: &mut WireSession, what: &str) -> Bytes {
    let found = async {
        loop {
            let bytes = poll_fn(|cx| session.poll_bytes(cx)).await;
            if String::from_utf8_lossy(&bytes).contains(what) {
                return bytes;
            }
        }
    };
    timeout(Duration::from_mins(1), found).await.expect("it comes")
}

async fn event(session: &mut LocalSession) -> u64 {
    loop {
        if let Incoming::Event(event) = session.next().await.unwrap() {
            return event.seq.0;
        }
    }
}

/// A first event, which is told at once; then what comes is one more of many.
async fn begin(sender: &mut LocalSession, readers: &mut [&mut LocalSession]) {
    sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    sender.send("lobby", Draft::text("first")).await.unwrap();
    for reader in readers {
        assert_eq!(event(reader).await, 1);
    }
    assert!(began.elapsed() < SOON, "the first after a rest waits for nobody");
}

#[tokio::test(start_paused = true)]
async fn a_sender_does_not_wait_for_its_ack_and_a_reader_waits_for_one_window() {
    let engine = engine(&store()).await;
    let (mut ann, mut bob) = (local(&engine, "ann").await, local(&engine, "bob").await);
    let mut sender = wire(&engine, "cat").await;
    begin(&mut ann, &mut [&mut bob]).await;
    let began = Instant::now();
    sender.handle_text(r#"{"type":"send","id":2,"room":"lobby","text":"second"}"#);
    until(&mut sender, r#""type":"ack","id":2"#).await;
    assert!(began.elapsed() < SOON, "the ack took {:?}", began.elapsed());
    assert_eq!(event(&mut bob).await, 2);
    let took = began.elapsed();
    assert!((WINDOW..WINDOW + SOON).contains(&took), "the reader was told after {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_takes_long_is_not_waited_for_twice() {
    let store = store();
    let engine = engine(&store).await;
    let (mut ann, mut bob) = (local(&engine, "ann").await, local(&engine, "bob").await);
    begin(&mut ann, &mut [&mut bob]).await;
    store.script(Calls::Appends, [Some(Fault::HoldAfter)]);
    let began = Instant::now();
    let release = async {
        sleep(WINDOW / 2).await;
        store.release_all();
    };
    let (sent, ()) = tokio::join!(ann.send("lobby", Draft::text("second")), release);
    assert_eq!(sent.unwrap().seq.0, 2);
    assert_eq!(event(&mut bob).await, 2);
    let took = began.elapsed();
    assert!((WINDOW..WINDOW + SOON).contains(&took), "the reader was told after {took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_has_gathered_is_one_run_of_bytes_for_all() {
    let engine = engine(&store()).await;
    let mut ann = local(&engine, "ann").await;
    let mut readers = [wire(&engine, "bob").await, wire(&engine, "cat").await];
    begin(&mut ann, &mut []).await;
    for reader in &mut readers {
        until(reader, "first").await;
        // What is told of who is online.
        while reader.poll_bytes(&mut Context::from_waker(Waker::noop())) != Poll::Pending {}
    }
    for _ in 0..5 {
        ann.send("lobby", Draft::text("more")).await.unwrap();
    }
    let mut runs = Vec::new();
    for reader in &mut readers {
        runs.push(until(reader, "more").await);
    }
    assert_eq!(String::from_utf8_lossy(&runs[0]).matches(r#""type":"message""#).count(), 5);
    assert_eq!(runs[0].as_ptr_range(), runs[1].as_ptr_range(), "nobody copies, nobody encodes again");
}

#[tokio::test(start_paused = true)]
async fn typing_is_told_in_a_busy_room_that_falls_quiet() {
    let engine = engine(&store()).await;
    let (mut ann, mut bob) = (local(&engine, "ann").await, local(&engine, "bob").await);
    begin(&mut ann, &mut [&mut bob]).await;
    ann.typing("lobby").await.unwrap();
    let heard =
        timeout(WINDOW + SOON, async { while !matches!(bob.next().await, Some(Incoming::Ephemeral(_))) {} });
    heard.await.expect("it is told in one window");
}
