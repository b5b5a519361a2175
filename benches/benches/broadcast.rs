//! One room, many subscribers: from handing in to the last of them having it.
//!
//! Everything runs on one thread. Each subscriber is a task of its own, as a connection is. It takes all there is when it
//! is woken, and then tells how much that was. A number is the time of one publish (of 1, 8 or 64 events at once) until
//! all subscribers have it; the rate is the time of one delivery. It is CPU time, and nothing waits to gather: see [`limits`](chat_benches::limits).
//!
//! The engine's events come as those of another node do: committed to the store in memory, and told over the bus, as
//! many as there are in one notice. What the store and the bus cost is in the figures; with many subscribers it is
//! little. The baselines only hand a ready event on: no room, no rights, no place from which to come back.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::{future::poll_fn, hint::black_box, sync::Arc, task::Poll, time::Duration};

use chat_benches::{cpu::CpuTime, event, house::House, tally::Tally, wire::messages_in};
use chat_core::{
    After, Codec, Identity, Incoming, WireSession,
    protocol::{Event, codec::put_one},
};
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
    measurement::Measurement,
};
use tokio::{
    runtime::Runtime,
    sync::{broadcast, mpsc},
    task::JoinSet,
};

const SUBSCRIBERS: [usize; 5] = [1, 10, 100, 1000, 10_000];
const EVENTS: [usize; 3] = [1, 8, 64];

/// What a baseline's queue holds: as much as is ever published at once.
const QUEUE_EVENTS: usize = 64;

/// Something that hands events to subscribers, whose tasks end with it.
struct Stage<P> {
    publisher: P,
    subscribers: usize,
    tally: Tally,
    _tasks: JoinSet<()>,
}

trait Publisher {
    async fn publish(&self, events: usize);

    /// Done between two measurements.
    async fn forget(&self) {}
}

impl<P: Publisher> Stage<P> {
    /// The CPU time until so many publishes, one after the other, have reached everybody.
    async fn publish(&self, publishes: u64, events: usize) -> Duration {
        self.publisher.forget().await;
        let start = CpuTime.start();
        for _ in 0..publishes {
            self.tally.expect(self.subscribers * events);
            self.publisher.publish(events).await;
            self.tally.all_arrived().await;
        }
        CpuTime.end(start)
    }
}

impl Publisher for House {
    async fn publish(&self, events: usize) {
        self.commit(events).await;
    }

    async fn forget(&self) {
        self.forget().await;
    }
}

/// Sessions of one user, so that nobody has to be told who is online.
async fn local_sessions(subscribers: usize) -> Stage<House> {
    let (house, tally, mut tasks) = (House::build().await, Tally::default(), JoinSet::new());
    for _ in 0..subscribers {
        let mut session = house.engine.connect(Identity::new("bob").unwrap());
        session.join("lobby", After::Live).await.unwrap();
        let tally = tally.clone();
        tasks.spawn(poll_fn(move |cx| {
            let mut events = 0;
            while let Poll::Ready(incoming) = session.poll_next(cx) {
                events += usize::from(matches!(black_box(incoming), Incoming::Event(_)));
            }
            tally.arrived(events);
            Poll::Pending
        }));
    }
    Stage { publisher: house, subscribers, tally, _tasks: tasks }
}

/// The same up to the bytes that a socket would get.
async fn wire_sessions(subscribers: usize) -> Stage<House> {
    let (house, tally, mut tasks) = (House::build().await, Tally::default(), JoinSet::new());
    for _ in 0..subscribers {
        let mut session = house.engine.attach(Identity::new("bob").unwrap(), Codec::Single);
        session.handle_text(r#"{"type":"join","id":1,"room":"lobby"}"#);
        joined(&mut session).await;
        let tally = tally.clone();
        tasks.spawn(async move {
            loop {
                tally.arrived(messages_in(&black_box(poll_fn(|cx| session.poll_bytes(cx)).await)));
            }
        });
    }
    Stage { publisher: house, subscribers, tally, _tasks: tasks }
}

/// Waits until what the session was told is answered, and throws the answers away.
async fn joined(session: &mut WireSession) {
    let answered = poll_fn(|cx| {
        while session.poll_bytes(cx).is_ready() {}
        if session.is_idle() { Poll::Ready(()) } else { Poll::Pending }
    });
    answered.await;
}

/// Baseline: tokio's broadcast channel.
struct Channel(broadcast::Sender<Arc<Event>>);

impl Publisher for Channel {
    async fn publish(&self, events: usize) {
        for _ in 0..events {
            self.0.send(Arc::new(event(1))).unwrap();
        }
    }
}

fn channel(subscribers: usize) -> Stage<Channel> {
    let (sender, _) = broadcast::channel::<Arc<Event>>(QUEUE_EVENTS);
    let (tally, mut tasks) = (Tally::default(), JoinSet::new());
    for _ in 0..subscribers {
        let (mut receiver, tally) = (sender.subscribe(), tally.clone());
        tasks.spawn(async move {
            while let Ok(first) = receiver.recv().await {
                let (mut next, mut events) = (Some(first), 0);
                while let Some(event) = next {
                    black_box(event);
                    events += 1;
                    next = receiver.try_recv().ok();
                }
                tally.arrived(events);
            }
        });
    }
    Stage { publisher: Channel(sender), subscribers, tally, _tasks: tasks }
}

/// Baseline: a queue for each subscriber.
struct Queues(Vec<mpsc::Sender<Arc<Event>>>);

impl Publisher for Queues {
    async fn publish(&self, events: usize) {
        for _ in 0..events {
            let event = Arc::new(event(1));
            for sender in &self.0 {
                sender.try_send(event.clone()).unwrap();
            }
        }
    }
}

/// Each subscriber does `work` with what it takes.
fn queues(subscribers: usize, work: fn(&Event)) -> Stage<Queues> {
    let (tally, mut tasks, mut senders) = (Tally::default(), JoinSet::new(), Vec::new());
    for _ in 0..subscribers {
        let (sender, mut receiver) = mpsc::channel::<Arc<Event>>(QUEUE_EVENTS);
        senders.push(sender);
        let tally = tally.clone();
        tasks.spawn(async move {
            while let Some(first) = receiver.recv().await {
                let (mut next, mut events) = (Some(first), 0);
                while let Some(event) = next {
                    work(&event);
                    events += 1;
                    next = receiver.try_recv().ok();
                }
                tally.arrived(events);
            }
        });
    }
    Stage { publisher: Queues(senders), subscribers, tally, _tasks: tasks }
}

fn take(event: &Event) {
    black_box(event);
}

fn encode(event: &Event) {
    let mut frame = Vec::with_capacity(256);
    put_one(&mut frame, Codec::Single, event);
    black_box(frame);
}

fn measure<P: Publisher>(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    runtime: &Runtime,
    name: &str,
    subscribers: usize,
    stage: impl AsyncFn(usize) -> Stage<P>,
) {
    // Where a filter leaves all of it out, nobody subscribes.
    let mut staged = None;
    for events in EVENTS {
        group.throughput(Throughput::Elements((subscribers * events) as u64));
        let id = BenchmarkId::new(name, format!("{subscribers} subscribers, {events} at once"));
        group.bench_function(id, |bench| {
            let stage = &*staged.get_or_insert_with(|| runtime.block_on(stage(subscribers)));
            bench.to_async(runtime).iter_custom(|publishes| stage.publish(publishes, events));
        });
    }
}

fn broadcast(criterion: &mut Criterion<CpuTime>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("broadcast");
    group.sample_size(15).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    for subscribers in SUBSCRIBERS {
        // Samples of equal length, so that those of the slow ones stay short.
        group.sampling_mode(if subscribers < 1000 { SamplingMode::Auto } else { SamplingMode::Flat });
        measure(&mut group, &runtime, "engine, LocalSession", subscribers, local_sessions);
        measure(&mut group, &runtime, "engine, WireSession", subscribers, wire_sessions);
        measure(&mut group, &runtime, "tokio broadcast of Arc", subscribers, async |count| channel(count));
        let shared = async |count| queues(count, take);
        measure(&mut group, &runtime, "mpsc of Arc each", subscribers, shared);
        let encoded = async |count| queues(count, encode);
        measure(&mut group, &runtime, "mpsc each, encoded each", subscribers, encoded);
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = broadcast
}
criterion_main!(benches);
