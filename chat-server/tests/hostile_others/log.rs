//! What is logged is one line each, without a control character and without a secret, whatever was sent.

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use super::support::{
    Answer, RawClient, masked,
    program::{DEADLINE, Home, Program},
    tokens::{SECRET, token_for},
    upgrade_request,
};

/// What nobody may find in a log.
const PRIVATE: &str = "n0b0dys-business";

/// What would look like a line of its own, in another colour.
const FORGED: &str = "\r\n\u{1b}[31m2026-01-01T00:00:00Z ERROR forged\u{9b}2J\u{0}\u{202e}";

fn encoded(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let bytes =
        text.bytes().flat_map(|byte| [b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    bytes.map(char::from).collect()
}

/// Sends bytes that may be no request, and waits for whatever comes of it.
async fn knock(program: &Program, bytes: &[u8]) {
    let mut stream = TcpStream::connect(program.address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let _ = timeout(DEADLINE, Answer::read(&mut stream)).await.expect("an end");
}

/// Everything that has a place for a text of the sender's choice, in requests.
async fn send_requests(program: &Program, query: &str) {
    let forged = encoded(FORGED);
    let host = program.address;
    for target in [
        format!("/api/v1/me?user={forged}"),
        format!("/api/v1/rooms/{forged}?{query}"),
        format!("/api/v1/rooms/r/members/{forged}?{query}"),
        format!("/api/v1/rooms/r/messages?{query}&kinds={forged}&before={forged}"),
        format!("/{forged}"),
        format!("/ws?{query}&x={forged}{PRIVATE}"),
        format!("/api/v1/rooms?{query}&after={PRIVATE}{forged}"),
    ] {
        knock(
            program,
            format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await;
    }
    for header in [
        "Origin",
        "Cookie",
        "Authorization",
        "User-Agent",
        "X-Forwarded-For",
        "Forwarded",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Extensions",
        "Referer",
        "Content-Type",
        "Host",
        "Upgrade",
        "Connection",
    ] {
        for value in
            [FORGED, "\u{1b}[31m", "a\tb", "\u{9b}31m\u{e9}", "chat_session=n0b0dys-business", PRIVATE]
        {
            for path in [format!("/api/v1/me?{query}"), format!("/ws?{query}")] {
                let request = format!(
                    "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{header}: {value}\r\n\r\n"
                );
                knock(program, request.as_bytes()).await;
            }
        }
    }
    for raw in [
        &b"GET /\x1b[31m HTTP/1.1\r\n\r\n"[..],
        b"G\x1bT / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX\x1b: y\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\x1b]0;title\x07\n",
    ] {
        knock(program, raw).await;
    }
    for body in [
        json!({ "id": FORGED, "name": PRIVATE, "kind": "group" }).to_string(),
        json!({ "name": format!("{PRIVATE}{FORGED}"), "kind": "group" }).to_string(),
        json!({ "name": "x", "topic": format!("{PRIVATE}{FORGED}"), "kind": FORGED }).to_string(),
        format!("{{\"text\":\"{PRIVATE}{FORGED}"),
    ] {
        let length = body.len();
        let head = format!(
            "Host: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        knock(program, format!("POST /api/v1/rooms?{query} HTTP/1.1\r\n{head}{body}").as_bytes()).await;
    }
}

/// The same on sockets, and good messages among it.
async fn send_frames(mut peer: RawClient) {
    peer.join("r").await;
    let text = format!("{PRIVATE}{FORGED}");
    let meta = json!({ "a": text });
    peer.say(&json!({ "type": "send", "id": 2, "room": "r", "text": text, "key": PRIVATE, "meta": meta }))
        .await;
    assert_eq!(peer.reply(2).await["type"], "ack");
    peer.say(&json!({ "type": "edit", "id": 3, "room": "r", "target": 1, "text": format!("{text}!") })).await;
    assert_eq!(peer.reply(3).await["type"], "ack");
    for (id, command) in (4..).zip([
        json!({ "type": text }),
        json!({ "type": "join", "room": text }),
        json!({ "type": "join", "room": "r", "epoch": text, "after": 1 }),
        json!({ "type": "send", "room": "r", "text": PRIVATE, "key": text }),
        json!({ "type": "react", "room": "r", "target": 1, "emoji": text }),
        json!({ "type": "auth", "token": text }),
        json!({ "type": "history", "room": "r", "kinds": [text] }),
    ]) {
        let mut command: Value = command;
        command["id"] = json!(id);
        peer.say(&command).await;
        peer.reply(id).await;
    }
    peer.say_text(&text).await;
    let reason = [&4000_u16.to_be_bytes()[..], "bye \r\n\u{1b}[31m n0b0dys-business".as_bytes()].concat();
    peer.0.write_all(&masked(0x88, &reason)).await.unwrap();
    assert_eq!(peer.ended().await, Some(4000));
}

/// What is wrong with a line of the log, if anything is.
fn fault_of(line: &str, format: &str) -> Option<&'static str> {
    let is_raw = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}');
    let is_line = match format {
        "json" => serde_json::from_str::<Value>(line).is_ok_and(|line| line["timestamp"].is_string()),
        _ => line.starts_with("20") && line.get(10..11) == Some("T") && !line.contains("Z ERROR forged"),
    };
    match () {
        () if line.contains(is_raw) => Some("a control character"),
        () if line.contains(PRIVATE) => Some("something private"),
        () if line.contains("panicked") => Some("a bug"),
        () if !is_line => Some("no line of the server"),
        () => None,
    }
}

/// Each line is one that the server wrote, and shows nothing that it was shown.
fn assert_clean(log: &str, format: &str) {
    for line in log.split_terminator('\n') {
        assert_eq!(fault_of(line, format), None, "{format}: {line:?}");
    }
    assert!(log.lines().count() > 20, "{format}: it logs at all: {log}");
}

#[test]
fn a_bad_line_is_seen() {
    let good = "2026-01-01T00:00:00.000000Z DEBUG chat_server::listen: an HTTP connection broke";
    assert_eq!(fault_of(good, "text"), None);
    assert_eq!(fault_of(r#"{"timestamp":"2026-01-01T00:00:00Z","level":"DEBUG"}"#, "json"), None);
    for (tail, fault) in [
        ("\u{1b}[31m", "a control character"),
        ("\r", "a control character"),
        ("\u{9b}2J", "a control character"),
        ("\u{202e}", "a control character"),
        (PRIVATE, "something private"),
        (" panicked at", "a bug"),
    ] {
        assert_eq!(fault_of(&format!("{good}{tail}"), "text"), Some(fault));
    }
    let forged =
        FORGED.split('\n').next_back().unwrap().replace(|c: char| c.is_control() || c == '\u{202e}', "");
    for format in ["text", "json"] {
        assert_eq!(fault_of(forged.trim_start_matches("[31m"), format), Some("no line of the server"));
    }
}

#[tokio::test]
async fn what_is_logged_holds_no_control_character_and_no_secret() {
    for format in ["text", "json"] {
        let home = Home::new();
        let logging = ["--log", "trace", "--log-format", format];
        let program = home.start_logging(&logging).await;
        send_requests(&program, "user=eve").await;
        let peer = RawClient::connect(program.address, "eve").await;
        send_frames(peer).await;
        program.terminate().await;
        assert_eq!(program.ended().await, Some(0));
        assert_clean(&home.log(), format);
    }
}

#[tokio::test]
async fn no_token_is_logged() {
    let home = Home::new();
    let secret = std::str::from_utf8(SECRET).unwrap();
    let program = home.start_logging(&["--log", "trace", "--auth", "jwt", "--jwt-secret", secret]).await;
    let good = token_for("eve");
    send_requests(&program, "").await;
    let request = upgrade_request(program.address, "")
        .replace("?user=", "")
        .replace("\r\n\r\n", &format!("\r\nAuthorization: Bearer {good}\r\n\r\n"));
    let stream = TcpStream::connect(program.address).await.unwrap();
    let peer = RawClient::opened(stream, &request).await.expect("a good token");
    drop(peer);
    let nobody = request.split("\r\nAuthorization").next().unwrap().to_owned() + "\r\n\r\n";
    let forged = format!("{PRIVATE}{FORGED}");
    let auth = |token: &str| json!({ "type": "auth", "id": 1, "token": token }).to_string();
    for (first, is_good) in [
        (forged.clone(), false),
        (auth(&forged), false),
        (auth(&format!("{good}x")), false),
        (auth(&good), true),
    ] {
        let stream = TcpStream::connect(program.address).await.unwrap();
        let mut peer = RawClient::opened(stream, &nobody).await.expect("somebody may yet be named");
        peer.say_text(&first).await;
        if is_good {
            assert_eq!(peer.reply(1).await["type"], "ok");
        } else {
            assert_eq!(peer.ended().await, Some(4001));
        }
    }
    for header in [
        format!("Authorization: Bearer {good}x"),
        format!("Authorization: Bearer {PRIVATE}.{PRIVATE}.{PRIVATE}"),
        format!("Authorization: Basic {PRIVATE}"),
        format!("Cookie: chat_session={good}"),
    ] {
        knock(
            &program,
            format!("GET /api/v1/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n").as_bytes(),
        )
        .await;
    }
    program.terminate().await;
    assert_eq!(program.ended().await, Some(0));
    let log = home.log();
    assert_clean(&log, "text");
    for secret in [secret, &good, good.split('.').next_back().unwrap()] {
        assert!(!log.contains(secret), "{log}");
    }
}
