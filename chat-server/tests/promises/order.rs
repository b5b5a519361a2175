//! Promise 3: in a room everybody sees the same order.

use super::{
    load::{Load, Pour, gather},
    peer::{Peer, Wire},
    program::Home,
};

const ROOM: &str = "r";
const SENDERS: usize = 30;
const LATECOMERS: usize = 20;
/// Sends of one sender.
const SENDS: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_who_send_and_twenty_who_come_late_see_one_order() {
    let home = Home::new();
    let program = home.start().await;
    let last = SENDERS as u64 * SENDS;
    let load = Load::default();
    let mut clients = Vec::new();
    for n in 0..SENDERS {
        let mut peer = Peer::connect(program.address, &format!("user{n}"), Wire::nth(n)).await;
        peer.join(ROOM).await;
        let load = load.clone();
        clients.push(tokio::spawn(async move {
            let pour = Pour { most: SENDS, unanswered_max: 4, ..Pour::default() };
            load.pour(&mut peer, ROOM, &pour).await;
            peer.hear_to(ROOM, last).await;
            peer.log()
        }));
    }
    for n in 0..LATECOMERS {
        let (address, load) = (program.address, load.clone());
        let when = fastrand::u64(0..last);
        clients.push(tokio::spawn(async move {
            load.reach(when).await;
            let mut peer = Peer::connect(address, &format!("late{n}"), Wire::nth(n)).await;
            peer.join(ROOM).await;
            peer.hear_to(ROOM, last).await;
            peer.log()
        }));
    }
    let log = gather(clients).await;
    let kept = program.timeline("ann", ROOM).await;
    assert_eq!((kept[ROOM].len() as u64, log.new_acks() as u64), (last, last));
    log.assert_sound(&kept);
    assert!(log.readings.iter().all(|reading| reading.position() == last), "everybody came to the end");
}
