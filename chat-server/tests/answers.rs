//! What holds for every answer: its headers, what a bug looks like, and who gets the figures.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::net::SocketAddr;

use axum::http::request::Parts;
use chat_core::{Identity, policy::AllowAll, rights::Role, store::BoxFuture};
use chat_server::{AuthError, Authenticator, Grant, Metrics, OpenAuth};
use support::{Answer, TestServer, at_most, dial_from, lines::Lines, raw_http, upgrade_request};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// A request on a connection that is closed after it.
async fn get(server: &TestServer, path: &str, lines: &str) -> Answer {
    server
        .raw_http(&format!("GET {path} HTTP/1.1\r\nHost: chat.test\r\nConnection: close\r\n{lines}\r\n"))
        .await
}

/// What is expected of an answer that says nothing else itself.
const EXPECTED: [(&str, &str); 8] = [
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

fn assert_secure(answer: &Answer, what: &str) {
    for (name, value) in EXPECTED {
        assert_eq!(answer.header(name), Some(value), "{what}: {name}");
    }
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let server =
        TestServer::serve(TestServer::builder(AllowAll).await.connections_per_address(at_most(1)).build())
            .await;
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 404),
        ("/ws?user=ann", 426),
        ("/api/v1/me?user=ann", 200),
        ("/api/v1/me", 401),
        ("/api/v1/nothing", 404),
        ("/nothing", 404),
    ] {
        let answer = get(&server, path, "").await;
        assert_eq!(answer.status, status, "{path}");
        assert_secure(&answer, path);
    }
    let foreign = get(&server, "/api/v1/me?user=ann", "Origin: https://evil.test\r\n").await;
    assert_eq!(foreign.status, 403);
    assert_secure(&foreign, "a foreign origin");
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(upgrade_request(server.address, "ann").as_bytes()).await.unwrap();
    let opened = Answer::read_head_only(&mut socket).await;
    assert_eq!(opened.status, 101);
    assert_secure(&opened, "a socket");
    let refused = get(&server, "/healthz", "").await;
    assert_eq!(refused.status, 429);
    assert_secure(&refused, "a connection too many");
}

#[tokio::test]
async fn the_page_has_a_policy_of_its_own_and_the_rest_as_all() {
    let server = TestServer::start().await;
    for path in ["/", "/app.js", "/app.css"] {
        let answer = get(&server, path, "").await;
        assert_eq!(answer.status, 200);
        let policy = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part) && !policy.contains("unsafe"), "{path}: {policy}");
        }
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        for (name, value) in &EXPECTED[2..] {
            assert_eq!(answer.header(name), Some(*value), "{path}: {name}");
        }
    }
}

/// An authentication with a bug.
#[derive(Debug)]
struct Panics;

impl Authenticator for Panics {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Grant, AuthError>> {
        Box::pin(async move {
            assert!(!request.headers.contains_key("x-boom"), "planted");
            OpenAuth.authenticate(request).await
        })
    }
}

#[tokio::test]
async fn a_bug_in_a_handler_is_its_own_requests_trouble_only() {
    let lines = Lines::default();
    let _log = lines.collect();
    let server = TestServer::start_as(|builder| builder.authenticator(Panics)).await;
    let mut ann = server.connect("ann").await;
    ann.join("r").await;
    // Two requests on one connection: the second is answered although the first met the bug.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for (lines, status) in [("X-Boom: 1\r\n", 500), ("", 200)] {
        let request = format!("GET /api/v1/me?user=ann HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = Answer::read(&mut stream).await;
        assert_eq!(answer.status, status);
        if status == 500 {
            assert_eq!(answer.error(), (500, "internal".to_owned()));
            assert!(!answer.body.contains("planted"), "{}", answer.body);
            assert_secure(&answer, "a bug");
        }
    }
    let upgrade = upgrade_request(server.address, "ann").replace("Host:", "X-Boom: 1\r\nHost:");
    assert_eq!(server.raw_http(&upgrade).await.error(), (500, "internal".to_owned()));
    let ack = ann.call(serde_json::json!({ "type": "send", "room": "r", "text": "still here" })).await;
    assert_eq!(ack["type"], "ack");
    let logged = lines.of("a handler panicked");
    assert_eq!(logged.len(), 2, "{logged:?}");
    assert!(logged.iter().all(|line| !line.contains("user=ann")), "{logged:?}");
    let loud = [lines.of("ERROR"), lines.of("WARN")].concat();
    assert!(loud.is_empty(), "the panic hook has said it: {loud:?}");
}

/// An authentication that knows one admin and one manager, and is out of order for a third.
#[derive(Debug)]
struct Staff;

impl Authenticator for Staff {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Grant, AuthError>> {
        Box::pin(async move {
            let role = match request.headers.get("x-user").map(axum::http::HeaderValue::as_bytes) {
                None => return Err(AuthError::Missing),
                Some(b"root") => Role::Admin,
                Some(b"nobody-knows") => return Err(AuthError::Unavailable("planted".into())),
                Some(_) => Role::Manager,
            };
            Ok(Identity::new("someone").unwrap().with_role(role).into())
        })
    }
}

const REFUSED: &str = "chat_connections_refused_total{reason=\"address_full\"} ";

/// One connection too many, and behind a proxy one socket of one client; the figures are shown at this address.
async fn refusals_are_counted(address: SocketAddr) {
    let builder = TestServer::builder(AllowAll).await.connections_per_address(at_most(1));
    let small = TestServer::serve(builder.trust_proxies(vec!["127.0.0.2/32".parse().unwrap()]).build()).await;
    let refused = async || {
        let figures =
            raw_http(address, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        let line = figures.body.lines().find(|line| line.starts_with(REFUSED));
        line.map_or(0, |line| line.strip_prefix(REFUSED).unwrap().parse::<u64>().unwrap())
    };
    let _held = TcpStream::connect(small.address).await.unwrap();
    assert_eq!((refused().await, get(&small, "/healthz", "").await.status), (0, 429));
    let socket = async || {
        let request = upgrade_request(small.address, "ann");
        let request =
            format!("{}X-Forwarded-For: 203.0.113.9\r\n\r\n", request.strip_suffix("\r\n").unwrap());
        let mut stream = dial_from([127, 0, 0, 2], small.address).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        (Answer::read_head_only(&mut stream).await.status, stream)
    };
    let (first, _held_too) = socket().await;
    assert_eq!((refused().await, first, socket().await.0), (1, 101, 429));
    assert_eq!(refused().await, 2);
}

/// One test, as the recorder of metrics belongs to the process.
#[tokio::test]
async fn the_figures_are_for_the_machine_and_for_admins() {
    let builder = TestServer::builder(AllowAll).await.metrics(Metrics::install().unwrap());
    let proxies = vec!["127.0.0.2/32".parse().unwrap()];
    let mut server = TestServer::serve(builder.authenticator(Staff).trust_proxies(proxies).build()).await;
    let figures = get(&server, "/metrics", "").await;
    assert_eq!(figures.status, 200);
    assert!(figures.body.contains("process_open_fds "), "{}", figures.body);
    let passed_on = "X-Forwarded-For: 127.0.0.1\r\n";
    for (lines, status) in [
        (passed_on, 403),
        ("Forwarded: for=127.0.0.1\r\n", 403),
        ("X-Forwarded-For: 127.0.0.1\r\nX-User: boss\r\n", 403),
        ("X-Forwarded-For: 127.0.0.1\r\nX-User: root\r\n", 200),
        ("X-Forwarded-For: 127.0.0.1\r\nX-User: root\r\nOrigin: https://evil.test\r\n", 403),
        ("X-Forwarded-For: 127.0.0.1\r\nX-User: nobody-knows\r\n", 503),
    ] {
        assert_eq!(get(&server, "/metrics", lines).await.status, status, "{lines}");
    }
    let by_proxy = async |lines: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n");
        let mut stream = dial_from([127, 0, 0, 2], server.address).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        Answer::read(&mut stream).await.status
    };
    assert_eq!(by_proxy(passed_on).await, 200, "the machine itself, through its proxy");
    assert_eq!(by_proxy("X-Forwarded-For: 203.0.113.9\r\n").await, 403);
    assert_eq!(by_proxy("Forwarded: for=127.0.0.1\r\n").await, 403, "nobody is believed in that header");
    assert_eq!(by_proxy("X-Forwarded-For: 127.0.0.1, 203.0.113.9\r\n").await, 403);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, asked) = oneshot::channel::<()>();
    let metrics = server.server.clone();
    let serving = tokio::spawn(async move {
        metrics.serve_metrics(listener, async { drop(asked.await) }).await;
    });
    for (path, status) in [
        ("/metrics", 200),
        ("/healthz", 200),
        ("/readyz", 404),
        ("/ws", 404),
        ("/", 404),
        ("/api/v1/me", 404),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{passed_on}\r\n");
        let answer = raw_http(address, &request).await;
        assert_eq!(answer.status, status, "{path}");
        assert_secure(&answer, path);
    }
    refusals_are_counted(address).await;

    server.begin_drain();
    server.ended().await;
    let figures = raw_http(address, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!(figures.status, 200, "also when the server has drained");
    shutdown.send(()).unwrap();
    serving.await.unwrap();
    TcpStream::connect(address).await.expect_err("nobody listens");
}
