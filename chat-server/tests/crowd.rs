//! Too many connections: refused one by one, and nobody else is disturbed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use chat_core::policy::AllowAll;
use serde_json::json;
use support::{Answer, Client, TestServer, at_most, dial_from, upgrade_request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The answer to a request for `/healthz`, which is answered to everybody who gets in.
async fn knock(server: &TestServer, from: [u8; 4], header: &str) -> Answer {
    let mut stream = dial_from(from, server.address).await;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
    // A server that is full answers before it has read anything.
    let _ = stream.write_all(request.as_bytes()).await;
    Answer::read(&mut stream).await
}

/// The answer to an upgrade, and the connection if it became one.
async fn upgrade(server: &TestServer, header: &str) -> (Answer, TcpStream) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = upgrade_request(server.address, "ann");
    let request = format!("{}{header}\r\n", request.strip_suffix("\r\n").unwrap());
    stream.write_all(request.as_bytes()).await.unwrap();
    (Answer::read_head_only(&mut stream).await, stream)
}

/// Asks again until it is answered so: a place is free a moment after its connection has gone.
async fn until(status: u16, mut ask: impl AsyncFnMut() -> u16) {
    let asking = async { while ask().await != status {} };
    timeout(Duration::from_secs(5), asking).await.unwrap_or_else(|_| unreachable!("never {status}"));
}

#[tokio::test]
async fn a_thousand_silent_connections_leave_room_for_others() {
    let builder = TestServer::builder(AllowAll)
        .await
        .connections_max(at_most(2000))
        .connections_per_address(at_most(100));
    let server = TestServer::serve(builder.build()).await;
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let refused = knock(&server, [127, 0, 0, 1], "").await;
    assert_eq!(refused.error(), (429, "rate_limited".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("10"));
    assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
    let mut other = Client::connect_over(dial_from([127, 0, 0, 2], server.address).await, "bob", None).await;
    assert_eq!(other.join("r").await["type"], "joined");
    let ack = other.call(json!({ "type": "send", "room": "r", "text": "hello" })).await;
    assert_eq!(ack["type"], "ack");
    // Those that were one too many are closed, and say why; the first ones are still open.
    let mut last = silent.pop().unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(3), last.read_to_end(&mut answer)).await.expect("it is closed").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 429 "));
    drop(silent);
    until(200, async || knock(&server, [127, 0, 0, 1], "").await.status).await;
}

#[tokio::test]
async fn a_full_server_says_when_to_come_back() {
    let server =
        TestServer::serve(TestServer::builder(AllowAll).await.connections_max(at_most(3)).build()).await;
    let mut sockets = Vec::new();
    for user in ["ann", "bob", "cid"] {
        sockets.push(server.connect(user).await);
    }
    for from in [[127, 0, 0, 1], [127, 0, 0, 2]] {
        let refused = knock(&server, from, "").await;
        assert_eq!(refused.error(), (503, "overloaded".to_owned()));
        assert_eq!(refused.header("retry-after"), Some("5"));
        assert_eq!(refused.header("connection"), Some("close"));
    }
    for socket in &mut sockets {
        assert_eq!(socket.call(json!({ "type": "ping" })).await["type"], "pong");
    }
    // A socket holds its place to its end, and not a moment longer.
    sockets.pop().unwrap().socket.close(None).await.unwrap();
    until(200, async || knock(&server, [127, 0, 0, 1], "").await.status).await;
}

#[tokio::test]
async fn behind_a_proxy_each_clients_sockets_are_counted() {
    let builder = TestServer::builder(AllowAll).await.connections_per_address(at_most(2));
    let server =
        TestServer::serve(builder.trust_proxies(vec!["127.0.0.1/32".parse().unwrap()]).build()).await;
    let ann = "X-Forwarded-For: 203.0.113.1\r\n";
    let mut open = Vec::new();
    for _ in 0..2 {
        let (answer, stream) = upgrade(&server, ann).await;
        assert_eq!(answer.status, 101);
        open.push(stream);
    }
    let (answer, _) = upgrade(&server, ann).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("10")));
    let (answer, _) = upgrade(&server, "X-Forwarded-For: 203.0.113.1, 203.0.113.2\r\n").await;
    assert_eq!(answer.status, 101, "another client");
    for _ in 0..4 {
        assert_eq!(knock(&server, [127, 0, 0, 1], ann).await.status, 200, "requests are not counted");
    }
    drop(open);
    until(101, async || upgrade(&server, ann).await.0.status).await;
}

#[tokio::test]
async fn a_client_that_is_no_proxy_gets_no_other_address_by_saying_so() {
    let builder = TestServer::builder(AllowAll).await.connections_per_address(at_most(2));
    let server = TestServer::serve(builder.trust_proxies(vec!["10.0.0.0/8".parse().unwrap()]).build()).await;
    let (first, _held) = upgrade(&server, "X-Forwarded-For: 203.0.113.1\r\n").await;
    let (second, _held_too) = upgrade(&server, "X-Forwarded-For: 203.0.113.2\r\n").await;
    assert_eq!([first.status, second.status], [101, 101]);
    assert_eq!(knock(&server, [127, 0, 0, 1], "X-Forwarded-For: 203.0.113.3\r\n").await.status, 429);
    assert_eq!(knock(&server, [127, 0, 0, 2], "").await.status, 200);
}
