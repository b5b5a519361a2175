//! A server that has more to do than it can: what it leaves off, in which order, and that it comes back by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use chat_core::{
    After, Draft, Engine, Identity, Limits, MissingRooms, Strain,
    store::MemoryStore,
    testing::{Calls, Fault, FaultyStore},
};
use chat_server::{OpenAuth, Server, ServerBuilder, limits::LOOK_PERIOD};
use serde_json::{Value, json};
use support::{Client, TestServer, upgrade_request};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{advance, sleep, timeout},
};

/// A server that is as hard pressed as a test says, whatever the machine is. It refuses all sends where it refuses any.
async fn calm() -> TestServer {
    let mut limits = Limits::default();
    limits.strained_queue = 0;
    let missing = MissingRooms::Create { rooms_max: 100 };
    let engine = Engine::builder(MemoryStore::new()).limits(limits).missing_rooms(missing).build();
    let builder = Server::builder(engine.await.unwrap()).authenticator(OpenAuth);
    TestServer::serve(builder.endure_overload().build()).await
}

/// What a connection is told until the reply to a ping.
async fn told(client: &mut Client<TcpStream>) -> Vec<Value> {
    let ping = client.command(json!({ "type": "ping" })).await;
    let mut told = Vec::new();
    loop {
        let frame = client.next().await;
        if frame["id"] == ping {
            return told;
        }
        told.push(frame);
    }
}

#[tokio::test]
async fn new_sockets_are_refused_and_those_that_are_open_go_on() {
    let server = calm().await;
    let mut ann = server.connect("ann").await;
    ann.join("r").await;
    let metrics = chat_server::Metrics::install().unwrap();
    let refused = || metrics.render().contains("chat_connections_refused_total{reason=\"overloaded\"} 1");
    server.server.engine().set_strain(Strain::GatherLonger);
    drop(server.connect("bob").await);
    assert!(!refused());
    server.server.engine().set_strain(Strain::RefuseConnections);
    let answer = server.raw_http(&upgrade_request(server.address, "bob")).await;
    assert_eq!(answer.error(), (503, "overloaded".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert!(refused());
    let ack = ann.call(json!({ "type": "send", "room": "r", "text": "hello" })).await;
    assert_eq!(ack["type"], "ack", "{ack}");
    assert_eq!(server.http("GET", "/healthz", None).await.status, 200, "requests are answered");
    server.server.engine().set_strain(Strain::None);
    server.connect("bob").await;
}

#[tokio::test]
async fn a_send_is_refused_as_overloaded_and_acked_when_it_comes_again() {
    let server = calm().await;
    let (mut ann, mut bob) = (server.connect("ann").await, server.connect("bob").await);
    ann.join("r").await;
    bob.join("r").await;
    let send = json!({ "type": "send", "room": "r", "text": "hello", "key": "k1" });
    server.server.engine().set_strain(Strain::RefuseSends);
    let refused = ann.call(send.clone()).await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("overloaded")));
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{refused}");
    server.server.engine().set_strain(Strain::RefuseConnections);
    let ack = ann.call(send.clone()).await;
    assert_eq!((&ack["type"], &ack["seq"], &ack["duplicate"]), (&json!("ack"), &json!(1), &Value::Null));
    server.server.engine().set_strain(Strain::RefuseSends);
    assert_eq!(ann.call(send).await["code"], "overloaded", "it is not looked at");
    server.server.engine().set_strain(Strain::None);
    let heard = timeout(Duration::from_secs(10), async {
        loop {
            let frame = bob.next().await;
            if frame["type"] == "message" {
                return frame;
            }
        }
    });
    assert_eq!(heard.await.unwrap()["seq"], 1, "what was accepted is told");
    let told = told(&mut bob).await;
    assert!(told.iter().all(|frame| frame["type"] != "message"), "and nothing else: {told:?}");
}

#[tokio::test]
async fn typing_is_shed_first() {
    let server = calm().await;
    let (mut ann, mut bob) = (server.connect("ann").await, server.connect("bob").await);
    ann.join("r").await;
    bob.join("r").await;
    told(&mut bob).await;
    server.server.engine().set_strain(Strain::ShedEphemeral);
    assert_eq!(ann.call(json!({ "type": "typing", "room": "r" })).await["type"], "ok");
    let ack = ann.call(json!({ "type": "send", "room": "r", "text": "hello" })).await;
    assert_eq!(ack["type"], "ack");
    assert_eq!(bob.next().await["type"], "message", "typing would have come before it");
    server.server.engine().set_strain(Strain::None);
    assert_eq!(ann.call(json!({ "type": "typing", "room": "r" })).await["type"], "ok");
    assert_eq!(bob.next().await["type"], "typing");
}

/// A server whose clock and store the test has.
async fn serve(set: impl FnOnce(ServerBuilder) -> ServerBuilder) -> (Server, FaultyStore) {
    let store = FaultyStore::new(MemoryStore::new());
    let missing = MissingRooms::Create { rooms_max: 100 };
    let engine = Engine::builder(store.clone()).missing_rooms(missing).build().await.unwrap();
    (set(Server::builder(engine)).build(), store)
}

async fn start(server: &Server) {
    let running = server.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    tokio::spawn(async move { running.serve(listener, std::future::pending()).await });
}

fn say(engine: &Engine) -> JoinHandle<u64> {
    let (engine, ann) = (engine.clone(), Identity::new("ann").unwrap());
    tokio::spawn(async move {
        let sent = engine.send(&ann, &"r".try_into().unwrap(), Draft::text("hello")).await;
        sent.unwrap().seq.0
    })
}

/// Has a send wait so long for its commit, which then stands still: so long it is late. Returns what was sent.
async fn fall_behind(engine: &Engine, store: &FaultyStore, wait: Duration) -> [JoinHandle<u64>; 2] {
    let mut ann = engine.connect(Identity::new("ann").unwrap());
    ann.join("r", After::Live).await.unwrap();
    store.script(Calls::Appends, [Some(Fault::HoldBefore), Some(Fault::HoldBefore)]);
    let first = say(engine);
    while store.holding() < 1 {
        sleep(Duration::from_millis(1)).await;
    }
    let second = say(engine);
    sleep(wait).await;
    assert_eq!(engine.strain(), Strain::None, "a store that stands still is no overload");
    store.release(1);
    [first, second]
}

/// The levels at so many looks, one after the other.
async fn levels(server: &Server, looks: u32) -> Vec<Strain> {
    let mut levels = vec![server.engine().strain()];
    for _ in 0..looks {
        sleep(LOOK_PERIOD).await;
        levels.push(server.engine().strain());
    }
    levels.dedup();
    levels
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_behind_leaves_off_in_order_and_comes_back_by_itself() {
    let (server, store) = serve(|server| server).await;
    start(&server).await;
    let sent = fall_behind(server.engine(), &store, Duration::from_secs(5)).await;
    assert_eq!(levels(&server, 40).await, Strain::ALL);
    store.release_all();
    for (seq, sent) in (1..).zip(sent) {
        assert_eq!(sent.await.unwrap(), seq, "what was accepted is kept");
    }
    let mut down = levels(&server, 80).await;
    down.reverse();
    assert_eq!(down, Strain::ALL);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_endures_leaves_nothing_off() {
    let (server, store) = serve(ServerBuilder::endure_overload).await;
    start(&server).await;
    let _sent = fall_behind(server.engine(), &store, Duration::from_secs(5)).await;
    assert_eq!(levels(&server, 40).await, [Strain::None]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_server_that_others_hold_up_leaves_nothing_off() {
    let (server, _) = serve(|server| server).await;
    start(&server).await;
    for _ in 0..20 {
        // The look that is due meanwhile comes when all of it has passed; hardly any of it was the server's work.
        advance(LOOK_PERIOD + Duration::from_secs(3)).await;
        assert_eq!(levels(&server, 0).await, [Strain::None]);
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_dropped_leaves_nothing_off_any_more_and_another_may_begin() {
    let (server, store) = serve(|server| server).await;
    let _sent = fall_behind(server.engine(), &store, Duration::from_secs(5)).await;
    for _ in 0..2 {
        let watched = timeout(Duration::from_secs(10), async {
            tokio::join!(server.watch(), async {
                server.watch().await; // A second one at a time ends at once.
                assert_eq!(levels(&server, 20).await, Strain::ALL);
            })
        });
        assert!(watched.await.is_err());
        assert_eq!(server.engine().strain(), Strain::None);
    }
}
