//! What strangers may send before there is a socket, byte by byte: each has its status, and disturbs nobody.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{net::SocketAddr, time::Duration};

use chat_server::limits::SEND_BUFFER_BYTES;
use support::{
    Answer, RawClient, masked,
    over::{Line, Over, OverServer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::sleep,
};

const BOTH: [Over; 2] = [Over::Tcp, Over::Tls];

/// Sends these bytes on a connection of their own.
async fn send(server: &OverServer, bytes: &[u8]) -> Line {
    let mut line = server.dial().await;
    // A server may refuse before it has read everything.
    let _ = line.write_all(bytes).await;
    let _ = line.flush().await;
    line
}

async fn answer(server: &OverServer, request: &str) -> Answer {
    Answer::read(&mut send(server, request.as_bytes()).await).await
}

/// All statuses that come on one connection until the server closes it.
async fn statuses(server: &OverServer, requests: &str) -> Vec<u16> {
    let mut line = send(server, requests.as_bytes()).await;
    let mut bytes = Vec::new();
    let _ = line.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes);
    let heads = text.split("HTTP/1.").skip(1);
    heads.map(|head| head.get(2..5).unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn a_head_that_is_none_is_400() {
    for over in BOTH {
        let server = OverServer::start(over).await;
        for head in [
            "hello\r\n\r\n",
            "GET\r\n\r\n",
            "GET /healthz\r\n\r\n",
            "GET /healthz HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
            "GET /heal thz HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost x\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: x\0y\r\n\r\n",
            "G\u{e4}T /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
            "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}\r\n\r\n",
        ] {
            assert_eq!(answer(&server, head).await.status, 400, "{over:?}: {head:?}");
        }
        assert_eq!(answer(&server, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 200);
    }
}

#[tokio::test]
async fn a_head_has_a_limit_in_fields_and_in_bytes() {
    for over in BOTH {
        let server = OverServer::start(over).await;
        let head = |fields: &str| format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        for (what, fields, status) in [
            ("2,000 fields", "X: y\r\n".repeat(2000), 431),
            ("101 fields", "X: y\r\n".repeat(100), 431),
            ("100 fields", "X: y\r\n".repeat(99), 200),
            ("one of 70 KB", format!("X: {}\r\n", "y".repeat(70_000)), 431),
            ("one of 60 KB", format!("X: {}\r\n", "y".repeat(60_000)), 200),
        ] {
            assert_eq!(answer(&server, &head(&fields)).await.status, status, "{over:?}: {what}");
        }
        let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(70_000));
        assert_eq!(answer(&server, &long).await.status, 431, "{over:?}: a long URI");
    }
}

/// Two servers in a row that read a body's length differently are how requests are smuggled.
#[tokio::test]
async fn a_bodys_length_is_said_once_and_clearly() {
    for over in BOTH {
        let server = OverServer::start(over).await;
        let post = |fields: &str, body: &str| {
            format!(
                "POST /api/v1/rooms?user=ann HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{fields}\r\n{body}"
            )
        };
        for (what, fields) in [
            ("two lengths", "Content-Length: 2\r\nContent-Length: 3\r\n"),
            ("two lengths in one", "Content-Length: 2, 3\r\n"),
            ("no number", "Content-Length: two\r\n"),
            ("a sign", "Content-Length: +2\r\n"),
            ("below zero", "Content-Length: -2\r\n"),
            ("beyond all numbers", "Content-Length: 99999999999999999999\r\n"),
            ("a coding that is none", "Transfer-Encoding: xchunked\r\n"),
            ("chunks that are not last", "Transfer-Encoding: chunked, identity\r\n"),
        ] {
            assert_eq!(statuses(&server, &post(fields, "{}")).await, [400], "{over:?}: {what}");
        }
        let smuggled = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        for fields in [
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        ] {
            // The chunks count, and what follows them is never read as a request: the connection ends.
            let request = post(fields, "2\r\n{}\r\n0\r\n\r\n") + smuggled;
            assert_eq!(statuses(&server, &request).await, [201], "{over:?}: {fields}");
        }
        let broken = post("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\nzz\r\n\r\n") + smuggled;
        assert_eq!(statuses(&server, &broken).await, [400], "{over:?}: a chunk without a length");
        let cut = post("Content-Length: 10\r\n", "{}");
        let mut line = send(&server, cut.as_bytes()).await;
        line.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = line.read_to_end(&mut rest).await;
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{over:?}: a body that was cut off");
    }
}

#[tokio::test]
async fn each_way_to_ask_has_its_status() {
    for over in BOTH {
        let server = OverServer::start(over).await;
        for (request, status) in [
            ("GET /healthz HTTP/1.0\r\n\r\n", 200),
            (
                "GET /ws?user=ann HTTP/1.0\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                426,
            ),
            ("GET /healthz HTTP/1.1\r\n\r\n", 400),
            ("GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
            ("GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
            ("GET http://X/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
            ("GET http://evil.test/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
            ("OPTIONS /api/v1/rooms HTTP/1.1\r\nHost: x\r\n\r\n", 405),
            ("OPTIONS /api/v1/rooms HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.test\r\n\r\n", 403),
            ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
            ("TRACE /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
            ("CONNECT evil.test:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
            ("GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
            ("GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ] {
            assert_eq!(answer(&server, request).await.status, status, "{over:?}: {request:?}");
        }
        // An HTTP/2 client that has not asked is left without an answer that it could not read.
        assert_eq!(statuses(&server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, [0_u16; 0], "{over:?}");
    }
}

#[tokio::test]
async fn requests_in_one_packet_are_answered_in_their_order() {
    for over in BOTH {
        let server = OverServer::start(over).await;
        let requests = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n\
                        GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n\
                        GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(statuses(&server, requests).await, [200, 404, 200], "{over:?}");
    }
}

/// Bytes that the kernel holds for the other end of a connection, as `proc_net_tcp(5)` shows them.
fn queued_bytes(from: SocketAddr, to: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = [from, to].map(|end| format!(":{:04X}", end.port()));
    let mut queues = table.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_it = fields.get(1)?.ends_with(&ends[0]) && fields.get(2)?.ends_with(&ends[1]);
        is_it.then(|| usize::from_str_radix(fields.get(4)?.split(':').next()?, 16).ok())?
    });
    queues.next().expect("the connection is open")
}

/// The kernel would let it grow to 4 MiB for each who does so.
#[tokio::test]
async fn who_reads_no_answers_has_few_of_them_in_the_kernel() {
    let server = OverServer::start(Over::Tcp).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.inner.address).await.unwrap();
    stream.write_all("GET /view.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000).as_bytes()).await.unwrap();
    let peer = stream.local_addr().unwrap();
    let (mut queued, mut looks_without_a_change) = (0, 0);
    while queued == 0 || looks_without_a_change < 10 {
        sleep(Duration::from_millis(20)).await;
        let before = std::mem::replace(&mut queued, queued_bytes(server.inner.address, peer));
        looks_without_a_change = if queued == before { looks_without_a_change + 1 } else { 0 };
    }
    // It doubles what it is told, for its own books.
    assert!(queued <= 2 * SEND_BUFFER_BYTES, "{queued} bytes");
}

/// Frames may come with the request: under TLS in its very record.
#[tokio::test]
async fn frames_in_the_packet_of_the_request_are_handled() {
    for over in BOTH {
        let server = OverServer::start(over).await;
        let mut packet = support::upgrade_request(server.inner.address, "ann").into_bytes();
        for id in 1..=200 {
            packet.extend(masked(0x81, format!(r#"{{"type":"ping","id":{id}}}"#).as_bytes()));
        }
        let mut line = send(&server, &packet).await;
        assert_eq!(Answer::read_head_only(&mut line).await.status, 101, "{over:?}");
        let mut client = RawClient(line);
        assert!(client.frame().await.unwrap().1.starts_with(br#"{"type":"welcome""#));
        for id in 1..=200 {
            let text = String::from_utf8(client.frame().await.unwrap().1).unwrap();
            assert!(text.contains(&format!(r#""type":"pong","id":{id},"#)), "{over:?}: {text}");
        }
    }
}
