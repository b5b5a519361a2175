//! Two servers over one database on Postgres, with no bus between them.

use tokio::task::JoinHandle;

use super::{
    checker::{End, Log, Timelines},
    load::{Load, Pour, gather},
    peer::{Peer, Wire},
    program::{Home, Program},
};

const ROOMS: [&str; 3] = ["r0", "r1", "r2"];

/// Sends of each sender into each of its rooms.
const SENDS: u64 = 200;

/// A user who hears all rooms to their ends, which are told later.
async fn reader(program: &Program, user: &str, wire: Wire) -> Peer {
    let mut peer = Peer::connect(program.address, user, wire).await;
    for room in ROOMS {
        peer.join(room).await;
    }
    peer
}

/// A user of this server alone, who says so many things in one room.
async fn sender(program: &Program, user: String, room: &'static str, wire: Wire) -> JoinHandle<Log> {
    let mut peer = Peer::connect(program.address, &user, wire).await;
    peer.join(room).await;
    tokio::spawn(async move {
        let pour = Pour { most: SENDS, ..Pour::default() };
        Load::default().pour(&mut peer, room, &pour).await;
        peer.log()
    })
}

/// A user who is at both servers, and says the same there under the same keys.
async fn twin(program: &Program, room: &'static str, wire: Wire) -> JoinHandle<Log> {
    let mut peer = Peer::connect(program.address, "twin", wire).await;
    peer.join(room).await;
    tokio::spawn(async move {
        for n in 0..SENDS {
            peer.say_as(room, &format!("twin-{n}"), "the same").await.expect("the connection is open");
            // Some at a time, so that neither of them is far ahead of the other.
            if n % 8 == 7 {
                peer.hear_replies().await;
            }
        }
        peer.hear_replies().await;
        peer.log()
    })
}

async fn timelines(program: &Program) -> Timelines {
    let mut all = Timelines::new();
    for room in ROOMS {
        all.extend(program.timeline("ann", room).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_write_one_timeline_and_show_all_of_it() {
    let home = Home::on_postgres();
    let programs = [home.start().await, home.start().await];
    let (mut readers, mut clients) = (Vec::new(), Vec::new());
    for (n, program) in programs.iter().enumerate() {
        for wire in Wire::BOTH {
            readers.push(reader(program, &format!("reader-{n}-{wire:?}").to_lowercase(), wire).await);
        }
    }
    for (n, program) in programs.iter().enumerate() {
        for (m, room) in ROOMS.into_iter().enumerate() {
            clients.push(sender(program, format!("sender-{n}-{m}"), room, Wire::nth(n + m)).await);
            clients.push(twin(program, room, Wire::nth(m)).await);
        }
    }
    let mut log = gather(clients).await;
    let kept = timelines(&programs[0]).await;
    assert_eq!(timelines(&programs[1]).await, kept);
    for mut peer in readers {
        for room in ROOMS {
            peer.hear_to(room, kept[room].len() as u64).await;
        }
        log.extend(peer.log());
    }
    log.assert_sound(&kept);
    assert_eq!((log.unsettled(), log.unavailable), (Vec::new(), 0));
    // Both senders' and one time what both twins said.
    assert!(kept.values().all(|timeline| timeline.len() as u64 == 3 * SENDS), "{:?}", log.new_acks());
    let keys = log.tries.len() - log.new_acks();
    println!("{} acked, {keys} of them for the second time", log.tries.len());
    assert_eq!(keys as u64, ROOMS.len() as u64 * SENDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_servers_may_die() {
    let home = Home::on_postgres();
    let (dying, other) = (home.start().await, home.start().await);
    let mut witness = Peer::connect(other.address, "witness", Wire::Batch).await;
    witness.join(ROOMS[0]).await;
    let (load, clients) = Load::start(&dying, ROOMS[0], 4).await;
    let mut others = Vec::new();
    for n in 0..4 {
        others.push(sender(&other, format!("other{n}"), ROOMS[0], Wire::nth(n)).await);
    }
    load.reach(1000).await;
    dying.kill().await;
    let mut log = gather(others).await;
    assert_eq!((log.unsettled(), log.unavailable), (Vec::new(), 0), "nobody waits for the dead");
    log.extend(gather(clients).await);
    // Nothing of the dead server's is still under way: whoever sends now has the room's lock after it.
    let mut last = Peer::connect(other.address, "last", Wire::Single).await;
    last.join(ROOMS[0]).await;
    let id = last.say(ROOMS[0], "the last word").await.expect("the connection is open");
    let ack = last.reply(id).await;
    log.extend(last.log());
    witness.hear_to(ROOMS[0], ack["seq"].as_u64().unwrap()).await;
    log.extend(witness.log());
    log.assert_sound(&other.timeline("ann", ROOMS[0]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_removed_at_one_server_hears_nothing_more_at_the_other() {
    let home = Home::on_postgres();
    let (here, there) = (home.start().await, home.start().await);
    here.make_room("ann", "den", "private").await;
    here.add_member("ann", "den", "bob").await;
    let mut bob = Peer::connect(there.address, "bob", Wire::Single).await;
    bob.join_after("den", 0).await;
    let mut ann = Peer::connect(here.address, "ann", Wire::Single).await;
    ann.join_after("den", 0).await;
    ann.say("den", "for bob, too").await;
    ann.hear_replies().await;
    here.remove_member("ann", "den", "bob").await;
    ann.say("den", "without bob").await;
    ann.hear_replies().await;

    let left = bob.hear_until(|frame| frame["type"] == "left").await;
    assert_eq!(left["reason"], "removed", "{left}");
    let again = bob.call(serde_json::json!({ "type": "join", "room": "den" })).await;
    assert_eq!(again["code"], "not_found", "{again}");
    let kept = here.timeline("ann", "den").await;
    let events = here.events("ann", "den").await;
    let removal = events.iter().find(|event| event["change"] == "removed").unwrap();
    let mut log = bob.log();
    assert_eq!(log.readings[0].position(), removal["seq"].as_u64().unwrap());
    log.ends.push(End { who: "bob".into(), room: "den".into(), seq: removal["seq"].as_u64().unwrap() });
    log.extend(ann.log());
    log.assert_sound(&kept);
}
