//! Promise 5: on the connection that sent it, an event is replaced by its ack, in its place.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    checker::{Log, Outcome, Try},
    load::{Load, Pour, gather},
    peer::{Peer, Wire},
    program::{Home, Program},
};

const ROOM: &str = "r";
const CONNECTIONS: usize = 6;
/// Sends of one connection.
const SENDS: u64 = 600;
/// Long enough that the room's live tail does not hold what is under way: connections fall off it and catch up, with
/// sends of their own on the way.
const TEXT_BYTES: usize = 2000;
const HTTP_SENDS: u64 = 40;

/// The same user sends over HTTP: nobody's connection has these as acks.
async fn send_over_http(program: &Program, user: &str) -> Log {
    let mut log = Log::default();
    for n in 0..HTTP_SENDS {
        let key = format!("http-{n}");
        let path = format!("/api/v1/rooms/{ROOM}/messages?user={user}");
        let body = json!({ "text": "over HTTP", "key": key });
        let first = program.http("POST", &path, Some(body.clone())).await;
        let again = program.http("POST", &path, Some(body)).await;
        assert_eq!((first.status, again.status), (201, 200));
        assert_eq!(first.json(), again.json());
        let (seq, at) = (first.json()["seq"].as_u64().unwrap(), first.json()["at"].as_u64().unwrap());
        let said = |outcome| Try { who: user.into(), room: ROOM.into(), key: key.clone(), outcome };
        log.tries.extend([said(Outcome::New { seq, at }), said(Outcome::Duplicate { seq, at })]);
    }
    log
}

/// All connections of one user send at once. Half of them come while the room is busy, and catch up with it while they
/// send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_own_acks_are_dense_on_each_connection_of_a_user() {
    let home = Home::new();
    let program = home.start().await;
    program.make_room("ann", ROOM, "public").await;
    // The room itself begins with its first member.
    let last = 1 + CONNECTIONS as u64 * SENDS + HTTP_SENDS;
    let load = Load::default();
    let mut connections = Vec::new();
    for n in 0..CONNECTIONS {
        let (address, load) = (program.address, load.clone());
        connections.push(tokio::spawn(async move {
            if n % 2 == 1 {
                load.reach(SENDS * n as u64 / 2).await;
            }
            let mut peer = Peer::connect(address, "ann", Wire::nth(n / 2)).await;
            // No pause between the join and the first sends.
            peer.ask(json!({ "type": "join", "room": ROOM, "after": 0 })).await;
            let pour = Pour { most: SENDS, unanswered_max: 300, text: "x".repeat(TEXT_BYTES) };
            load.pour(&mut peer, ROOM, &pour).await;
            peer.hear_to(ROOM, last).await;
            peer.log()
        }));
    }
    let over_http = send_over_http(&program, "ann").await;
    let mut log = gather(connections).await;
    for reading in &log.readings {
        assert_eq!(
            (reading.after, reading.places.len() as u64),
            (0, last),
            "the whole timeline, from its start"
        );
    }
    log.extend(over_http);
    let kept = program.timeline("ann", ROOM).await;
    assert_eq!(kept[ROOM].len() as u64, last);
    log.assert_sound(&kept);
}

/// What a connection is shown as an event, by key.
async fn events_up_to(peer: &mut Peer, seq: u64) -> Vec<Value> {
    let mut events = Vec::new();
    while peer.position(ROOM) < seq {
        let frame = peer.next().await;
        events.extend((frame["type"] == "message").then_some(frame));
    }
    events
}

#[tokio::test]
async fn only_the_connection_that_sent_it_has_the_ack_in_place_of_the_event() {
    for wire in Wire::BOTH {
        let home = Home::new();
        let program = home.start().await;
        let mut one = Peer::connect(program.address, "ann", wire).await;
        let mut other = Peer::connect(program.address, "ann", wire).await;
        one.join(ROOM).await;
        other.join(ROOM).await;
        for _ in 0..20 {
            one.say(ROOM, "hello").await;
        }
        assert_eq!(events_up_to(&mut one, 20).await, [] as [Value; 0]);
        assert_eq!(events_up_to(&mut other, 20).await.len(), 20);
        // Where it was not joined when it was committed, it comes as an event: left, and joined again.
        one.call(json!({ "type": "leave", "room": ROOM })).await;
        one.join_after(ROOM, 0).await;
        assert_eq!(events_up_to(&mut one, 20).await.len(), 20);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_eight_connections_race_for_is_new_once() {
    const KEYS: usize = 100;
    let home = Home::new();
    let program = home.start().await;
    let mut racers = Vec::new();
    for n in 0..8 {
        let mut peer = Peer::connect(program.address, "ann", Wire::nth(n)).await;
        peer.join(ROOM).await;
        racers.push(peer);
    }
    let race = async |mut peer: Peer| {
        for key in 0..KEYS {
            peer.say_as(ROOM, &format!("key{key}"), "hello").await;
        }
        peer.hear_replies().await;
        peer.hear_to(ROOM, KEYS as u64).await;
        peer.log()
    };
    let log = gather(racers.into_iter().map(|peer| tokio::spawn(race(peer)))).await;
    let kept = program.timeline("ann", ROOM).await;
    assert_eq!((kept[ROOM].len(), log.new_acks(), log.tries.len()), (KEYS, KEYS, 8 * KEYS));
    // Each ack names the one place of its key, and each connection has it once, as an event or as its ack.
    log.assert_sound(&kept);
    let keys: BTreeSet<_> = log.tries.iter().map(|one| &one.key).collect();
    assert_eq!(keys.len(), KEYS);
    assert!(log.tries.iter().all(|one| !matches!(one.outcome, Outcome::Refused | Outcome::Unknown)));
}
