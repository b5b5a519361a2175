//! Peers that take their time, in virtual time and over a pipe in memory.

use std::time::Duration;

use chat_core::{Engine, store::MemoryStore};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::*;
use crate::{
    OpenAuth, Server,
    limits::{BODY_WAIT_MAX, STALL_MAX},
    slow_tls::{self, both_ends},
};

/// Speaks on one end of a connection.
async fn spawn_on<S: Transport>(stream: S, scheme: Scheme) -> JoinHandle<()> {
    let engine = Engine::builder(MemoryStore::new()).build().await.unwrap();
    let server = Server::builder(engine).authenticator(OpenAuth).build();
    let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
    let permit = Arc::new(server.admission().connection(peer.ip(), server.proxies()).unwrap());
    tokio::spawn(async move {
        speak(stream, server.app(), Arrival { peer, scheme, permit }, server.lifecycle()).await;
    })
}

/// A connection of its own, and its other end.
async fn connect() -> (DuplexStream, JoinHandle<()>) {
    connect_over(1 << 16).await
}

/// The same, over a pipe that holds so many bytes each way.
async fn connect_over(pipe_bytes: usize) -> (DuplexStream, JoinHandle<()>) {
    let (far, near) = duplex(pipe_bytes);
    (far, spawn_on(near, Scheme::Http).await)
}

/// All that comes until the server closes, and how long that took.
async fn rest(far: &mut DuplexStream, since: Instant) -> (String, Duration) {
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).await.unwrap();
    (String::from_utf8(bytes).unwrap(), since.elapsed())
}

/// As timers go: to the millisecond, and one more.
fn assert_about(took: Duration, expected: Duration) {
    assert!(took >= expected && took < expected + Duration::from_millis(10), "{took:?}, not {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn who_sends_nothing_is_closed_at_the_limit() {
    let begun = Instant::now();
    let (mut far, task) = connect().await;
    let (answer, took) = rest(&mut far, begun).await;
    assert_eq!(answer, "");
    assert_about(took, HEAD_WAIT_MAX);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_byte_by_byte_is_not_waited_for() {
    let begun = Instant::now();
    let (mut far, task) = connect().await;
    for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\n" {
        if task.is_finished() {
            break;
        }
        far.write_all(&[*byte]).await.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    let (answer, took) = rest(&mut far, begun).await;
    assert_eq!(answer, "");
    assert!(took <= HEAD_WAIT_MAX + Duration::from_secs(1), "{took:?}");
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_was_answered_has_the_same_time_for_the_next_head() {
    let (mut far, task) = connect().await;
    sleep(HEAD_WAIT_MAX * 4 / 5).await;
    far.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    far.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let (_, took) = rest(&mut far, Instant::now()).await;
    assert_about(took, HEAD_WAIT_MAX);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_answered_408() {
    for head in ["Content-Length: 10\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n5\r\n{"] {
        let begun = Instant::now();
        let (mut far, _task) = connect().await;
        let request = format!(
            "POST /api/v1/rooms?user=ann HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}"
        );
        far.write_all(request.as_bytes()).await.unwrap();
        let (answer, took) = rest(&mut far, begun).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains(r#""error""#), "{answer}");
        assert_about(took, BODY_WAIT_MAX);
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_the_answer_does_not_hold_the_connection() {
    let begun = Instant::now();
    let (mut far, task) = connect_over(64).await;
    far.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    task.await.unwrap();
    assert_about(begun.elapsed(), STALL_MAX);
}

#[tokio::test(start_paused = true)]
async fn who_reads_the_answer_slowly_gets_all_of_it() {
    let (mut far, _task) = connect_over(64).await;
    far.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while far.read_buf(&mut answer).await.unwrap() > 0 {
        sleep(STALL_MAX / 2).await;
    }
    assert!(answer.ends_with(b"</html>\n"), "{}", String::from_utf8_lossy(&answer));
}

/// So slow that what TLS holds of the answer takes longer than any peer may stall.
const BYTES_PER_S: usize = 200;

#[tokio::test(start_paused = true)]
async fn who_reads_the_answer_slowly_gets_all_of_it_in_tls_too() {
    let slow_tls::Ends { server, mut peer, network } = slow_tls::connect().await;
    let _task = spawn_on(server, Scheme::Https).await;
    network.send(BYTES_PER_S).unwrap();
    let begun = Instant::now();
    peer.write_all(b"GET /view.js HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.unwrap();
    let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(&answer[body..], include_bytes!("../../web/view.js"));
    assert!(begun.elapsed() > STALL_MAX * 3 / 2, "it was slow: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_asks_on_and_reads_nothing_is_given_up_whatever_tls_still_takes() {
    let slow_tls::Ends { server, mut peer, network } = slow_tls::connect().await;
    let task = spawn_on(server, Scheme::Https).await;
    network.send(0).unwrap();
    let begun = Instant::now();
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    while !task.is_finished() {
        // The last one may find nobody.
        let _ = peer.write_all(request).await;
        let _ = peer.flush().await;
        sleep(HEAD_WAIT_MAX / 2).await;
    }
    let took = begun.elapsed();
    assert!(took > STALL_MAX && took < STALL_MAX + 2 * HEAD_WAIT_MAX, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_is_over_in_time_or_the_connection_is() {
    // Nothing, and the beginning of a record that promises 512 bytes.
    for bytes in [&[][..], &[22, 3, 1, 2, 0, 1]] {
        let (begun, (tls, _)) = (Instant::now(), both_ends());
        let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
        let (mut far, near) = duplex(1 << 16);
        far.write_all(bytes).await.unwrap();
        assert!(shake_hands(&tls, near, peer, &Lifecycle::default()).await.is_none());
        assert_about(begun.elapsed(), TLS_HANDSHAKE_WAIT_MAX);
        assert_eq!(rest(&mut far, begun).await.0, "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_no_handshake() {
    let (begun, (tls, _), lifecycle) = (Instant::now(), both_ends(), Lifecycle::default());
    let (_far, near) = duplex(1 << 16);
    let shaking = lifecycle.clone();
    lifecycle.spawn(async move {
        shake_hands(&tls, near, SocketAddr::from(([192, 0, 2, 1], 4711)), &shaking).await;
    });
    tokio::task::yield_now().await;
    lifecycle.drain(Duration::from_secs(10)).await;
    assert_about(begun.elapsed(), Duration::ZERO);
}
