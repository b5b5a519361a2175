//! Connections in virtual time, over a pipe in memory.

mod over_tls;
mod sign_in;

use std::time::Duration;

use chat_core::{Engine, Identity, MissingRooms, WireSession, protocol::Codec, store::MemoryStore};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::{doorkeeper::Doorkeeper, *};
use crate::{
    Grant, Server, ServerBuilder,
    limits::{CLOSE_WAIT_MAX, FIN_WAIT_MAX, PING_PERIOD, PINGS_MISSED_MAX},
};

impl Transport for DuplexStream {}

struct Harness {
    server: Server,
}

impl Harness {
    async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    async fn with(set: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let engine =
            Engine::builder(MemoryStore::new()).missing_rooms(MissingRooms::Create { rooms_max: 10 });
        Self { server: set(Server::builder(engine.build().await.unwrap())).build() }
    }

    fn lifecycle(&self) -> &Lifecycle {
        self.server.lifecycle()
    }

    /// A connection whose socket holds so many bytes each way, and its other end.
    fn connect(&self, user: &str, pipe_bytes: usize) -> (DuplexStream, JoinHandle<()>) {
        let grant = Identity::new(user).unwrap().into();
        self.connect_as(Some(grant), pipe_bytes)
    }

    /// The same, of whoever has this grant; without one, of somebody who has yet to show a token.
    fn connect_as(&self, grant: Option<Grant>, pipe_bytes: usize) -> (DuplexStream, JoinHandle<()>) {
        let (peer, stream) = duplex(pipe_bytes);
        (peer, self.serve(grant, stream))
    }

    /// A connection over this stream.
    fn serve<S: Transport>(&self, grant: Option<Grant>, stream: S) -> JoinHandle<()> {
        let doorkeeper = Doorkeeper::new(self.server.clone(), Codec::Single, grant);
        let settings = Settings {
            message_bytes_max: 65_536,
            lifecycle: self.lifecycle().clone(),
            permit: SocketPermit::default(),
        };
        tokio::spawn(Connection::new(stream, Bytes::new(), doorkeeper, settings))
    }

    async fn client(&self, user: &str) -> (WebSocketStream<DuplexStream>, JoinHandle<()>) {
        let (peer, task) = self.connect(user, 1 << 20);
        (WebSocketStream::from_raw_socket(peer, Role::Client, None).await, task)
    }
}

/// Reads on to the close frame: its code, and when it came.
async fn closed<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> u16 {
    loop {
        if let Message::Close(frame) = socket.next().await.unwrap().unwrap() {
            return frame.unwrap().code.into();
        }
    }
}

/// A client's text frame, masked with zeroes; `first` is its first byte.
fn frame(first: u8, payload: &str) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[first, 0x80 | length, 0, 0, 0, 0], payload.as_bytes()].concat()
}

#[tokio::test(start_paused = true)]
async fn a_reader_to_whom_no_byte_moves_is_closed_as_too_slow() {
    let harness = Harness::new().await;
    let begun = Instant::now();
    let (mut peer, task) = harness.connect("ann", 256);
    let history = r#"{"type":"join","room":"r","id":1}"#;
    peer.write_all(&frame(0x81, history)).await.unwrap();
    // The welcome and the reply fill the pipe; then the peer begins to read, just before it would be reset.
    sleep(STALL_MAX + CLOSE_WAIT_MAX / 2).await;
    assert!(!task.is_finished());
    let mut socket = WebSocketStream::from_raw_socket(peer, Role::Client, None).await;
    assert_eq!(closed(&mut socket).await, 4008, "after whole frames only");
    drop(socket);
    task.await.unwrap();
    assert!(begun.elapsed() < STALL_MAX + CLOSE_WAIT_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_never_reads_again_is_let_go_after_the_close_wait() {
    let harness = Harness::new().await;
    let begun = Instant::now();
    let (mut peer, task) = harness.connect("ann", 256);
    peer.write_all(&frame(0x81, r#"{"type":"join","room":"r","id":1}"#)).await.unwrap();
    task.await.unwrap();
    let took = begun.elapsed();
    assert!(took >= STALL_MAX + CLOSE_WAIT_MAX && took < STALL_MAX + 2 * CLOSE_WAIT_MAX, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_closed_as_unresponsive() {
    let harness = Harness::new().await;
    let begun = Instant::now();
    // A raw peer: tungstenite's would answer the pings.
    let (mut peer, task) = harness.connect("ann", 1 << 20);
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes.windows(2).filter(|two| *two == [0x89, 0]).count(), usize::from(PINGS_MISSED_MAX));
    assert!(bytes.windows(4).any(|four| four == [0x88, 14, 0x0f, 0xa9]), "code 4009");
    assert_eq!(begun.elapsed().as_secs(), 3 * PING_PERIOD.as_secs());
    drop(peer);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_stays() {
    let harness = Harness::new().await;
    let (mut socket, task) = harness.client("ann").await;
    let hour = Duration::from_hours(1);
    timeout(hour, async { while socket.next().await.is_some() {} })
        .await
        .expect_err("it is open after an hour");
    assert!(!task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_message_must_come_to_its_end() {
    let harness = Harness::new().await;
    let begun = Instant::now();
    let (mut peer, _task) = harness.connect("ann", 1 << 20);
    peer.write_all(&frame(0x01, "{")).await.unwrap();
    let mut socket = WebSocketStream::from_raw_socket(peer, Role::Client, None).await;
    assert_eq!(closed(&mut socket).await, 1008);
    assert_eq!(begun.elapsed().as_secs(), MESSAGE_WAIT_MAX.as_secs());
}

/// What has begun counts from its first byte on, also where that byte came together with the end of something else.
#[tokio::test(start_paused = true)]
async fn what_begins_in_the_packet_of_another_message_must_end_too() {
    let whole = frame(0x81, r#"{"type":"ping","id":1}"#);
    let header_only = &[0x81, 0xfe, 0xff, 0xff, 0, 0, 0, 0][..];
    for begun in [&frame(0x01, "{")[..], &frame(0x01, ""), header_only, &[0x89], &[0x81]] {
        let harness = Harness::new().await;
        let begun_at = Instant::now();
        let (mut peer, _task) = harness.connect("ann", 1 << 20);
        peer.write_all(&[&whole, begun].concat()).await.unwrap();
        let mut socket = WebSocketStream::from_raw_socket(peer, Role::Client, None).await;
        let code = timeout(2 * MESSAGE_WAIT_MAX, closed(&mut socket)).await;
        assert_eq!(code, Ok(1008), "{begun:x?}");
        assert_eq!(begun_at.elapsed().as_secs(), MESSAGE_WAIT_MAX.as_secs(), "{begun:x?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_control_frame_in_two_packets_leaves_nothing_unfinished() {
    for (first, payload) in [(0x89, "are you there"), (0x8a, "")] {
        let harness = Harness::new().await;
        let (mut peer, task) = harness.connect("ann", 1 << 20);
        let wire = frame(first, payload);
        let (head, tail) = wire.split_at(3);
        peer.write_all(head).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        peer.write_all(tail).await.unwrap();
        sleep(2 * MESSAGE_WAIT_MAX).await;
        assert!(!task.is_finished(), "{payload}");
        let mut bytes = vec![0; 4096];
        let read = peer.read(&mut bytes).await.unwrap();
        assert!(!bytes[..read].ends_with(b"policy"), "{payload}");
    }
}

#[tokio::test(start_paused = true)]
async fn empty_fragments_do_not_go_on_for_ever() {
    let harness = Harness::new().await;
    let (peer, _task) = harness.connect("ann", 1 << 20);
    let (reading, mut writing) = tokio::io::split(peer);
    let flood = tokio::spawn(async move {
        writing.write_all(&frame(0x01, "{")).await?;
        for _ in 0..1_000_000 {
            writing.write_all(&frame(0x00, "")).await?;
        }
        std::io::Result::Ok(writing)
    });
    let mut bytes = Vec::new();
    let mut reading = reading;
    reading.read_to_end(&mut bytes).await.unwrap();
    assert!(bytes.ends_with(b"\x03\xf0policy"), "code 1008");
    flood.abort();
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_is_stopped_and_a_few_are_answered() {
    let harness = Harness::new().await;
    let (mut socket, _task) = harness.client("ann").await;
    for _ in 0..100 {
        socket.feed(Message::Ping("x".into())).await.unwrap();
    }
    socket.flush().await.unwrap();
    while !matches!(socket.next().await.unwrap().unwrap(), Message::Pong(_)) {}
    for _ in 0..1000 {
        if socket.send(Message::Ping("x".into())).await.is_err() {
            break;
        }
    }
    assert_eq!(closed(&mut socket).await, 1008);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_just_goes_frees_everything_at_once() {
    let harness = Harness::new().await;
    let (mut peer, task) = harness.connect("ann", 1 << 20);
    peer.write_all(&frame(0x81, r#"{"type":"join","room":"r","id":1}"#)).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    peer.shutdown().await.unwrap();
    timeout(Duration::from_millis(50), task).await.expect("it ends").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_said_its_last_and_keeps_its_socket_is_let_go_soon() {
    let harness = Harness::new().await;
    let (mut peer, task) = harness.connect("ann", 1 << 20);
    peer.write_all(&frame(0x88, "\u{c}\u{1}")).await.unwrap();
    let begun = Instant::now();
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).await.unwrap();
    assert!(bytes.ends_with(b"\x88\x02\x0c\x01"), "the same code back, and our FIN");
    task.await.unwrap();
    assert!((FIN_WAIT_MAX..CLOSE_WAIT_MAX).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_drain_answers_what_has_arrived_and_says_so() {
    let harness = Harness::new().await;
    let (mut socket, task) = harness.client("ann").await;
    socket.feed(Message::text(r#"{"type":"join","room":"r","id":1}"#)).await.unwrap();
    for id in 2..=200 {
        let send = format!(r#"{{"type":"send","room":"r","id":{id},"text":"hello"}}"#);
        socket.feed(Message::text(send)).await.unwrap();
    }
    socket.flush().await.unwrap();
    let drain = harness.lifecycle().drain(Duration::from_secs(10));
    let read = async {
        let mut acks = 0;
        loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Text(text) => acks += usize::from(text.contains(r#""type":"ack""#)),
                Message::Close(frame) => return (acks, u16::from(frame.unwrap().code)),
                _ => {}
            }
        }
    };
    let ((), ended) = tokio::join!(drain, read);
    assert_eq!(ended, (199, 1001));
    // The connection was spawned by the test, so the drain did not wait for it.
    while socket.next().now_or_never().flatten().is_some() {}
    drop(socket);
    task.await.unwrap();
}

/// On a busy machine the drain comes to a connection before the runtime has looked at its socket.
#[tokio::test]
async fn a_drain_answers_what_the_runtime_has_not_heard_of_yet() {
    use std::io::{Read, Write};
    const COMMANDS: usize = 10;
    let harness = Harness::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let task = harness.serve(Some(Identity::new("ann").unwrap().into()), stream);
    peer.set_nonblocking(true).unwrap();
    // Until the welcome is there.
    while peer.peek(&mut [0]).is_err() {
        tokio::task::yield_now().await;
    }
    peer.set_nonblocking(false).unwrap();
    // Nothing is awaited from here until the drain has begun.
    peer.write_all(&frame(0x81, r#"{"type":"ping","id":1}"#).repeat(COMMANDS)).unwrap();
    harness.lifecycle().drain(Duration::from_secs(5)).await;
    let said = tokio::task::spawn_blocking(move || {
        let mut said = Vec::new();
        peer.read_to_end(&mut said).map(|_| said)
    });
    let said = said.await.unwrap().unwrap();
    let pongs = said.windows(6).filter(|six| six == b"\"pong\"").count();
    assert_eq!(pongs, COMMANDS);
    assert!(said.ends_with(b"\x03\xe9drain"), "code 1001");
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_while_the_session_takes_nothing_comes_to_its_end() {
    let harness = Harness::new().await;
    let (peer, task) = harness.connect("ann", 4096);
    let (mut reading, mut writing) = tokio::io::split(peer);
    let flood = tokio::spawn(async move {
        loop {
            writing.write_all(&frame(0x81, r#"{"type":"ping","id":1}"#)).await?;
        }
        #[expect(unreachable_code, reason = "gives the block its type")]
        std::io::Result::Ok(())
    });
    // Nothing is read, so the replies pile up to their bound.
    sleep(Duration::from_secs(1)).await;
    let drain = harness.lifecycle().drain(Duration::from_secs(10));
    let read = async {
        sleep(2 * ARRIVALS_WAIT_MAX).await;
        let mut bytes = Vec::new();
        // The flood may meet a reset.
        let _ = reading.read_to_end(&mut bytes).await;
        bytes
    };
    let ((), bytes) = tokio::join!(drain, read);
    assert!(bytes.ends_with(b"\x03\xe9drain"), "code 1001");
    flood.abort();
    task.await.unwrap();
}

/// What a connection may take in its task. tokio adds 112 bytes to it and rounds up to 128: this makes 1 KiB.
const TASK_BYTES_MAX: usize = 1024 - 112;

#[test]
fn a_connection_is_small() {
    // Thousands are idle at a time.
    let whole_bytes = size_of::<Connection<tokio::net::TcpStream, Doorkeeper>>();
    assert!(
        whole_bytes <= TASK_BYTES_MAX,
        "{whole_bytes}, of which the session {}",
        size_of::<WireSession>()
    );
}
