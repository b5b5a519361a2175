//! The opening handshake, byte by byte.

mod support;

use support::{Answer, RawClient, TestServer, masked, upgrade_request};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// The answer to the good request with one thing changed.
async fn answer(server: &TestServer, change: impl FnOnce(String) -> String) -> Answer {
    server.raw_http(&change(upgrade_request(server.address, "ann"))).await
}

#[tokio::test]
async fn each_flaw_of_a_request_has_its_status() {
    let server = TestServer::start().await;
    let address = server.address;
    let host = format!("Host: {address}\r\n");
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let cases: [(&str, String, String, u16); 22] = [
        ("a host with a space", host.clone(), "Host: a b\r\n".into(), 400),
        ("a host with a path", host.clone(), "Host: a/b\r\n".into(), 400),
        ("a host with a user", host.clone(), "Host: a@b\r\n".into(), 400),
        ("no key", key.into(), String::new(), 400),
        ("two keys", key.into(), key.repeat(2), 400),
        ("a short key", key.into(), "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n".into(), 400),
        ("no base64", key.into(), "Sec-WebSocket-Key: !!hlIHNhbXBsZSBub25jZQ==\r\n".into(), 400),
        ("no host", host.clone(), String::new(), 400),
        (
            "two origins",
            host.clone(),
            format!("{host}Origin: http://{address}\r\nOrigin: http://{address}\r\n"),
            400,
        ),
        ("a foreign origin", host.clone(), format!("{host}Origin: http://{address}.evil.test\r\n"), 403),
        ("another scheme", host.clone(), format!("{host}Origin: https://{address}\r\n"), 403),
        ("no origin to speak of", host.clone(), format!("{host}Origin: null\r\n"), 403),
        ("version 8", "Version: 13".into(), "Version: 8".into(), 426),
        ("version 0", "Version: 13".into(), "Version: 0".into(), 426),
        ("version 14", "Version: 13".into(), "Version: 14".into(), 426),
        ("two versions", "Version: 13".into(), "Version: 13\r\nSec-WebSocket-Version: 8".into(), 426),
        ("two hosts", host.clone(), host.repeat(2), 400),
        ("another port", host.clone(), format!("{host}Origin: http://{}\r\n", address.ip()), 403),
        ("a PUT", "GET /ws".into(), "PUT /ws".into(), 405),
        ("a POST", "GET /ws".into(), "POST /ws".into(), 405),
        ("nobody", "?user=ann".into(), String::new(), 401),
        (
            "no upgrade",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n".into(),
            "Connection: close\r\n".into(),
            426,
        ),
    ];
    for (what, from, to, status) in cases {
        let answer = answer(&server, |request| request.replace(&from, &to)).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        assert_eq!(status == 426, answer.header("sec-websocket-version") == Some("13"), "{what}");
        assert_eq!(status == 405, answer.header("allow") == Some("GET"), "{what}");
        assert!(answer.json()["error"]["code"].is_string(), "{what}");
    }
}

#[tokio::test]
async fn headers_may_be_written_in_many_ways() {
    let server = TestServer::start().await;
    let connection = "Connection: Upgrade\r\nUpgrade: websocket";
    for (from, to) in [
        (connection, "connection: keep-alive, uPGRADE\r\nupgrade: WebSocket".to_owned()),
        (connection, "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket".to_owned()),
        (connection, format!("{connection}\r\nOrigin: http://{}", server.address)),
        (connection, format!("{connection}\r\nSec-WebSocket-Protocol:{}chat.v1", " ".repeat(30_000))),
        (
            connection,
            format!("{connection}\r\nSec-WebSocket-Extensions: {}", "permessage-deflate,".repeat(1000)),
        ),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = upgrade_request(server.address, "ann").replace(from, &to);
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = Answer::read_head_only(&mut stream).await;
        assert_eq!(answer.status, 101, "{}", to.get(..100).unwrap_or(&to));
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(answer.header("sec-websocket-extensions"), None);
    }
}

#[tokio::test]
async fn the_subprotocol_follows_the_clients_order() {
    let server = TestServer::start().await;
    for (offer, chosen) in [
        ("chat.v1", Some("chat.v1")),
        ("chat.v1.batch, chat.v1", Some("chat.v1.batch")),
        ("chat.v1, chat.v1.batch", Some("chat.v1")),
        ("soap, chat.v1.batch", Some("chat.v1.batch")),
        ("soap", None),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let version = "Sec-WebSocket-Version: 13\r\n";
        let offered = format!("{version}Sec-WebSocket-Protocol: {offer}\r\n");
        let request = upgrade_request(server.address, "ann").replace(version, &offered);
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = Answer::read_head_only(&mut stream).await;
        assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, chosen), "{offer}");
    }
}

#[tokio::test]
async fn frames_in_the_packet_of_the_request_are_not_lost() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut packet = upgrade_request(server.address, "ann").into_bytes();
    for id in 1..=3 {
        packet.extend(masked(0x81, format!(r#"{{"type":"ping","id":{id}}}"#).as_bytes()));
    }
    // And the beginning of one more.
    let last = masked(0x81, br#"{"type":"ping","id":4}"#);
    let (head, tail) = last.split_at(9);
    packet.extend(head);
    stream.write_all(&packet).await.unwrap();
    assert_eq!(Answer::read_head_only(&mut stream).await.status, 101);
    let mut client = RawClient(stream);
    let mut texts = Vec::new();
    for _ in 0..4 {
        texts.push(String::from_utf8(client.frame().await.unwrap().1).unwrap());
    }
    client.0.write_all(tail).await.unwrap();
    texts.push(String::from_utf8(client.frame().await.unwrap().1).unwrap());
    assert!(texts[0].contains("welcome"));
    for (id, text) in texts.iter().enumerate().skip(1) {
        assert!(text.contains(&format!(r#""type":"pong","id":{id}"#)), "{text}");
    }
}
