//! The timeline reads the same in every direction, over the socket, over HTTP, and as a replay.

use serde_json::{Value, json};

use super::{
    peer::{Peer, Wire},
    program::{Home, Program},
};

const ROOM: &str = "r";

/// A room in which much was said, edited, deleted and reacted to. Returns how many events it has.
async fn lived_in(program: &Program, random: &mut fastrand::Rng) -> u64 {
    program.make_room("ann", ROOM, "public").await;
    let mut peers = Vec::new();
    for (n, user) in ["ann", "bob", "cat"].into_iter().enumerate() {
        let mut peer = Peer::connect(program.address, user, Wire::nth(n)).await;
        peer.join(ROOM).await;
        peers.push(peer);
    }
    let mut said: Vec<(usize, u64)> = Vec::new();
    for n in 0..400 {
        let who = random.usize(..peers.len());
        let old = said.get(random.usize(..=said.len())).copied();
        let (who, command) = match (random.u8(..6), old) {
            (0, Some((author, target))) => {
                (author, json!({ "type": "edit", "target": target, "text": format!("edited {n}") }))
            }
            (1, Some((author, target))) if n % 3 == 0 => {
                (author, json!({ "type": "delete", "target": target }))
            }
            (2, Some((_, target))) => {
                (who, json!({ "type": "react", "target": target, "emoji": "👍", "remove": random.bool() }))
            }
            (_, old) => {
                let reply_to = old.map(|(_, target)| target);
                (
                    who,
                    json!({ "type": "send", "text": format!("text {n}"), "meta": { "n": n }, "reply_to": reply_to }),
                )
            }
        };
        let mut command = command;
        command["room"] = json!(ROOM);
        let is_send = command["type"] == "send";
        let reply = peers[who].call(command).await;
        if is_send {
            said.push((who, reply["seq"].as_u64().unwrap()));
        }
    }
    for user in ["dan", "eve"] {
        program.add_member("ann", ROOM, user).await;
    }
    program.remove_member("ann", ROOM, "eve").await;
    let room = program.http("GET", &format!("/api/v1/rooms/{ROOM}?user=bob"), None).await.json();
    room["last_seq"].as_u64().unwrap()
}

/// All pages downwards, put in order.
async fn downwards(program: &Program, limit: usize) -> Vec<Value> {
    let (mut all, mut more) = program.page("bob", ROOM, &format!("limit={limit}")).await;
    while more {
        let before = &all[0]["seq"];
        let (events, has_more) = program.page("bob", ROOM, &format!("before={before}&limit={limit}")).await;
        assert!(!events.is_empty());
        more = has_more;
        all.splice(0..0, events);
    }
    all
}

async fn upwards(peer: &mut Peer, limit: usize) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let after = all.last().map_or_else(|| json!(0), |event| event["seq"].clone());
        let page =
            peer.call(json!({ "type": "history", "room": ROOM, "after": after, "limit": limit })).await;
        all.extend(page["events"].as_array().unwrap().iter().cloned());
        if page["more"] == false {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_directions_give_the_timeline_that_a_replay_gives() {
    let home = Home::new();
    let program = home.start().await;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let last = lived_in(&program, &mut fastrand::Rng::with_seed(seed)).await;
    let whole = program.events("bob", ROOM).await;
    assert!(whole.iter().map(|event| event["seq"].as_u64().unwrap()).eq(1..=last), "each number once");
    for wire in Wire::BOTH {
        let mut peer = Peer::connect(program.address, "bob", wire).await;
        peer.ask(json!({ "type": "join", "room": ROOM, "after": 0 })).await;
        let mut replayed = Vec::new();
        while replayed.len() < whole.len() {
            let frame = peer.next().await;
            replayed.extend(Some(frame).filter(|frame| frame["seq"].is_u64()));
        }
        assert_eq!(replayed, whole, "as it now is");
        for limit in [1, 7, 200] {
            assert_eq!(upwards(&mut peer, limit).await, whole);
        }
    }
    for limit in [1, 7, 200] {
        assert_eq!(downwards(&program, limit).await, whole);
    }
    let kinds = |kinds: &[&str]| -> Vec<Value> {
        whole.iter().filter(|event| kinds.contains(&event["type"].as_str().unwrap())).cloned().collect()
    };
    for (asked, of) in [("message", vec!["message"]), ("edited,deleted", vec!["edited", "deleted"])] {
        let (events, more) = program.page("bob", ROOM, &format!("after=0&limit=200&kinds={asked}")).await;
        let expected = kinds(&of);
        assert_eq!((&events[..], more), (&expected[..expected.len().min(200)], expected.len() > 200));
    }
    assert_nothing_deleted_is_shown(&whole);
}

/// A deleted text is nowhere, neither in its message nor in an edit of it.
fn assert_nothing_deleted_is_shown(events: &[Value]) {
    let deleted: Vec<&Value> =
        events.iter().filter(|event| event["type"] == "deleted").map(|event| &event["target"]).collect();
    assert!(!deleted.is_empty());
    for event in events {
        let is_deleted = deleted.contains(&&event["seq"]) && event["type"] == "message"
            || deleted.contains(&&event["target"]) && event["type"] == "edited";
        assert_eq!(event["deleted"] == true, is_deleted, "{event}");
        assert!(!is_deleted || event["text"].is_null(), "{event}");
    }
}
