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
