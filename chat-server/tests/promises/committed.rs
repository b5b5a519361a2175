//! Promises 1 and 2: an ack means committed, and nothing is shown before it is.

use tokio::task::JoinHandle;

use super::{
    checker::{Fault, Log, Outcome, Timelines, Try},
    load::{Load, gather},
    peer::{Peer, Wire},
    program::{Home, Program},
};

const ROOM: &str = "r";
const ROUNDS: u64 = 4;
const SENDERS: usize = 10;
/// Acks of one round before the server is killed; the senders do not pause for it.
const ACKS: u64 = 1500;

/// Users who only read, to the end of their connections.
async fn readers(program: &Program) -> Vec<JoinHandle<Log>> {
    let mut readers = Vec::new();
    for n in 0..4 {
        let mut peer = Peer::connect(program.address, &format!("reader{n}"), Wire::nth(n)).await;
        peer.join(ROOM).await;
        readers.push(tokio::spawn(peer.hear_out()));
    }
    readers
}

/// The epoch of the room, and its last number.
async fn room_now(program: &Program) -> (String, u64) {
    let room = program.http("GET", &format!("/api/v1/rooms/{ROOM}?user=ann"), None).await.json();
    (room["epoch"].as_str().unwrap().to_owned(), room["last_seq"].as_u64().unwrap())
}

/// What a join after nothing brings is the whole timeline.
async fn replay(program: &Program, wire: Wire, last_seq: u64) -> Log {
    let mut peer = Peer::connect(program.address, "ann", wire).await;
    let joined = peer.join_after(ROOM, 0).await;
    assert!(joined["last_seq"] == last_seq && joined["reset"] != true, "{joined}");
    peer.hear_to(ROOM, last_seq).await;
    let log = peer.log();
    assert_eq!(log.readings[0].places.len() as u64, last_seq);
    log
}

/// Sends again whatever nobody has settled. What was kept is a duplicate with its first number, the rest is new.
async fn settle(program: &Program, log: &Log, kept: &Timelines) -> Log {
    let mut settled = Log::default();
    let kept: Vec<_> = kept[ROOM].iter().map(|place| (&place.from, place.key.as_ref(), place.seq)).collect();
    for (who, _, key) in log.unsettled() {
        let mut peer = Peer::connect(program.address, &who, Wire::Single).await;
        peer.join(ROOM).await;
        let id = peer.say_as(ROOM, &key, "hello").await.unwrap();
        let ack = peer.reply(id).await;
        assert_eq!(ack["type"], "ack", "{ack}");
        let first = kept.iter().find(|(from, of, _)| **from == who && *of == Some(&key));
        assert_eq!(ack["duplicate"] == true, first.is_some(), "{ack}");
        assert!(first.is_none_or(|(_, _, seq)| ack["seq"] == *seq), "{ack}, not {first:?}");
        settled.extend(peer.log());
    }
    settled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acked_or_shown_is_there_once_after_each_kill() {
    is_there_once_after_each_kill(&Home::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acked_or_shown_is_there_once_after_each_kill_on_postgres() {
    is_there_once_after_each_kill(&Home::on_postgres()).await;
}

async fn is_there_once_after_each_kill(home: &Home) {
    let mut log = Log::default();
    let mut epoch = None;
    let mut resent = 0;
    for round in 0..ROUNDS {
        let program = home.start().await;
        let (load, mut clients) = Load::start(&program, ROOM, SENDERS).await;
        clients.extend(readers(&program).await);
        load.reach(ACKS + 97 * round).await;
        program.kill().await;
        log.extend(gather(clients).await);
        home.quiet().await;

        let program = home.start().await;
        let (now, last_seq) = room_now(&program).await;
        assert_eq!(epoch.get_or_insert_with(|| now.clone()), &now, "a crash changes no epoch");
        let kept = program.timeline("ann", ROOM).await;
        assert_eq!(kept[ROOM].len() as u64, last_seq);
        log.assert_sound(&kept);
        log.extend(replay(&program, Wire::nth(usize::try_from(round).unwrap()), last_seq).await);
        let settled = settle(&program, &log, &kept).await;
        resent += settled.tries.len();
        log.extend(settled);
        log.assert_sound(&program.timeline("ann", ROOM).await);
        assert_eq!(log.unsettled(), []);
        assert_nothing_refused(&log);
        program.kill().await;
    }
    println!("{} sends acked, {resent} in doubt over {ROUNDS} kills", log.new_acks());
    assert!(log.new_acks() as u64 >= ROUNDS * ACKS && resent > 0);
}

/// A store that works refuses nobody, and is never unavailable.
fn assert_nothing_refused(log: &Log) {
    let refused: Vec<&Try> = log.tries.iter().filter(|one| one.outcome == Outcome::Refused).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(log.unavailable, 0);
}

/// The judgement above, over what a real server said: it is red for each single fault.
#[tokio::test]
async fn one_fault_in_a_real_log_is_found() {
    let home = Home::new();
    let program = home.start().await;
    let (load, mut clients) = Load::start(&program, ROOM, 3).await;
    load.reach(1000).await;
    load.stop();
    let mut log = gather(clients.drain(..)).await;
    let kept = program.timeline("ann", ROOM).await;
    log.extend(replay(&program, Wire::Batch, kept[ROOM].len() as u64).await);
    log.assert_sound(&kept);
    let faults = |log: &Log, kept: &Timelines| -> Vec<Fault> {
        log.findings(kept).iter().map(|finding| finding.fault).collect()
    };
    let mut shorter = kept.clone();
    shorter.get_mut(ROOM).unwrap().pop();
    assert!(faults(&log, &shorter).contains(&Fault::Lost), "an ack before the commit");
    assert!(faults(&log, &shorter).contains(&Fault::Phantom), "an event before the commit");
    let mut dropped = log.clone();
    dropped.readings.last_mut().unwrap().places.remove(500);
    assert_eq!(faults(&dropped, &kept), [Fault::Gap]);
}
