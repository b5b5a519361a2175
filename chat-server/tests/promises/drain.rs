//! SIGTERM under load: every command that was taken is answered, and everything acked is there.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{
    checker::Outcome,
    load::{Load, gather},
    peer::{Peer, Wire},
    program::Home,
};

const ROOM: &str = "r";
/// The program's own default.
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(10);
/// Commands of a client that waits for no reply.
const BURST: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_answers_what_it_took_and_keeps_what_it_acked() {
    let home = Home::new();
    let program = home.start().await;
    let (load, senders) = Load::start(&program, ROOM, 8).await;
    load.reach(500).await;
    let mut bursts = Vec::new();
    for n in 0..4 {
        let mut peer = Peer::connect(program.address, &format!("burst{n}"), Wire::nth(n)).await;
        peer.join(ROOM).await;
        bursts.push(peer);
    }
    // Written in full before the signal, and not a reply read yet.
    for peer in &mut bursts {
        for _ in 0..BURST {
            peer.say(ROOM, "hello").await.unwrap();
        }
        peer.ask(json!({ "type": "history", "room": ROOM })).await.unwrap();
    }
    let begun = Instant::now();
    program.terminate().await;
    let mut log = gather(senders).await;
    for mut peer in bursts {
        while peer.hear().await.is_some() {}
        assert_eq!((peer.unanswered(), peer.close_code), (0, Some(1001)), "{}", peer.user);
        let of_peer = peer.log();
        assert_eq!(of_peer.new_acks(), BURST, "committed, every one");
        log.extend(of_peer);
    }
    assert_eq!(program.ended().await, Some(0));
    assert!(begun.elapsed() < DRAIN_WAIT_MAX, "{:?}", begun.elapsed());

    let program = home.start().await;
    let kept = program.timeline("ann", ROOM).await;
    log.assert_sound(&kept);
    // What was on its way at the signal is settled by its key.
    for (who, room, key) in log.unsettled() {
        let mut peer = Peer::connect(program.address, &who, Wire::Batch).await;
        peer.join(&room).await;
        let id = peer.say_as(&room, &key, "hello").await.unwrap();
        assert_eq!(peer.reply(id).await["type"], "ack");
        log.extend(peer.log());
    }
    assert_eq!(log.unsettled(), []);
    assert!(log.tries.iter().all(|one| one.outcome != Outcome::Refused), "a store that works refuses nobody");
    log.assert_sound(&program.timeline("ann", ROOM).await);
}

#[tokio::test]
async fn clients_of_a_drained_server_are_closed_with_1001_and_find_everything_when_they_come_back() {
    let home = Home::new();
    let program = home.start().await;
    let mut clients = Vec::new();
    for n in 0..6 {
        let mut peer = Peer::connect(program.address, &format!("user{n}"), Wire::nth(n)).await;
        peer.join(ROOM).await;
        peer.say(ROOM, "hello").await;
        peer.call(json!({ "type": "read", "room": ROOM, "seq": 1 })).await;
        clients.push(peer);
    }
    program.terminate().await;
    let mut positions = Vec::new();
    for peer in &mut clients {
        while peer.hear().await.is_some() {}
        assert_eq!(peer.close_code, Some(1001));
        positions.push(peer.position(ROOM));
    }
    assert_eq!(program.ended().await, Some(0));
    let program = home.start().await;
    for (peer, position) in clients.iter().zip(positions) {
        let mut back = Peer::connect(program.address, &peer.user, Wire::Single).await;
        let joined = back.join_after(ROOM, position).await;
        assert!(joined["reset"] != true, "{joined}");
        back.hear_to(ROOM, 6).await;
        // The read mark was written before the end: its own message and the first are read.
        let room = program.http("GET", &format!("/api/v1/rooms/{ROOM}?user={}", peer.user), None).await;
        assert!(room.json()["unread"].as_u64().unwrap() <= 5, "{room:?}");
    }
}
