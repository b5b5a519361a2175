//! One room on real sockets: what the server's side of a delivery costs in CPU time.
//!
//! The readers are a process of their own, on the same machine. A number is the CPU time of this process, the kernel's
//! work for it included, from handing in until everything has come on every connection; the rate is the CPU time of one
//! delivery. Loopback charges the receiver's TCP work to the writer. Nothing waits to gather: see
//! [`limits`](chat_benches::limits).
//!
//! The engine is a whole server over the store in memory, and its events come as those of another node do. The baselines
//! are handed ready events: they have no room, no rights, and no place from which to come back.
//!
//! - *tokio-tungstenite*: a task and a queue for each connection, which feeds what was published at once and flushes.
//! - *bare writes*: one thread, one write of pre-built frames to each socket in turn. It is the floor: whoever writes to
//!   each socket once cannot be cheaper.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::{
    future::pending,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use chat_benches::{
    cpu::CpuTime,
    event,
    house::House,
    readers::{Greeting, Readers, Round},
};
use chat_core::{Codec, protocol::codec::put_one};
use chat_server::{OpenAuth, Server};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, measurement::Measurement};
use futures_util::SinkExt;
use tokio::{
    runtime::{Builder, Runtime},
    sync::broadcast,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config,
    tungstenite::{Message, Utf8Bytes, protocol::WebSocketConfig},
};

const CONNECTIONS: [usize; 2] = [100, 1000];
const EVENTS: [usize; 3] = [1, 8, 64];

/// Threads of a runtime, as the program has them on two processors.
const WORKERS: usize = 2;

/// Bytes that tungstenite reads at once. It clears as many before each read: its default would cost more than all the rest.
const READ_BYTES: usize = 4096;

/// Rounds that a baseline's queue holds: one is under way at a time.
const QUEUE_ROUNDS: usize = 2;

/// Descriptors beside those of the connections.
const OTHER_DESCRIPTORS: u64 = 100;

/// Something that sends one round to all connections.
trait Sender {
    fn send(&mut self);

    /// Done between two measurements.
    fn tidy(&mut self) {}
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap()
}

/// A server with one room in which everybody is.
struct Engine {
    house: House,
    runtime: Runtime,
    events: usize,
}

impl Engine {
    fn start(round: Round) -> (Self, Readers) {
        let runtime = runtime();
        let house = runtime.block_on(House::build());
        // Nothing but the same work is compared, however full the machine is.
        let server = Server::builder(house.engine.clone()).authenticator(OpenAuth).endure_overload().build();
        let (listener, address) = listen();
        listener.set_nonblocking(true).unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            server.serve(listener, pending()).await;
        });
        let readers = Readers::start(address, Greeting::Join, round);
        (Self { house, runtime, events: round.events }, readers)
    }
}

impl Sender for Engine {
    fn send(&mut self) {
        self.runtime.block_on(self.house.commit(self.events));
    }

    fn tidy(&mut self) {
        self.runtime.block_on(self.house.forget());
    }
}

/// Messages that were published at once.
type Messages = Arc<[Utf8Bytes]>;

struct Tungstenite {
    queue: broadcast::Sender<Messages>,
    events: usize,
    _runtime: Runtime,
}

impl Tungstenite {
    fn start(round: Round) -> (Self, Readers) {
        let runtime = runtime();
        let (queue, _) = broadcast::channel::<Messages>(QUEUE_ROUNDS);
        let (listener, address) = listen();
        let readers = Readers::start(address, Greeting::WebSocket, round);
        let config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
        for _ in 0..round.connections {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            stream.set_nodelay(true).unwrap();
            let receiver = queue.subscribe();
            runtime.spawn(async move {
                let stream = tokio::net::TcpStream::from_std(stream).unwrap();
                let socket = accept_async_with_config(stream, Some(config)).await.unwrap();
                feed_and_flush(socket, receiver).await;
            });
        }
        (Self { queue, events: round.events, _runtime: runtime }, readers)
    }
}

async fn feed_and_flush(
    mut socket: WebSocketStream<tokio::net::TcpStream>,
    mut queue: broadcast::Receiver<Messages>,
) {
    while let Ok(messages) = queue.recv().await {
        for message in messages.iter() {
            socket.feed(Message::Text(message.clone())).await.unwrap();
        }
        socket.flush().await.unwrap();
    }
}

impl Sender for Tungstenite {
    fn send(&mut self) {
        let message = |seq| serde_json::to_string(&event(seq)).unwrap().into();
        self.queue.send((1..).take(self.events).map(message).collect()).unwrap();
    }
}

struct BareWrites {
    sockets: Vec<TcpStream>,
    frames: Vec<u8>,
}

impl BareWrites {
    fn start(round: Round) -> (Self, Readers) {
        let (listener, address) = listen();
        let readers = Readers::start(address, Greeting::None, round);
        let accept = || {
            let (socket, _) = listener.accept().unwrap();
            socket.set_nodelay(true).unwrap();
            socket
        };
        let sockets = (0..round.connections).map(|_| accept()).collect();
        let mut frames = Vec::new();
        (1..).take(round.events).for_each(|seq| put_one(&mut frames, Codec::Single, &event(seq)));
        (Self { sockets, frames }, readers)
    }
}

impl Sender for BareWrites {
    fn send(&mut self) {
        for socket in &mut self.sockets {
            socket.write_all(&self.frames).unwrap();
        }
    }
}

fn measure<S: Sender>(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    name: &str,
    round: Round,
    start: impl Fn(Round) -> (S, Readers),
) {
    group.throughput(Throughput::Elements(round.deliveries() as u64));
    let size = format!("{} connections, {} at once", round.connections, round.events);
    // Criterion calls the closure for each sample, and not at all where a filter leaves it out.
    let mut started = None;
    group.bench_function(BenchmarkId::new(name, size), |bench| {
        let (sender, readers) = started.get_or_insert_with(|| {
            let (sender, mut readers) = start(round);
            readers.wait();
            (sender, readers)
        });
        bench.iter_custom(|rounds| {
            sender.tidy();
            let start = CpuTime.start();
            for _ in 0..rounds {
                sender.send();
                readers.wait();
            }
            CpuTime.end(start)
        });
    });
}

fn main() {
    if Readers::be_if_asked() {
        return;
    }
    let most = CONNECTIONS.into_iter().max().unwrap_or_default() as u64 + OTHER_DESCRIPTORS;
    assert!(rlimit::increase_nofile_limit(most).unwrap() >= most, "too few descriptors are allowed");
    let mut criterion = Criterion::default().with_measurement(CpuTime).configure_from_args();
    let mut group = criterion.benchmark_group("socket_fanout");
    group.sample_size(20).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    group.sampling_mode(SamplingMode::Flat);
    for connections in CONNECTIONS {
        for events in EVENTS {
            let round = Round { connections, events };
            measure(&mut group, "engine", round, Engine::start);
            measure(&mut group, "tokio-tungstenite, feed and flush", round, Tungstenite::start);
            measure(&mut group, "bare writes", round, BareWrites::start);
        }
    }
    group.finish();
    criterion.final_summary();
}
