//! Bytes that are no WebSocket, or too much of one: each gets its close code, and nobody else notices.
//!
//! Whatever is sent, the close frame arrives, also where more was sent after it; the connection comes to an orderly end;
//! others go on. What takes minutes (a message that never ends, pings without a pong) is tried in virtual time, in
//! `src/connection/tests.rs`; a reader that does not read, in `tests/promises/slow_reader.rs`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod cases;
#[path = "../support/mod.rs"]
mod support;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use cases::{
    Case, all_cases, bad_closes, bad_texts, broken_frames, case, fragments, header, too_large, without_end,
};
use chat_server::limits::STALL_MAX;
use serde_json::{Value, json};
use support::{
    Client, RawClient, TestServer, masked,
    program::{DEADLINE, Home},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

/// How bytes are handed to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packets {
    One,
    EachByte,
}

/// Sends a case's bytes from a connection that is in a room, and then much more. Asks for an orderly end.
async fn attack(address: SocketAddr, case: &Case, packets: Packets) {
    let what = &case.what;
    let mut peer = RawClient::connect(address, "eve").await;
    peer.join("r").await;
    match packets {
        Packets::One => peer.0.write_all(&case.bytes).await.unwrap(),
        Packets::EachByte => {
            peer.0.set_nodelay(true).unwrap();
            for byte in &case.bytes {
                peer.0.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    }
    peer.0.write_all(&vec![0x5a; 100_000]).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    let code = timeout(DEADLINE, peer.ended()).await.unwrap_or_else(|_| panic!("{what}: no end"));
    assert_eq!(code, Some(case.code), "{what}, {packets:?}");
    // A reset may overtake a close frame on its way. After one nothing can be written.
    peer.0.write_all(b"z").await.unwrap_or_else(|e| panic!("{what}: no orderly end: {e}"));
}

/// Tries all these while somebody else talks.
async fn try_all(cases: Vec<Case>) {
    let server = TestServer::start().await;
    let mut witness = server.connect("ann").await;
    witness.join("r").await;
    for case in &cases {
        attack(server.address, case, Packets::One).await;
        if case.bytes.len() < 200 {
            attack(server.address, case, Packets::EachByte).await;
        }
        let ack = witness.call(json!({ "type": "send", "room": "r", "text": case.what })).await;
        assert_eq!(ack["type"], "ack", "after {}", case.what);
    }
    is_alone(&mut witness).await;
}

/// Waits until nobody else is in the room.
async fn is_alone(witness: &mut Client<TcpStream>) {
    let alone = async {
        while witness.join("r").await["online"] != json!(["ann"]) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(DEADLINE, alone).await.expect("the others are gone");
}

#[tokio::test]
async fn a_broken_frame_is_a_protocol_error() {
    try_all(broken_frames()).await;
}

#[tokio::test]
async fn a_close_that_none_may_send_is_a_protocol_error() {
    try_all(bad_closes()).await;
}

#[tokio::test]
async fn a_text_that_is_no_utf8_is_refused_as_that() {
    try_all(bad_texts()).await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_when_it_is_announced() {
    try_all(too_large()).await;
}

#[tokio::test]
async fn frames_without_end_are_too_many() {
    try_all(without_end()).await;
}

#[tokio::test]
async fn a_binary_frame_is_not_for_a_text_protocol() {
    let cut = [masked(0x02, b"{"), masked(0x80, b"}")].concat();
    try_all(vec![case("a binary", masked(0x82, b"{}"), 1003), case("a binary in two", cut, 1003)]).await;
}

#[tokio::test]
async fn a_good_close_is_answered_whatever_comes_after_it() {
    let server = TestServer::start().await;
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999_u16]
    {
        for reason in ["", "bye \u{20ac}"] {
            let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
            attack(server.address, &case("a close", masked(0x88, &payload), code), Packets::One).await;
        }
    }
    let mut peer = RawClient::connect(server.address, "eve").await;
    peer.0.write_all(&[masked(0x88, b""), vec![0x5a; 100_000]].concat()).await.unwrap();
    assert_eq!(peer.ended().await, None, "without a code");
}

#[tokio::test]
async fn good_characters_may_be_cut_anywhere() {
    const TEXT: &str = "a\u{0}é€\u{ffff}\u{fffd}😀\u{10ffff}z";
    let server = TestServer::start().await;
    let mut witness = server.connect("ann").await;
    witness.join("r").await;
    let mut peer = RawClient::connect(server.address, "bob").await;
    peer.join("r").await;
    peer.0.set_nodelay(true).unwrap();
    let command = json!({ "type": "send", "room": "r", "id": 2, "text": TEXT }).to_string();
    let command = command.as_bytes();
    let everywhere: Vec<_> = (1..command.len()).collect();
    let cuts = everywhere.iter().map(|cut| vec![*cut]).chain([everywhere.clone()]);
    for cuts in cuts {
        let wire = fragments(command, &cuts);
        if cuts.len() == 1 {
            peer.0.write_all(&wire).await.unwrap();
        } else {
            // Each byte a fragment, each byte of that a packet.
            for byte in wire {
                peer.0.write_all(&[byte]).await.unwrap();
            }
        }
        assert_eq!(peer.reply(2).await["type"], "ack", "{cuts:?}");
        let heard = loop {
            let event = witness.next().await;
            if event["type"] == "message" {
                break event;
            }
        };
        assert_eq!(heard["text"], TEXT, "{cuts:?}");
    }
}

#[tokio::test]
async fn a_message_of_the_largest_size_passes() {
    let server = TestServer::start().await;
    let mut peer = RawClient::connect(server.address, "bob").await;
    let mut text = br#"{"type":"ping","id":7}"#.to_vec();
    text.resize(65_536, b' ');
    peer.0.write_all(&masked(0x81, &text)).await.unwrap();
    assert_eq!(peer.reply(7).await["type"], "pong");
    // In fragments, and a ping between any two.
    let cuts: Vec<_> = (1..65_536).step_by(1000).collect();
    let wire = fragments(&text, &cuts);
    peer.0.write_all(&wire).await.unwrap();
    assert_eq!(peer.reply(7).await["type"], "pong");
}

#[tokio::test]
async fn pings_at_a_reasonable_pace_are_answered_and_a_flood_has_few_pongs() {
    let server = TestServer::start().await;
    let mut peer = RawClient::connect(server.address, "bob").await;
    peer.0.write_all(&masked(0x89, b"one")).await.unwrap();
    while peer.frame().await.unwrap() != (0xa, b"one".to_vec()) {}
    peer.0.write_all(&masked(0x89, b"many").repeat(100_000)).await.unwrap();
    let (mut pongs, mut last) = (0, 0);
    while let Some((opcode, _)) = peer.frame().await {
        pongs += usize::from(opcode == 0xa);
        last = opcode;
    }
    assert_eq!(last, 8, "a close frame is the last");
    assert!(pongs <= 500, "{pongs} pongs");
}

/// Whoever goes without a word, in the middle of whatever, is seen to go.
#[tokio::test]
async fn a_peer_that_just_goes_is_seen_to_go() {
    let server = TestServer::start().await;
    let mut watcher = server.connect("ann").await;
    watcher.join("r").await;
    let text = masked(0x81, br#"{"type":"ping"}"#);
    let middles =
        [&b""[..], &text[..1], &text[..5], &text[..9], &masked(0x01, b"{"), &masked(0x89, b"x")[..3]];
    for (n, middle) in middles.into_iter().enumerate() {
        for way in ["fin", "reset"] {
            let user = format!("{way}-{n}");
            let mut peer = RawClient::connect(server.address, &user).await;
            peer.join("r").await;
            peer.0.write_all(middle).await.unwrap();
            let kept = go(peer, way).await;
            let offline = async { while watcher.next().await != offline_of(&user) {} };
            timeout(DEADLINE, offline).await.expect("presence follows");
            if let Some(mut peer) = kept {
                assert_eq!(peer.close_code().await, None, "there is nobody to say it to");
            }
        }
    }
}

/// From whom nothing is read, as too much of theirs waits, is seen to go all the same.
#[tokio::test]
async fn a_peer_that_goes_while_its_commands_wait_is_seen_to_go() {
    let server = TestServer::start().await;
    let mut watcher = server.connect("ann").await;
    watcher.join("r").await;
    for _ in 0..20 {
        watcher.call(json!({ "type": "send", "room": "r", "text": "x".repeat(4096) })).await;
    }
    for way in ["fin", "reset"] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(server.address).await.unwrap();
        let mut peer = RawClient::over(stream, server.address, way).await;
        peer.join("r").await;
        // The answers to the first of these are more than the socket takes, and the last of them are not read.
        for id in 0..1200 {
            peer.say(&json!({ "type": "history", "room": "r", "id": id })).await;
        }
        let kept = go(peer, way).await;
        let offline = async { while watcher.next().await != offline_of(way) {} };
        timeout(STALL_MAX / 2, offline).await.expect("presence follows");
        drop(kept);
    }
}

/// Leaves without a word. What is kept of it is dropped by the caller.
async fn go(mut peer: RawClient, way: &str) -> Option<RawClient> {
    if way == "fin" {
        peer.0.shutdown().await.unwrap();
        return Some(peer);
    }
    peer.0.set_zero_linger().unwrap();
    None
}

fn offline_of(user: &str) -> Value {
    json!({ "type": "presence", "room": "r", "user": user, "state": "offline" })
}

/// The general rule, over everything above at once: the program lives, has closed what it says it closed, holds no
/// connection and no memory for what was announced, and has stored nothing that nobody was told is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_all_of_it_nothing_is_left_behind() {
    const ANNOUNCERS: usize = 200;
    let home = Home::new();
    let program = home.start_logging(&["--log", "debug"]).await;
    let mut witness = Client::connect(program.address, "ann", None).await;
    witness.join("r").await;
    let mut count = BTreeMap::new();
    for case in all_cases() {
        attack(program.address, &case, Packets::One).await;
        *count.entry(case.code).or_insert(0) += 1;
    }
    let (peak, size) = (program.memory_bytes("VmHWM"), program.memory_bytes("VmPeak"));
    // All of them at once, and none of them goes away.
    let mut announcers = Vec::new();
    for n in 0..ANNOUNCERS {
        let mut peer = RawClient::connect(program.address, "eve").await;
        peer.0.write_all(&header(0x81, 1 << (20 + n % 43))).await.unwrap();
        assert_eq!(peer.close_code().await, Some(1009));
        announcers.push(peer);
    }
    let grown = [program.memory_bytes("VmHWM") - peak, program.memory_bytes("VmPeak") - size];
    assert!(grown.iter().all(|bytes| *bytes < 32 << 20), "{grown:?}");
    drop(announcers);
    *count.entry(1009).or_insert(0) += ANNOUNCERS as u64;

    program.wait_for_metric("chat_connections", |connections| connections == 1).await;
    for (code, reason) in
        [(1002, "protocol_error"), (1007, "bad_utf8"), (1008, "policy"), (1009, "too_large")]
    {
        let metric = format!("chat_connections_closed_total{{reason=\"{reason}\"}}");
        assert_eq!(program.metric(&metric).await, count.get(&code).copied(), "{reason}");
    }
    let ack = witness.call(json!({ "type": "send", "room": "r", "text": "still here" })).await;
    assert_eq!(ack["seq"], 1, "nothing was stored before");
    assert!(!home.log().contains("panicked"), "{}", home.log());
}
