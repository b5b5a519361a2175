//! Too much of what is allowed.

use std::time::Duration;

use chat_server::{OpenAuth, RateLimit};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt, BufWriter},
    time::{Instant, timeout},
};

use super::{
    Stage, send,
    support::{
        Client, RawClient, TestServer,
        program::{DEADLINE, Home},
    },
};

const MESSAGES: &str = "/api/v1/rooms/r/messages";

/// Frames of so many commands, made from their number.
fn wire(numbers: std::ops::Range<u64>, command: impl Fn(u64) -> Value) -> Vec<u8> {
    numbers.flat_map(|n| super::masked(0x81, command(n).to_string().as_bytes())).collect()
}

/// Each of very many joins is answered: the first thousand are in, the others cost nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_in_a_thousand_rooms_and_no_more() {
    const ROOMS_MAX: u64 = 1000;
    const JOINS: u64 = 20_000;
    let home = Home::new();
    let program = home.start().await;
    let mut witness = Client::connect(program.address, "ann", None).await;
    witness.join("r").await;
    let peer = RawClient::connect(program.address, "eve").await;
    let before_bytes = program.memory_bytes("VmRSS");
    let (reading, writing) = peer.0.into_split();
    let joins = wire(0..JOINS, |n| json!({ "type": "join", "room": format!("room-{n}"), "id": n }));
    let flood = tokio::spawn(async move {
        let mut writing = BufWriter::new(writing);
        writing.write_all(&joins).await.unwrap();
        writing.flush().await.unwrap();
        writing.into_inner()
    });
    // Others are served meanwhile.
    for n in 0..100 {
        assert_eq!(witness.call(send(n, "still here")).await["type"], "ack");
    }
    let writing = async {
        let mut peer = Reading(reading);
        let (mut joined, mut forbidden) = (0, 0);
        while joined + forbidden < JOINS {
            let reply = peer.reply().await;
            match (reply["type"].as_str(), reply["code"].as_str()) {
                (Some("joined"), _) => joined += 1,
                (_, Some("forbidden")) => forbidden += 1,
                _ => panic!("{reply}"),
            }
        }
        assert_eq!((joined, forbidden), (ROOMS_MAX, JOINS - ROOMS_MAX));
        (peer, flood.await.unwrap())
    };
    let (reading, writing) = timeout(DEADLINE, writing).await.expect("each is answered");
    let mut peer = RawClient(reading.0.reunite(writing).unwrap());
    // No room was made that nobody could join.
    let rooms = program.metric("chat_rooms_active").await.unwrap();
    assert!((ROOMS_MAX..=ROOMS_MAX + 1).contains(&rooms), "{rooms}");
    assert_eq!(program.http("GET", "/api/v1/rooms/room-19999?user=ann", None).await.status, 404);
    let grown_bytes = program.memory_bytes("VmRSS").saturating_sub(before_bytes);
    assert!(grown_bytes < 32 << 20, "{grown_bytes} bytes more");
    // One left is one that may be joined.
    for (id, command, kind) in [(1, "leave", "left"), (2, "join", "joined"), (3, "join", "error")] {
        let room = format!("room-{}", if id == 1 { 0 } else { 10_000 + id });
        peer.say(&json!({ "type": command, "room": room, "id": id })).await;
        assert_eq!(peer.reply(id).await["type"], kind);
    }
}

/// The reading half of a connection.
struct Reading(tokio::net::tcp::OwnedReadHalf);

impl Reading {
    /// The next frame with an id.
    async fn reply(&mut self) -> Value {
        loop {
            let (_, payload) = super::support::read_frame(&mut self.0).await.expect("the connection is open");
            let frame: Value = serde_json::from_slice(&payload).unwrap();
            if frame["id"].is_number() {
                return frame;
            }
        }
    }
}

/// A server that lets a user send 20 a second, and 50 at once.
async fn limited() -> Stage {
    let limit = RateLimit::new(20, 50).unwrap();
    Stage::on(TestServer::start_as(|builder| builder.authenticator(OpenAuth).rate_limit(limit)).await).await
}

/// Reads on to the end: how often each reply came, by its type or code, and the close code.
async fn outcome(peer: &mut RawClient) -> (std::collections::BTreeMap<String, u64>, Option<u16>) {
    let mut count = std::collections::BTreeMap::new();
    while let Some((opcode, payload)) = peer.frame().await {
        if opcode == 8 {
            return (count, payload.first_chunk().copied().map(u16::from_be_bytes));
        }
        let frame: Value = serde_json::from_slice(&payload).unwrap();
        if frame["code"] == "rate_limited" {
            assert!((1..=1000).contains(&frame["retry_after_ms"].as_u64().unwrap()), "{frame}");
        }
        if frame["id"].is_number() {
            let name = frame["code"].as_str().or_else(|| frame["type"].as_str()).unwrap();
            *count.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    (count, None)
}

/// Asks until it is told to wait.
async fn is_limited(stage: &Stage, method: &str, body: Option<Value>) {
    for _ in 0..200 {
        let answer = stage.server.http(method, &format!("{MESSAGES}?user=ann"), body.clone()).await;
        if answer.status == 429 {
            assert_eq!(answer.error(), (429, "rate_limited".into()));
            return assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    panic!("{method} is not limited");
}

#[tokio::test]
async fn a_thousand_sends_a_second_are_refused_and_then_closed() {
    let mut stage = limited().await;
    let mut other = stage.server.connect("bob").await;
    other.join("r").await;
    let begun = Instant::now();
    stage.peer.0.write_all(&wire(0..1000, |n| send(n, "flood"))).await.unwrap();
    let (count, code) = outcome(&mut stage.peer).await;
    assert_eq!(code, Some(4029), "{count:?}");
    let earned = 50 + 20 * (begun.elapsed().as_secs() + 1);
    let sent = stage.get("/api/v1/rooms/r?user=bob").await.json()["last_seq"].as_u64().unwrap();
    assert!((50..=earned).contains(&sent), "{sent}");
    assert!(count["ack"] <= sent && count["rate_limited"] >= 200, "{count:?}");
    // It is the user that is limited, on HTTP too, and nobody else.
    is_limited(&stage, "POST", Some(json!({ "text": "x" }))).await;
    for n in 0..20 {
        assert_eq!(other.call(send(n, "calm")).await["type"], "ack");
    }
    let calm = stage.server.http("POST", &format!("{MESSAGES}?user=bob"), Some(json!({ "text": "x" }))).await;
    assert_eq!(calm.status, 201);
}

#[tokio::test]
async fn who_waits_as_told_is_let_on() {
    let mut stage = limited().await;
    let mut acks = 0;
    let mut n = 0;
    while acks < 70 {
        n += 1;
        let answer = stage.answer(&send(n, "x").to_string()).await;
        if answer["type"] == "ack" {
            acks += 1;
        } else {
            assert_eq!(answer["code"], "rate_limited");
            tokio::time::sleep(Duration::from_millis(answer["retry_after_ms"].as_u64().unwrap())).await;
        }
    }
    stage.finish(70).await;
}

#[tokio::test]
async fn floods_of_pages_and_of_nonsense_are_refused_too() {
    let history: fn(u64) -> Value = |n| json!({ "type": "history", "room": "r", "id": n });
    for (name, burst) in [("history", 50), ("unknown_command", 500), ("pong", 500)] {
        let command = match name {
            "history" => history,
            "pong" => |n| json!({ "type": "ping", "id": n }),
            _ => |n| json!({ "type": "no such thing", "id": n }),
        };
        let mut stage = limited().await;
        let begun = Instant::now();
        stage.peer.0.write_all(&wire(0..2000, command)).await.unwrap();
        let (count, code) = outcome(&mut stage.peer).await;
        assert_eq!(code, Some(4029), "{name} {count:?}");
        let earned = burst + burst * (begun.elapsed().as_secs() + 1);
        assert!(count.get(name).is_none_or(|passed| *passed <= earned), "{count:?}");
        let mut other = stage.server.connect("bob").await;
        other.join("r").await;
        assert_eq!(other.call(history(1)).await["type"], "history");
        assert_eq!(other.call(send(2, "calm")).await["type"], "ack");
    }
    let stage = limited().await;
    is_limited(&stage, "GET", None).await;
    assert_eq!(stage.get(&format!("{MESSAGES}?user=bob")).await.status, 200);
}
