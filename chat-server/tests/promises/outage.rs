//! A Postgres that goes away: what is sent meanwhile is answered, nothing is lost or doubled, and all comes back by itself.

use std::time::Duration;

use chat_store::testing::PostgresServer;
use tokio::time::{Instant, sleep, timeout};

use super::{
    checker::Log,
    peer::{Peer, Wire},
    program::{DEADLINE, Home, Program},
};

const ROOM: &str = "r";

/// What is under way at once, when it goes and again when it is gone.
const SENDS: usize = 20;

/// An answer is promised within 5 s. The rest is for a machine that is busy.
const ANSWER_MAX: Duration = Duration::from_secs(10);

async fn readiness(program: &Program) -> u16 {
    let answer = program.http("GET", "/readyz", None).await;
    if answer.status == 503 {
        assert_eq!(answer.error(), (503, "unavailable".to_owned()));
    }
    answer.status
}

async fn returned(program: &Program) {
    let begun = Instant::now();
    while readiness(program).await != 200 {
        assert!(begun.elapsed() < DEADLINE, "it does not come back");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Says this many things at once.
async fn say(peer: &mut Peer, sends: usize) {
    for _ in 0..sends {
        peer.say(ROOM, "hello").await.expect("the connection is open");
    }
}

/// Everything that was said is answered, whatever the answer is.
async fn hear_answers(peers: &mut [Peer]) {
    for peer in peers {
        timeout(ANSWER_MAX, peer.hear_replies()).await.expect("what is sent is answered within 5 s");
    }
}

/// Says again what was answered with `unavailable`, under the same keys, as who said it. That may be the answer for a
/// moment still: until the store has told where the rooms end whose commits nobody knows of.
async fn settle(program: &Program, open: Vec<(String, String, String)>) -> Log {
    let mut settled = Log::default();
    for (who, room, key) in open {
        let mut peer = Peer::connect(program.address, &who, Wire::Single).await;
        peer.join(&room).await;
        let begun = Instant::now();
        loop {
            let id = peer.say_as(&room, &key, "hello").await.expect("the connection is open");
            let reply = peer.reply(id).await;
            if reply["type"] == "ack" {
                break;
            }
            assert_eq!(reply["code"], "unavailable", "{reply}");
            assert!(begun.elapsed() < DEADLINE, "it stays so");
            sleep(Duration::from_millis(50)).await;
        }
        settled.extend(peer.log());
    }
    settled
}

async fn goes_and_comes_back(leave: fn(&PostgresServer), come_back: fn(&PostgresServer)) {
    let server = PostgresServer::start();
    let home = Home::of(server.fresh_database());
    let program = home.start().await;
    let mut reader = Peer::connect(program.address, "reader", Wire::Single).await;
    reader.join(ROOM).await;
    let mut senders = Vec::new();
    for n in 0..4 {
        let mut peer = Peer::connect(program.address, &format!("sender{n}"), Wire::nth(n)).await;
        peer.join(ROOM).await;
        say(&mut peer, 1).await;
        peer.hear_replies().await;
        senders.push(peer);
    }
    assert_eq!(readiness(&program).await, 200);

    // Nobody knows what becomes of what is under way.
    for peer in &mut senders {
        say(peer, SENDS).await;
    }
    leave(&server);
    for peer in &mut senders {
        say(peer, SENDS).await;
    }
    hear_answers(&mut senders).await;
    assert_eq!(readiness(&program).await, 503);
    assert_eq!(program.http("GET", "/healthz", None).await.status, 200, "it is the store that is away");
    // What comes later does not wait as long as what came first.
    say(&mut senders[0], SENDS).await;
    hear_answers(&mut senders[..1]).await;

    come_back(&server);
    returned(&program).await;
    let mut log = Log::default();
    for peer in senders {
        log.extend(peer.log());
    }
    let unavailable = log.unavailable;
    assert!(unavailable >= 5 * SENDS, "only {unavailable} were answered so");
    let open = log.unsettled();
    assert_eq!(open.len(), unavailable, "each of them was said once");
    log.extend(settle(&program, open).await);
    assert_eq!(log.unsettled(), []);

    // The reader was there all the time: nothing was left out for it.
    let timeline = program.timeline("ann", ROOM).await;
    reader.hear_to(ROOM, timeline[ROOM].len() as u64).await;
    log.extend(reader.log());
    log.assert_sound(&timeline);
    println!("{} acked, {unavailable} of them after an outage", log.new_acks());
    assert_eq!(timeline[ROOM].len(), 4 + 4 * 2 * SENDS + SENDS);
    program.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_stopped_sends_are_unavailable_and_then_each_is_there_once() {
    goes_and_comes_back(PostgresServer::stop_answering, PostgresServer::answer_again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_dead_sends_are_unavailable_and_then_each_is_there_once() {
    goes_and_comes_back(PostgresServer::kill, PostgresServer::start_again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_shut_down_sends_are_unavailable_and_then_each_is_there_once() {
    goes_and_comes_back(PostgresServer::shut_down, PostgresServer::start_again).await;
}
