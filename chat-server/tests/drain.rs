//! The end of a server: in the test's process, and of the program by its signals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::{Answer, Client, TestServer};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

/// Sends to the room that it has joined, without a pause, until the connection ends. Returns the ids acked, and the close code.
async fn flood(client: Client<TcpStream>) -> (Vec<u64>, u16) {
    let (mut sink, mut stream) = client.socket.split();
    let writing = tokio::spawn(async move {
        for id in 1000.. {
            let send = json!({ "type": "send", "id": id, "room": "r", "text": "x", "key": id.to_string() });
            if sink.send(Message::text(send.to_string())).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    let mut acked = Vec::new();
    let code = loop {
        match stream.next().await.expect("a close frame comes before the end").unwrap() {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "ack" {
                    acked.push(frame["id"].as_u64().unwrap());
                }
            }
            Message::Close(frame) => break u16::from(frame.unwrap().code),
            _ => {}
        }
    };
    writing.abort();
    (acked, code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_answers_all_that_it_took() {
    let mut server = TestServer::start().await;
    let mut floods = Vec::new();
    for n in 0..8 {
        let mut client = server.connect(&format!("user{n}")).await;
        client.join("r").await;
        floods.push(tokio::spawn(flood(client)));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let engine = server.server.engine().clone();
    let begun = Instant::now();
    server.begin_drain();
    let mut acked_in_all = 0;
    for flood in floods {
        let (acked, code) = flood.await.unwrap();
        assert_eq!(code, 1001);
        // Answered in order, without a hole: so nothing that was taken went unanswered.
        assert!(acked.iter().copied().eq(1000..1000 + acked.len() as u64));
        acked_in_all += acked.len() as u64;
    }
    server.ended().await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let room = engine.room(&chat_core::Identity::new("ann").unwrap(), &"r".parse().unwrap()).await.unwrap();
    assert_eq!(room.room.last_seq.0, acked_in_all, "everything committed was acked");
}

#[tokio::test]
async fn a_draining_server_is_not_ready_and_takes_no_connection() {
    let mut server = TestServer::start().await;
    let address = server.address;
    let app = server.server.app();
    server.begin_drain();
    server.ended().await;
    TcpStream::connect(address).await.expect_err("nobody listens");
    let request = axum::http::Request::get("/readyz").body(axum::body::Body::empty()).unwrap();
    let answer = tower::ServiceExt::oneshot(app, request).await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
}

#[tokio::test]
async fn a_request_under_way_is_answered_in_a_drain() {
    let mut server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let body = r#"{"id":"r","name":"r","kind":"group","visibility":"public"}"#;
    let head = format!(
        "POST /api/v1/rooms?user=ann HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.begin_drain();
    tokio::time::sleep(Duration::from_millis(100)).await;
    stream.write_all(body.as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 201);
    timeout(Duration::from_secs(2), server.ended()).await.expect("the connection is not kept alive");
}

/// The program, started on a free port.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    async fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chat-server"))
            .args(["--listen", "127.0.0.1:0", "--database", "sqlite::memory:", "--degradation", "off"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().expect("it says where it listens");
        let address = line.strip_prefix("listening on http://").expect(&line).parse().unwrap();
        Self { child, address }
    }

    async fn signal(mut self, signal: &str) -> (ExitStatus, Duration) {
        let pid = self.child.id().unwrap().to_string();
        let begun = Instant::now();
        assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
        let status = timeout(Duration::from_secs(20), self.child.wait()).await.expect("it ends").unwrap();
        (status, begun.elapsed())
    }
}

#[tokio::test]
async fn the_program_ends_well_on_each_signal() {
    for signal in ["-TERM", "-INT"] {
        let program = Program::start(&[]).await;
        let mut client = Client::connect(program.address, "ann", None).await;
        client.join("r").await;
        let (ended, flooded) = tokio::join!(program.signal(signal), flood(client));
        assert_eq!(ended.0.code(), Some(0), "{signal}");
        assert_eq!(flooded.1, 1001, "{signal}");
        assert!(ended.1 < Duration::from_secs(4), "{signal}: {:?}", ended.1);
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_does_not_hold_the_program_up() {
    let program = Program::start(&["--drain-timeout", "2s"]).await;
    // It has joined a room in which there is much to read, and reads nothing.
    let mut silent = Client::connect(program.address, "bob", None).await;
    silent.join("r").await;
    let mut client = Client::connect(program.address, "ann", None).await;
    client.join("r").await;
    for _ in 0..500 {
        client.command(json!({ "type": "send", "room": "r", "text": "x".repeat(4000) })).await;
    }
    client.call(json!({ "type": "ping" })).await;
    let (status, took) = program.signal("-TERM").await;
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_millis(2200), "{took:?}");
}
