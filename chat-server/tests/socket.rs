//! The socket: close codes, subprotocols, slow readers, bugs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use chat_core::{
    Draft, Identity,
    ids::RoomId,
    policy::{Denied, Policy},
};
use futures_util::StreamExt;
use serde_json::json;
use support::{Client, RawClient, TestServer, masked};
use tokio::{io::AsyncWriteExt, time::timeout};

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
