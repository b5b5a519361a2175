//! What is told but not kept: presence, typing, read marks.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    peer::{Peer, Wire},
    program::{Home, Program},
};

const ROOM: &str = "r";
/// How soon a user who went is offline, as promised.
const OFFLINE_WAIT_MAX: Duration = Duration::from_secs(5);

async fn joined(program: &Program, user: &str, wire: Wire) -> Peer {
    let mut peer = Peer::connect(program.address, user, wire).await;
    peer.join(ROOM).await;
    peer
}

/// Everything without a number that comes before the reply to a ping, of these kinds.
async fn told(peer: &mut Peer, kinds: &[&str]) -> Vec<Value> {
    let id = peer.ask(json!({ "type": "ping" })).await.unwrap();
    let mut told = Vec::new();
    loop {
        let frame = peer.next().await;
        if frame["id"] == json!(id) {
            return told;
        }
        if kinds.contains(&frame["type"].as_str().unwrap()) {
            told.push(frame);
        }
    }
}

#[tokio::test]
async fn a_user_is_online_from_the_first_connection_to_soon_after_the_last() {
    let home = Home::new();
    let program = home.start().await;
    for wire in Wire::BOTH {
        let mut witness = joined(&program, "ann", wire).await;
        let first = joined(&program, "bob", wire).await;
        let online = witness.hear_until(|frame| frame["type"] == "presence").await;
        assert_eq!((&online["user"], &online["state"]), (&json!("bob"), &json!("online")));
        let mut second = Peer::connect(program.address, "bob", wire).await;
        let seen = second.join(ROOM).await;
        assert_eq!((&seen["online"], &seen["online_count"]), (&json!(["ann", "bob"]), &json!(2)));
        drop(first);
        // One of two went: nobody hears of it, however long they wait.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(told(&mut witness, &["presence"]).await, [] as [Value; 0]);
        drop(second);
        let begun = Instant::now();
        let offline = witness.hear_until(|frame| frame["type"] == "presence").await;
        assert_eq!((&offline["user"], &offline["state"]), (&json!("bob"), &json!("offline")));
        assert!(begun.elapsed() < OFFLINE_WAIT_MAX, "{:?}", begun.elapsed());
        drop(witness);
        program.wait_for_metric("chat_rooms_active", |rooms| rooms == 0).await;
    }
}

#[tokio::test]
async fn typing_is_for_others_and_not_for_the_users_own_connections() {
    let home = Home::new();
    let program = home.start().await;
    let mut other = joined(&program, "ann", Wire::Single).await;
    let mut typist = joined(&program, "bob", Wire::Batch).await;
    let mut own = joined(&program, "bob", Wire::Single).await;
    let reply = typist.call(json!({ "type": "typing", "room": ROOM })).await;
    assert_eq!(reply["type"], "ok", "a command with an id has a reply");
    let typing = other.hear_until(|frame| frame["type"] == "typing").await;
    assert_eq!(typing, json!({ "type": "typing", "room": ROOM, "user": "bob" }));
    for peer in [&mut typist, &mut own] {
        assert_eq!(told(peer, &["typing"]).await, [] as [Value; 0]);
    }
    // Many in a second are one.
    for _ in 0..20 {
        typist.call(json!({ "type": "typing", "room": ROOM })).await;
    }
    assert!(told(&mut other, &["typing"]).await.len() <= 2);
    // It has no place in the timeline.
    assert_eq!(program.events("ann", ROOM).await, [] as [Value; 0]);
}

#[tokio::test]
async fn a_read_mark_moves_forward_never_past_the_end_and_is_told_to_the_others() {
    let home = Home::new();
    let program = home.start().await;
    let mut other = joined(&program, "ann", Wire::Single).await;
    let mut reader = joined(&program, "bob", Wire::Batch).await;
    let mut own = joined(&program, "bob", Wire::Single).await;
    for _ in 0..10 {
        other.say(ROOM, "hello").await;
    }
    other.hear_replies().await;
    // Only the moves count: forward, and as far as there is something.
    for (seq, told_as) in [(4, 4), (2, 4), (1_000_000, 10)] {
        let reply = reader.call(json!({ "type": "read", "room": ROOM, "seq": seq })).await;
        assert_eq!(reply["type"], "ok");
        if seq == 2 {
            continue;
        }
        for peer in [&mut other, &mut own] {
            let mark = peer.hear_until(|frame| frame["type"] == "read").await;
            assert_eq!(mark, json!({ "type": "read", "room": ROOM, "user": "bob", "seq": told_as }));
        }
    }
    assert_eq!(told(&mut reader, &["read"]).await, [] as [Value; 0], "not to the connection that moved it");
    let room = async || program.http("GET", &format!("/api/v1/rooms/{ROOM}?user=bob"), None).await.json();
    let begun = Instant::now();
    while room().await["unread"] != 0 {
        assert!(begun.elapsed() < OFFLINE_WAIT_MAX, "the mark is kept soon");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
