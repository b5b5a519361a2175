//! Promise 6: a slow reader is caught up at a bounded cost, and delays nobody.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use super::{
    checker::{Log, Place, Timelines},
    load::{Load, Pour, gather},
    peer::{Peer, Wire},
    program::Home,
};

const ROOM: &str = "r";
const TEXT_BYTES: usize = 4096;
/// What is sent before memory is looked at for the first time: buffers and caches have their size then.
const WARM_UP: u64 = 400;
/// 100 MB of texts.
const UNREAD: u64 = 100_000_000 / TEXT_BYTES as u64;
/// What a reader of all that may cost.
const GROWTH_BYTES_MAX: u64 = 96 << 20;

/// Fills the room with so many long texts, over one connection: it hears acks in the place of what it sent.
async fn fill(address: SocketAddr, texts: u64) -> Log {
    let mut peer = Peer::connect(address, "sender", Wire::Batch).await;
    peer.join(ROOM).await;
    let pour = Pour { most: texts, unanswered_max: 500, text: "x".repeat(TEXT_BYTES) };
    Load::default().pour(&mut peer, ROOM, &pour).await;
    peer.log()
}

/// Reads a frame now and then, so that bytes move, until it is told to read on.
async fn read_a_trickle(peer: &mut Peer, until: impl Future<Output = ()>) {
    let mut until = std::pin::pin!(until);
    while tokio::time::timeout(Duration::from_millis(200), &mut until).await.is_err() {
        peer.next().await;
    }
}

/// The timeline as a reader got it who missed nothing.
fn kept_as_read_by(log: &Log, who: &str) -> Timelines {
    let reading = log.readings.iter().find(|reading| reading.who == who).unwrap();
    Timelines::from([(ROOM.to_owned(), reading.places.clone())])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_unread_cost_little_and_delay_nobody() {
    a_hundred_megabytes_unread(&Home::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_unread_cost_little_and_delay_nobody_on_postgres() {
    a_hundred_megabytes_unread(&Home::on_postgres()).await;
}

async fn a_hundred_megabytes_unread(home: &Home) {
    let program = home.start().await;
    let mut fast = Peer::connect(program.address, "fast", Wire::Single).await;
    let mut slow = Peer::connect(program.address, "slow", Wire::Batch).await;
    fast.join(ROOM).await;
    slow.join(ROOM).await;
    let mut log = fill(program.address, WARM_UP).await;
    fast.hear_to(ROOM, WARM_UP).await;
    slow.hear_to(ROOM, WARM_UP).await;
    let before_bytes = program.memory_bytes("VmRSS");

    let last = WARM_UP + UNREAD;
    let fast = tokio::spawn(async move {
        fast.hear_to(ROOM, last).await;
        fast.log()
    });
    let others = async {
        log.extend(fill(program.address, UNREAD).await);
        log.extend(gather([fast]).await);
    };
    read_a_trickle(&mut slow, others).await;
    // Everybody else has everything by now.
    let position = slow.position(ROOM);
    assert!(position < last / 2, "it is slow, and not at {position} of {last}");
    slow.hear_to(ROOM, last).await;
    let growth_bytes = program.memory_bytes("VmHWM").saturating_sub(before_bytes);
    println!("{last} texts, the slow reader at {position}: {} KiB more", growth_bytes >> 10);
    assert!(growth_bytes < GROWTH_BYTES_MAX, "{growth_bytes} bytes more than {before_bytes}");

    log.extend(slow.log());
    let kept = kept_as_read_by(&log, "fast");
    assert_eq!(kept[ROOM].len() as u64, last);
    log.assert_sound(&kept);
    // And all of that is what is kept.
    let (newest, _) = program.page("ann", ROOM, "limit=200").await;
    let newest: Vec<Place> = newest.iter().map(super::program::place).collect();
    assert!(kept[ROOM].ends_with(&newest));
}

/// Two who read nothing at all: one wakes up as soon as it was given up, the other long after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_to_whom_no_byte_moves_is_closed_and_freed() {
    const TEXTS: u64 = 2000;
    let home = Home::new();
    let program = home.start().await;
    let mut witness = Peer::connect(program.address, "witness", Wire::Single).await;
    let mut dozing = Peer::connect(program.address, "dozing", Wire::Single).await;
    let mut asleep = Peer::connect(program.address, "asleep", Wire::Batch).await;
    for peer in [&mut witness, &mut dozing, &mut asleep] {
        peer.join(ROOM).await;
    }
    let filling = tokio::spawn(fill(program.address, TEXTS));
    // They leave the room when they are given up; not a byte has to move to the witness for that.
    let mut offline = BTreeSet::new();
    while offline.len() < 2 {
        let gone = witness.hear_until(|frame| frame["state"] == "offline").await;
        let who = gone["user"].as_str().unwrap().to_owned();
        if who == "dozing" {
            while dozing.hear().await.is_some() {}
        }
        offline.extend(Some(who).filter(|who| who != "sender"));
    }
    assert!(offline.iter().eq(["asleep", "dozing"]));
    assert_eq!(witness.position(ROOM), TEXTS);
    assert_eq!(dozing.close_code, Some(4008));

    let mut log = filling.await.unwrap();
    program.wait_for_metric("chat_connections", |connections| connections <= 1).await;
    assert_eq!(program.metric("chat_connections_closed_total{reason=\"too_slow\"}").await, Some(2));
    assert_eq!(program.metric("chat_slow_consumers").await.unwrap_or(0), 0);
    while asleep.hear().await.is_some() {}
    assert_eq!(asleep.close_code, None, "it has been reset");

    // Each comes back to where it was.
    for gone in [dozing, asleep] {
        let (user, left_at) = (gone.user.clone(), gone.position(ROOM));
        assert!(left_at < TEXTS);
        log.extend(gone.log());
        let mut back = Peer::connect(program.address, &user, Wire::Batch).await;
        back.join_after(ROOM, left_at).await;
        back.hear_to(ROOM, TEXTS).await;
        log.extend(back.log());
    }
    log.extend(witness.log());
    log.assert_sound(&program.timeline("ann", ROOM).await);
}
