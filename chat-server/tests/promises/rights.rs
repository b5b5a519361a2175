//! Promise 7: nobody gets an event of a room after the one that ends their right to read it.

use serde_json::{Value, json};

use super::{
    checker::{End, Log, Reading},
    load::{Load, Pour, gather},
    peer::{Peer, Wire},
    program::{Home, Program},
};

const ROOM: &str = "r";

/// Asserts that to this user the room is one that does not exist.
async fn assert_no_such_room(program: &Program, peer: &mut Peer) {
    for command in [
        json!({ "type": "join", "room": ROOM, "after": 0 }),
        json!({ "type": "send", "room": ROOM, "text": "hello" }),
        json!({ "type": "history", "room": ROOM }),
        json!({ "type": "read", "room": ROOM, "seq": 1 }),
    ] {
        let reply = peer.call(command.clone()).await;
        assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!("not_found")), "{command}");
    }
    let path = format!("/api/v1/rooms/{ROOM}/messages?user={}", peer.user);
    assert_eq!(program.http("GET", &path, None).await.status, 404);
    let body = Some(json!({ "text": "hello" }));
    assert_eq!(program.http("POST", &path, body).await.status, 404);
}

/// The number of the newest event like this.
async fn seq_of(program: &Program, kind: &str, is_it: impl Fn(&Value) -> bool) -> u64 {
    let (events, _) = program.page("ann", ROOM, &format!("kinds={kind}")).await;
    events.iter().rev().find(|event| is_it(event)).unwrap()["seq"].as_u64().unwrap()
}

/// Hears on to the word that the room is left. Returns the reason.
async fn hear_left(peer: &mut Peer) -> String {
    let left = peer.hear_until(|frame| frame["type"] == "left").await;
    assert!(!peer.is_joined(ROOM));
    left["reason"].as_str().unwrap().to_owned()
}

/// Hears nothing of the room until the load has gone on for a while: [`Peer`] fails at an event of a room left.
async fn hear_nothing_more(load: &Load, peer: &mut Peer) {
    for _ in 0..5 {
        load.reach(load.acked() + 40).await;
        assert_eq!(peer.call(json!({ "type": "ping" })).await["type"], "pong");
    }
}

async fn member(program: &Program, user: &str, wire: Wire) -> Peer {
    program.add_member("ann", ROOM, user).await;
    let mut peer = Peer::connect(program.address, user, wire).await;
    peer.join(ROOM).await;
    peer
}

/// A private room, with so many who send there.
async fn busy_private_room(program: &Program, senders: usize) -> (Load, Vec<tokio::task::JoinHandle<Log>>) {
    program.make_room("ann", ROOM, "private").await;
    for n in 0..senders {
        program.add_member("ann", ROOM, &format!("sender{n}")).await;
    }
    let started = Load::start(program, ROOM, senders).await;
    started.0.reach(200).await;
    started
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_who_is_removed_or_banned_gets_nothing_after_that() {
    let home = Home::new();
    let program = home.start().await;
    let (load, senders) = busy_private_room(&program, 4).await;
    let mut log = Log::default();
    for (n, user) in ["bob", "cat", "dan", "eve"].into_iter().enumerate() {
        let mut peer = member(&program, user, Wire::nth(n)).await;
        let mut second = Peer::connect(program.address, user, Wire::nth(n + 1)).await;
        second.join_after(ROOM, 0).await;
        // It sends too: acks under way must not leave a hole either.
        for _ in 0..20 {
            peer.say(ROOM, "hello").await;
        }
        load.reach(load.acked() + 100).await;
        let reason = if user == "eve" { "banned" } else { "removed" };
        match reason {
            "banned" => program.set_member("ann", ROOM, user, "banned").await,
            _ => program.remove_member("ann", ROOM, user).await,
        }
        let seq =
            seq_of(&program, "member", |event| event["user"] == user && event["change"] == "removed").await;
        for mut peer in [peer, second] {
            assert_eq!(hear_left(&mut peer).await, reason, "{user} at {seq}");
            peer.hear_replies().await;
            hear_nothing_more(&load, &mut peer).await;
            assert_no_such_room(&program, &mut peer).await;
            let of_peer = peer.log();
            let position = of_peer.readings.last().map(Reading::position);
            assert_eq!(position, Some(seq), "{user} got what was before the end, and the end");
            log.extend(of_peer);
        }
        log.ends.push(End { who: user.to_owned(), room: ROOM.to_owned(), seq });
    }
    load.stop();
    log.extend(gather(senders).await);
    log.assert_sound(&program.timeline("ann", ROOM).await);
}

/// 40 MB behind, and what comes from the database ends where the right ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_who_is_removed_while_far_behind_is_caught_up_to_the_end_of_the_right_only() {
    let home = Home::new();
    let program = home.start().await;
    program.make_room("ann", ROOM, "private").await;
    let mut behind = member(&program, "bob", Wire::Batch).await;
    let mut writer = member(&program, "writer", Wire::Single).await;
    let load = Load::default();
    let long = Pour { most: 10_000, unanswered_max: 500, text: "x".repeat(4096) };
    load.pour(&mut writer, ROOM, &long).await;
    program.remove_member("ann", ROOM, "bob").await;
    let seq = seq_of(&program, "member", |event| event["change"] == "removed").await;
    load.pour(&mut writer, ROOM, &Pour { most: 500, ..long }).await;

    assert!(behind.position(ROOM) < 100, "nothing was read so far");
    assert_eq!(hear_left(&mut behind).await, "removed");
    assert_no_such_room(&program, &mut behind).await;
    let mut log = behind.log();
    assert_eq!(log.readings[0].position(), seq, "everything up to the end");
    log.ends.push(End { who: "bob".to_owned(), room: ROOM.to_owned(), seq });
    log.extend(writer.log());
    log.assert_sound(&program.timeline("ann", ROOM).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_room_that_becomes_private_ends_outsiders() {
    let home = Home::new();
    let program = home.start().await;
    program.make_room("ann", ROOM, "public").await;
    let mut insider = member(&program, "bob", Wire::Single).await;
    let mut log = Log::default();
    let mut outsiders = Vec::new();
    for n in 0..4 {
        let mut peer = Peer::connect(program.address, &format!("guest{n}"), Wire::nth(n)).await;
        peer.join_after(ROOM, 0).await;
        outsiders.push(peer);
    }
    let writer = member(&program, "writer", Wire::Batch).await;
    let load = Load::default();
    let writing = tokio::spawn({
        let (load, mut writer) = (load.clone(), writer);
        async move {
            load.pour(&mut writer, ROOM, &Pour::default()).await;
            writer.log()
        }
    });
    load.reach(300).await;
    let path = format!("/api/v1/rooms/{ROOM}?user=ann");
    let changed = program.http("PATCH", &path, Some(json!({ "visibility": "private" }))).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let seq = seq_of(&program, "room", |event| event["visibility"] == "private").await;
    for mut peer in outsiders {
        assert_eq!(hear_left(&mut peer).await, "removed");
        hear_nothing_more(&load, &mut peer).await;
        assert_no_such_room(&program, &mut peer).await;
        log.ends.push(End { who: peer.user.clone(), room: ROOM.to_owned(), seq });
        let of_peer = peer.log();
        assert_eq!(of_peer.readings[0].position(), seq);
        log.extend(of_peer);
    }
    load.stop();
    log.extend(gather([writing]).await);
    let kept = program.timeline("ann", ROOM).await;
    insider.hear_to(ROOM, kept[ROOM].len() as u64).await;
    log.extend(insider.log());
    log.assert_sound(&kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_made_again_under_the_same_id_has_nothing_of_the_old_one() {
    let home = Home::new();
    let program = home.start().await;
    program.make_room("ann", ROOM, "public").await;
    let path = format!("/api/v1/rooms/{ROOM}?user=ann");
    let mut peer = Peer::connect(program.address, "bob", Wire::Single).await;
    let mut behind = Peer::connect(program.address, "cat", Wire::Batch).await;
    let old_epoch = peer.join(ROOM).await["epoch"].clone();
    behind.join(ROOM).await;
    let long = Pour { most: 1000, unanswered_max: 200, text: "x".repeat(4096) };
    Load::default().pour(&mut peer, ROOM, &long).await;
    peer.say_as(ROOM, "key", "old").await;
    peer.hear_replies().await;
    let position = peer.position(ROOM);
    assert_eq!(program.http("DELETE", &path, None).await.status, 204);
    assert_eq!(hear_left(&mut peer).await, "closed");
    assert_no_such_room_at_all(&mut peer).await;

    program.make_room("ann", ROOM, "public").await;
    for after in [0, 1, position] {
        let mut peer = Peer::connect(program.address, "dan", Wire::Single).await;
        let join = json!({ "type": "join", "room": ROOM, "after": after, "epoch": old_epoch });
        let joined = peer.call(join).await;
        assert_eq!(joined["reset"], true, "{joined}");
        assert_ne!(joined["epoch"], old_epoch);
    }
    let joined = peer.join(ROOM).await;
    let first = joined["last_seq"].as_u64().unwrap() + 1;
    let id = peer.say_as(ROOM, "key", "new").await.unwrap();
    let ack = peer.reply(id).await;
    assert_eq!((&ack["seq"], &ack["duplicate"]), (&json!(first), &Value::Null), "a key of another room");
    // Who was far behind in the old room, and heard nothing of all this, is told that it is closed.
    assert_eq!(hear_left(&mut behind).await, "closed");
    behind.join_after(ROOM, 0).await;
    behind.hear_to(ROOM, first).await;
    for event in program.events("ann", ROOM).await {
        assert!(event["type"] != "message" || event["text"] == "new", "{event}");
    }
    let of_new = behind.log().readings.pop().unwrap();
    assert_eq!(of_new.places, program.timeline("ann", ROOM).await[ROOM]);
}

async fn assert_no_such_room_at_all(peer: &mut Peer) {
    let reply = peer.call(json!({ "type": "history", "room": ROOM })).await;
    assert_eq!(reply["code"], "not_found", "{reply}");
}
