//! One room, many subscribers: from handing in to the last of them having it.
//!
//! Everything runs on one thread. Each subscriber is a task of its own, as a connection is, and takes what there is when
//! it is woken. A number is the time of one publish (of 1 event, or of 8 at once) until all subscribers have it; the
//! rate is deliveries a second.
//!
//! The engine's events come as those of another node do: committed to the store in memory, and told over the bus, as
//! many as there are in one notice. A `send` would wait for the commit's pace, some milliseconds in which nothing is
//! done, and hide what is asked here. What the store and the bus cost is in the figures; with many subscribers it is
//! little. The baselines only hand a ready event on: no room, no rights, no place from which to come back.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::{
    future::poll_fn,
    hint::black_box,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use chat_benches::{event, house::House, tally::Tally, wire::frames_in};
use chat_core::{
    After, Codec, Identity, Incoming, WireSession,
    protocol::{Event, codec::put_one},
};
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use tokio::{
    runtime::Runtime,
    sync::{broadcast, mpsc},
    task::JoinSet,
    time::timeout,
};

const SUBSCRIBERS: [usize; 3] = [1, 100, 1000];
const EVENTS: [usize; 2] = [1, 8];

/// What a baseline's queue holds: more than is ever published at once.
const QUEUE_EVENTS: usize = 64;

/// How long a session that is joining is waited for before it is looked at again.
const GREETING_WAIT: Duration = Duration::from_millis(1);

/// Something that hands events to subscribers, whose tasks end with it.
struct Stage<P> {
    publisher: P,
    tally: Tally,
    _subscribers: JoinSet<()>,
}

impl<P: AsyncFn(usize)> Stage<P> {
    async fn publish(&self, subscribers: usize, events: usize) {
        self.tally.expect(subscribers * events);
        (self.publisher)(events).await;
        self.tally.all_arrived().await;
    }
}

/// Sessions of one user, so that nobody has to be told who is online.
async fn local_sessions(subscribers: usize) -> Stage<impl AsyncFn(usize)> {
    let (house, tally, mut tasks) = (House::build().await, Tally::default(), JoinSet::new());
    for _ in 0..subscribers {
        let mut session = house.engine.connect(Identity::new("bob").unwrap());
        session.join("lobby", After::Live).await.unwrap();
        let tally = tally.clone();
        tasks.spawn(async move {
            while let Some(incoming) = session.next().await {
                tally.arrived(usize::from(matches!(black_box(incoming), Incoming::Event(_))));
            }
        });
    }
    Stage { publisher: async move |events| house.commit(events).await, tally, _subscribers: tasks }
}

/// The same up to the bytes that a socket would get.
async fn wire_sessions(subscribers: usize) -> Stage<impl AsyncFn(usize)> {
    let (house, tally, mut tasks) = (House::build().await, Tally::default(), JoinSet::new());
    let mut sessions: Vec<WireSession> =
        (0..subscribers).map(|_| house.engine.attach(Identity::new("bob").unwrap(), Codec::Single)).collect();
    for session in &mut sessions {
        session.handle_text(r#"{"type":"join","id":1,"room":"lobby"}"#);
        while !session.is_idle() {
            // Until `joined` has come; what is told of bob being online may come behind it.
            let _ = timeout(GREETING_WAIT, poll_fn(|cx| session.poll_bytes(cx))).await;
        }
    }
    for mut session in sessions {
        let mut cx = Context::from_waker(Waker::noop());
        while session.poll_bytes(&mut cx).is_ready() {}
        let tally = tally.clone();
        tasks.spawn(async move {
            loop {
                tally.arrived(frames_in(&black_box(poll_fn(|cx| session.poll_bytes(cx)).await)));
            }
        });
    }
    Stage { publisher: async move |events| house.commit(events).await, tally, _subscribers: tasks }
}

/// Baseline: tokio's broadcast channel.
fn tokio_broadcast(subscribers: usize) -> Stage<impl AsyncFn(usize)> {
    let (sender, _) = broadcast::channel::<Arc<Event>>(QUEUE_EVENTS);
    let (tally, mut tasks) = (Tally::default(), JoinSet::new());
    for _ in 0..subscribers {
        let (mut receiver, tally) = (sender.subscribe(), tally.clone());
        tasks.spawn(async move {
            while let Ok(event) = receiver.recv().await {
                black_box(event);
                tally.arrived(1);
            }
        });
    }
    let publisher = async move |events| {
        for _ in 0..events {
            sender.send(Arc::new(event(1))).unwrap();
        }
    };
    Stage { publisher, tally, _subscribers: tasks }
}

/// Baseline: a queue for each subscriber; each does `work` with what it takes.
fn queues(subscribers: usize, work: fn(&Event)) -> Stage<impl AsyncFn(usize)> {
    let (tally, mut tasks, mut senders) = (Tally::default(), JoinSet::new(), Vec::new());
    for _ in 0..subscribers {
        let (sender, mut receiver) = mpsc::channel::<Arc<Event>>(QUEUE_EVENTS);
        senders.push(sender);
        let tally = tally.clone();
        tasks.spawn(async move {
            while let Some(event) = receiver.recv().await {
                work(&event);
                tally.arrived(1);
            }
        });
    }
    let publisher = async move |events| {
        for _ in 0..events {
            let event = Arc::new(event(1));
            for sender in &senders {
                sender.try_send(event.clone()).unwrap();
            }
        }
    };
    Stage { publisher, tally, _subscribers: tasks }
}

fn take(event: &Event) {
    black_box(event);
}

fn encode(event: &Event) {
    let mut frame = Vec::with_capacity(256);
    put_one(&mut frame, Codec::Single, event);
    black_box(frame);
}

fn measure<P: AsyncFn(usize)>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    name: &str,
    (subscribers, events): (usize, usize),
    stage: &Stage<P>,
) {
    group.throughput(Throughput::Elements((subscribers * events) as u64));
    let id = BenchmarkId::new(name, format!("{subscribers} subscribers, {events} at once"));
    group.bench_function(id, |bench| {
        bench.to_async(runtime).iter(|| stage.publish(subscribers, events));
    });
}

fn broadcast(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("broadcast");
    group.sample_size(20).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    for subscribers in SUBSCRIBERS {
        for events in EVENTS {
            let size = (subscribers, events);
            let local = runtime.block_on(local_sessions(subscribers));
            measure(&mut group, &runtime, "engine, LocalSession", size, &local);
            let wire = runtime.block_on(wire_sessions(subscribers));
            measure(&mut group, &runtime, "engine, WireSession", size, &wire);
            let channel = runtime.block_on(async { tokio_broadcast(subscribers) });
            measure(&mut group, &runtime, "tokio broadcast of Arc", size, &channel);
            let shared = runtime.block_on(async { queues(subscribers, take) });
            measure(&mut group, &runtime, "mpsc of Arc each", size, &shared);
            let encoded = runtime.block_on(async { queues(subscribers, encode) });
            measure(&mut group, &runtime, "mpsc each, encoded each", size, &encoded);
        }
    }
    group.finish();
}

criterion_group!(benches, broadcast);
criterion_main!(benches);
