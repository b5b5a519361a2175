//! Promise 4: a join with `after` gives exactly what comes after it, then what happens.

use super::{
    load::{Load, gather},
    peer::{Peer, Wire},
    program::Home,
};

const ROOM: &str = "r";
const SENDERS: usize = 6;
/// Users who come and go, and how often each does.
const READERS: usize = 10;
const JOINS: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_joins_of_a_busy_room_miss_nothing_and_get_nothing_twice() {
    let home = Home::new();
    let program = home.start().await;
    let (load, senders) = Load::start(&program, ROOM, SENDERS).await;
    load.reach(1000).await;
    let mut readers = Vec::new();
    for n in 0..READERS {
        let (address, load) = (program.address, load.clone());
        let seed = fastrand::u64(..);
        println!("reader {n} has seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        readers.push(tokio::spawn(async move {
            let mut peer = Peer::connect(address, &format!("reader{n}"), Wire::nth(n)).await;
            for _ in 0..JOINS {
                // From the very end, from far behind, and from the beginning.
                let acked = load.acked();
                let after = match random.u8(..4) {
                    0 => acked,
                    1 => acked - random.u64(..acked.min(50)),
                    _ => random.u64(..acked),
                };
                let joined = peer.join_after(ROOM, after).await;
                assert!(joined["reset"] != true, "{joined}, after {after}");
                let live = joined["last_seq"].as_u64().unwrap() + random.u64(20..200);
                peer.hear_to(ROOM, live).await;
                let left = peer.call(serde_json::json!({ "type": "leave", "room": ROOM })).await;
                assert_eq!(left["type"], "left");
                load.reach(load.acked() + random.u64(..50)).await;
            }
            peer.log()
        }));
    }
    let mut log = gather(readers).await;
    load.stop();
    log.extend(gather(senders).await);
    assert_eq!(log.readings.len(), SENDERS + READERS * JOINS);
    log.assert_sound(&program.timeline("ann", ROOM).await);
}

#[tokio::test]
async fn a_join_behind_the_end_or_of_another_epoch_is_told_so() {
    let home = Home::new();
    let program = home.start().await;
    let mut peer = Peer::connect(program.address, "ann", Wire::Single).await;
    peer.join(ROOM).await;
    for _ in 0..10 {
        peer.say(ROOM, "hello").await;
    }
    peer.hear_to(ROOM, 10).await;
    for (after, epoch, reset) in
        [(11, None, true), (10, None, false), (0, None, false), (10, Some("00"), true)]
    {
        let mut late = Peer::connect(program.address, "bob", Wire::Batch).await;
        let mut join = serde_json::json!({ "type": "join", "room": ROOM, "after": after });
        if let Some(epoch) = epoch {
            join["epoch"] = epoch.into();
        }
        let joined = late.call(join).await;
        assert_eq!(joined["reset"] == true, reset, "{joined}, after {after} of {epoch:?}");
        late.hear_to(ROOM, 10).await;
    }
}
