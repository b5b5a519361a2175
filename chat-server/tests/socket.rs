//! The socket: close codes, subprotocols, slow readers, bugs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use chat_core::{
    Draft, Identity,
    ids::RoomId,
    policy::{Denied, Policy},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use support::{Client, RawClient, TestServer, masked};
use tokio::{io::AsyncWriteExt, net::TcpSocket, time::timeout};
use tokio_tungstenite::tungstenite::Message;

/// The close code after these bytes.
async fn close_code(server: &TestServer, bytes: &[u8]) -> Option<u16> {
    let mut client = RawClient::connect(server.address, "ann").await;
    client.0.write_all(bytes).await.unwrap();
    timeout(Duration::from_secs(3), client.close_code()).await.expect("it is closed at once")
}

#[tokio::test]
async fn each_broken_frame_has_its_close_code() {
    let server = TestServer::start().await;
    let text = |bytes: &[u8]| masked(0x81, bytes);
    let half = " ".repeat(40_000);
    let two = |a: Vec<u8>, b: Vec<u8>| [a, b].concat();
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("unmasked", vec![0x81, 1, b'x'], 1002),
        ("a reserved bit", masked(0xc1, b"x"), 1002),
        ("a reserved opcode", masked(0x83, b"x"), 1002),
        ("a reserved control opcode", masked(0x8b, b"x"), 1002),
        ("a continuation of nothing", masked(0x80, b"x"), 1002),
        ("a text within a text", two(masked(0x01, b"x"), text(b"y")), 1002),
        ("a fragmented ping", masked(0x09, b"x"), 1002),
        ("a long ping", masked(0x89, &[b'x'; 126]), 1002),
        ("half a close code", masked(0x88, &[3]), 1002),
        ("a close code that none may send", masked(0x88, &1005_u16.to_be_bytes()), 1002),
        ("an overlong character", text(&[0xc0, 0xaf]), 1007),
        ("a surrogate", text(&[0xed, 0xa0, 0x80]), 1007),
        ("beyond Unicode", text(&[0xf4, 0x90, 0x80, 0x80]), 1007),
        ("a lone continuation byte", text(&[0x80]), 1007),
        ("a character that never ends", two(masked(0x01, &[0xe2, 0x82]), masked(0x80, b"x")), 1007),
        ("a binary frame", masked(0x82, b"{}"), 1003),
        ("one byte too many", text(" ".repeat(65_537).as_bytes()), 1009),
        ("a length of 2^63", vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
        ("a length that only the header has", vec![0x81, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0], 1009),
        ("fragments that add up", two(masked(0x01, half.as_bytes()), masked(0x80, half.as_bytes())), 1009),
    ];
    for (what, bytes, code) in cases {
        assert_eq!(close_code(&server, &bytes).await, Some(code), "{what}");
    }
}

#[tokio::test]
async fn a_character_may_be_split_over_fragments() {
    let server = TestServer::start().await;
    let mut client = RawClient::connect(server.address, "ann").await;
    let command = "{\"type\":\"ping\",\"id\":1,\"x\":\"€\"}";
    let at = command.find('€').unwrap() + 1;
    let (head, tail) = command.as_bytes().split_at(at);
    client.0.write_all(&masked(0x01, head)).await.unwrap();
    client.0.write_all(&masked(0x89, b"between")).await.unwrap();
    client.0.write_all(&masked(0x80, tail)).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(client.frame().await.unwrap());
    }
    assert!(seen.iter().any(|(opcode, payload)| *opcode == 0xa && payload == b"between"));
    assert!(seen.iter().any(|(_, payload)| payload.starts_with(br#"{"type":"pong","id":1"#)));
}

#[tokio::test]
async fn a_close_is_answered_in_kind() {
    let server = TestServer::start().await;
    assert_eq!(close_code(&server, &masked(0x88, &1000_u16.to_be_bytes())).await, Some(1000));
    assert_eq!(close_code(&server, &masked(0x88, &4321_u16.to_be_bytes())).await, Some(4321));
    assert_eq!(close_code(&server, &masked(0x88, &[])).await, None);
    let mut client = server.connect("ann").await;
    client.socket.close(None).await.unwrap();
    while let Some(frame) = client.socket.next().await {
        frame.expect("an orderly end");
    }
}

#[tokio::test]
async fn both_subprotocols_carry_the_same_events() {
    let server = TestServer::start().await;
    let mut single = Client::connect(server.address, "ann", Some("chat.v1")).await;
    let mut batch = Client::connect(server.address, "bob", Some("chat.v1.batch")).await;
    assert_eq!(single.next().await["type"], "welcome");
    assert_eq!(batch.next().await[0]["type"], "welcome");
    single.join("r").await;
    batch.command(json!({ "type": "join", "room": "r" })).await;
    while batch.next().await[0]["type"] != "joined" {}
    for n in 0..50 {
        single.command(json!({ "type": "send", "room": "r", "text": n.to_string() })).await;
    }
    let mut texts = Vec::new();
    while texts.len() < 50 {
        let frame = batch.next().await;
        let events = frame.as_array().expect("an array").iter();
        texts.extend(events.filter(|event| event["type"] == "message").map(|event| event["text"].clone()));
    }
    assert_eq!(texts, (0..50).map(|n| json!(n.to_string())).collect::<Vec<_>>());
}

/// A reader with a tiny window, and pings into the middle of everything: frames and pongs must not mix.
#[tokio::test]
async fn partial_writes_and_pongs_stay_whole() {
    const MESSAGES: usize = 3000;
    let server = TestServer::start().await;
    let mut writer = server.connect("ann").await;
    writer.join("r").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(server.address).await.unwrap();
    let mut reader = Client::connect_over(stream, "bob", None).await;
    reader.join("r").await;
    let writing = tokio::spawn(async move {
        for n in 0..MESSAGES {
            let text = format!("{n} {}", "x".repeat(n % 700));
            writer.command(json!({ "type": "send", "room": "r", "text": text })).await;
            if n % 100 == 99 {
                while writer.next().await["type"] != "ack" {}
            }
        }
        while writer.socket.next().await.is_some() {}
    });
    let (mut pings, mut next) = (0, 0);
    while next < MESSAGES {
        if next >= pings * 30 && pings < 100 {
            pings += 1;
            reader.socket.send(Message::Ping(vec![b'p'; 100].into())).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        match reader.socket.next().await.unwrap().expect("the stream is whole") {
            Message::Text(text) => {
                let event: serde_json::Value = serde_json::from_str(&text).unwrap();
                if event["type"] == "message" {
                    let text = event["text"].as_str().unwrap();
                    assert_eq!(text, format!("{next} {}", "x".repeat(next % 700)));
                    next += 1;
                }
            }
            Message::Pong(payload) => assert_eq!(payload.len(), 100),
            other => panic!("{other:?}"),
        }
    }
    drop(server);
    writing.abort();
}

/// A policy with a bug.
#[derive(Debug)]
struct Panics;

impl Policy for Panics {
    fn may_send(&self, _: &Identity, _: &RoomId, draft: Draft) -> Result<Draft, Denied> {
        assert_ne!(&*draft.text, "boom", "planted");
        Ok(draft)
    }
}

#[tokio::test]
async fn a_bug_ends_one_connection_and_no_other() {
    let server = TestServer::start_with(Panics).await;
    let mut victim = server.connect("ann").await;
    let mut other = server.connect("bob").await;
    victim.join("r").await;
    other.join("r").await;
    victim.command(json!({ "type": "send", "room": "r", "text": "boom" })).await;
    assert_eq!(u16::from(victim.closed().await.code), 1011);
    let ack = other.call(json!({ "type": "send", "room": "r", "text": "fine" })).await;
    assert_eq!(ack["type"], "ack");
}

#[tokio::test]
async fn a_peer_that_just_goes_is_seen_to_go() {
    let server = TestServer::start().await;
    let mut watcher = server.connect("ann").await;
    watcher.join("r").await;
    for reset in [false, true] {
        let mut client = RawClient::connect(server.address, "bob").await;
        client.0.write_all(&masked(0x81, br#"{"type":"join","room":"r"}"#)).await.unwrap();
        while watcher.next().await["state"] != "online" {}
        if reset {
            client.0.set_zero_linger().unwrap();
        }
        drop(client);
        let offline = async { while watcher.next().await["state"] != "offline" {} };
        timeout(Duration::from_secs(2), offline).await.expect("presence follows");
    }
}
