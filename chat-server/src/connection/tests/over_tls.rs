//! TLS takes bytes that it has not sent yet. What counts is what moves below it.

use tokio::sync::watch;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::{
    limits::{ANSWER_WAIT_MAX, TLS_BUFFER_BYTES},
    slow_tls,
};

/// The end of a connection, which begins when it has shaken hands.
struct Far {
    peer: TlsStream<DuplexStream>,
    /// How many bytes a second the network passes on to the peer.
    network: watch::Sender<usize>,
    task: JoinHandle<()>,
}

async fn connect(harness: &Harness) -> Far {
    let slow_tls::Ends { server, peer, network } = slow_tls::connect().await;
    let task = harness.serve(Some(Identity::new("ann").unwrap().into()), server);
    Far { peer, network, task }
}

/// So slow that what TLS holds takes far longer than any reader may stall.
const BYTES_PER_S: usize = 200;

#[tokio::test(start_paused = true)]
async fn a_slow_and_steady_reader_is_not_closed_while_tls_drains() {
    let harness = Harness::new().await;
    let Far { peer, network, task } = connect(&harness).await;
    let mut socket = WebSocketStream::from_raw_socket(peer, Role::Client, None).await;
    network.send(BYTES_PER_S).unwrap();
    socket.send(Message::text(r#"{"type":"join","room":"r"}"#)).await.unwrap();
    let (mut writer, _) = harness.client("bob").await;
    writer.send(Message::text(r#"{"type":"join","room":"r"}"#)).await.unwrap();
    let texts = 3 * TLS_BUFFER_BYTES / 4000;
    for _ in 0..texts {
        let text = "x".repeat(4000);
        writer.send(Message::text(format!(r#"{{"type":"send","room":"r","text":"{text}"}}"#))).await.unwrap();
    }
    let begun = Instant::now();
    for _ in 0..texts {
        while !socket.next().await.unwrap().unwrap().to_text().unwrap().contains("xxx") {}
    }
    let took = begun.elapsed();
    assert!(took.as_secs() > 2 * TLS_BUFFER_BYTES as u64 / BYTES_PER_S as u64, "it was slow: {took:?}");
    assert!(!task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_reader_to_whom_no_byte_moves_is_given_up_whatever_tls_still_takes() {
    let harness = Harness::new().await;
    let Far { mut peer, network, task } = connect(&harness).await;
    network.send(0).unwrap();
    let begun = Instant::now();
    peer.write_all(&frame(0x81, r#"{"type":"join","room":"r","id":1}"#)).await.unwrap();
    peer.flush().await.unwrap();
    task.await.unwrap();
    let took = begun.elapsed();
    assert!(took > PING_PERIOD && took >= STALL_MAX + CLOSE_WAIT_MAX, "{took:?}");
    assert!(took < STALL_MAX + 2 * CLOSE_WAIT_MAX, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_end_is_told_in_tls_too() {
    let harness = Harness::new().await;
    let Far { peer, network: _network, task } = connect(&harness).await;
    let mut socket = WebSocketStream::from_raw_socket(peer, Role::Client, None).await;
    let drain = harness.lifecycle().drain(Duration::from_secs(10));
    let ((), code) = tokio::join!(drain, closed(&mut socket));
    assert_eq!(code, 1001);
    // rustls fails a read whose end was not told.
    assert!(socket.next().await.is_none());
    let mut peer = socket.into_inner();
    let rest = peer.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(rest, 0);
    peer.shutdown().await.unwrap();
    task.await.unwrap();
}

/// Makes the server close, and reads its close frame.
async fn provoke_a_close(peer: &mut TlsStream<DuplexStream>) {
    peer.write_all(&frame(0x82, "x")).await.unwrap();
    peer.flush().await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|four| four[0] == 0x88 && four[2..] == 1003_u16.to_be_bytes()) {
        assert_ne!(peer.read_buf(&mut bytes).await.unwrap(), 0);
    }
    // The reason that stands behind the code.
    let _ = timeout(Duration::from_millis(1), peer.read_buf(&mut bytes)).await;
}

/// Many peers (Python's `asyncio` is one) can send nothing any more once they have heard of the end of our side.
#[tokio::test(start_paused = true)]
async fn under_tls_a_peer_can_answer_our_close_frame_before_our_side_ends() {
    let harness = Harness::new().await;
    let Far { mut peer, network: _network, task } = connect(&harness).await;
    provoke_a_close(&mut peer).await;
    let end = timeout(ANSWER_WAIT_MAX / 2, peer.read_u8()).await;
    assert!(end.is_err(), "it has not ended: {end:?}");
    let begun = Instant::now();
    peer.write_all(&frame(0x88, "\u{3}\u{7f}")).await.unwrap();
    peer.flush().await.unwrap();
    assert_eq!(peer.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    assert!(begun.elapsed() < Duration::from_millis(10), "at once");
    drop(peer);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn under_tls_our_side_ends_also_where_the_peer_does_not_answer() {
    let harness = Harness::new().await;
    let Far { mut peer, network: _network, task } = connect(&harness).await;
    let begun = Instant::now();
    provoke_a_close(&mut peer).await;
    assert_eq!(peer.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    let took = begun.elapsed();
    assert!(took >= ANSWER_WAIT_MAX && took < CLOSE_WAIT_MAX, "{took:?}");
    task.await.unwrap();
    assert!(begun.elapsed() >= CLOSE_WAIT_MAX, "the peer's end is waited for as long as ever");
}
