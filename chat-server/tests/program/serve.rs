//! What a running server makes of its settings.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::{
    Running, ask, program,
    support::{Answer, Client, http},
};

/// Sends a request as it stands and reads all of the answer.
async fn raw(running: &Running, request: &str) -> String {
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_flag_beats_the_environment_and_metrics_are_shown() {
    let mut command = program();
    command.env("CHAT_LISTEN", "nowhere").env("CHAT_DATABASE", "sqlite::memory:").args([
        "--listen",
        "127.0.0.1:0",
        "--log-format",
        "json",
    ]);
    let mut running = Running::of(command).await;
    assert!(running.line.starts_with("listening on http://127.0.0.1:"), "{}", running.line);
    let answer = raw(&running, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for name in ["process_resident_memory_bytes", "process_open_fds", "chat_messages_committed_total"] {
        assert!(answer.contains(name), "{name}");
    }
    let proxied =
        "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n";
    let answer = raw(&running, proxied).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    running.child.kill().await.unwrap();
    assert_eq!(running.out.next_line().await.unwrap(), None, "one line only");
}

#[tokio::test]
async fn without_a_setting_the_database_is_made_where_the_server_is_started() {
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0", "--log", "warn"]);
    let running = Running::of(command).await;
    assert!(running.dir.path().join("chat-data/chat.db").is_file());
    assert!(running.end().await.success());
}

#[tokio::test]
async fn limits_from_a_file_hold() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("chat.toml");
    let settings = "listen = '127.0.0.1:0'\nrate-user = '1:2'\nrooms-per-connection = 1\nconnections-per-address = 4\n\
                    allowed-origin = ['https://a.example']\n";
    std::fs::write(&file, settings).unwrap();
    let database = dir.path().join("chat.db");
    let mut command = program();
    command.env("CHAT_DATABASE", format!("sqlite:{}", database.display()));
    command.args(["--config", file.to_str().unwrap(), "--log", "error"]);
    let running = Running::of(command).await;

    let mut ann = Client::connect(running.address(), "ann", None).await;
    ann.join("a").await;
    let second = ann.join("b").await;
    assert_eq!(second["code"], "forbidden", "one room is allowed: {second}");
    // At once, so that no time is won by waiting for what is slow.
    for _ in 0..3 {
        ann.command(json!({ "type": "send", "room": "a", "text": "hi" })).await;
    }
    let mut replies = Vec::new();
    while replies.len() < 3 {
        let frame = ann.next().await;
        replies.extend(frame.get("id").is_some().then(|| frame["code"].clone()));
    }
    replies.sort_by_key(Value::is_string);
    assert_eq!(replies, [json!(null), json!(null), json!("rate_limited")]);

    for (user, (lines, status)) in [
        ("Host: localhost\r\nOrigin: https://a.example", 200),
        ("Host: localhost\r\nOrigin: https://b.example", 403),
        ("Host: a.example\r\nOrigin: https://a.example", 200),
        ("Host: b.example\r\nOrigin: http://b.example", 403),
        ("Host: b.example", 200),
    ]
    .into_iter()
    .enumerate()
    {
        let head = format!("GET /api/v1/me?user=u{user} HTTP/1.1\r\n{lines}");
        let request = format!("{head}\r\nConnection: close\r\n\r\n");
        let answer = raw(&running, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{lines}: {answer}");
    }

    // Connections that are over may count for a moment longer: four is the most that there can be, not the least.
    let mut held = Vec::new();
    let status = loop {
        let mut stream = TcpStream::connect(running.address()).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        match Answer::read(&mut stream).await.status {
            200 => held.push(stream),
            status => break status,
        }
        assert!(held.len() < 4, "with ann's there are at most four");
    };
    assert_eq!(status, 429);
    drop((ann, held));
    assert!(running.end().await.success());
}

/// `{"alg":"HS256"}` and `{"sub":"ann","exp":4102444800}`, which is the year 2100, signed with the secret of the test.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.\
                     eyJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDB9.\
                     ArYAibI1dlEDn27QomKqp1zyziq6-wQFXqVftb2VgKM";

#[tokio::test]
async fn tokens_are_asked_for_in_jwt_mode() {
    let dir = tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    let arguments = ["--auth", "jwt", "--jwt-secret-file", secret.to_str().unwrap()];
    let running = Running::start(&dir.path().join("chat.db"), &arguments).await;
    let answer = http(running.address(), "GET", "/api/v1/me?user=ann", None).await;
    assert_eq!(answer.status, 401, "nobody is believed by a parameter");
    let request = format!(
        "GET /api/v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    );
    let answer = raw(&running, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"ann\""), "{answer}");
    assert!(running.end().await.success());
}

#[tokio::test]
async fn with_a_certificate_it_speaks_tls_and_a_hangup_reads_it_again() {
    let dir = tempdir().unwrap();
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::copy(keys.join("certificate.pem"), &cert).unwrap();
    std::fs::copy(keys.join("rsa.pem"), &key).unwrap();
    let arguments =
        ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap(), "--log", "info"];
    let mut command = program();
    command.args(["--database", "sqlite::memory:", "--listen", "127.0.0.1:0"]).args(arguments);
    let mut running = Running::of(command).await;
    assert!(running.line.starts_with("listening on https://127.0.0.1:"), "{}", running.line);
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/"), "plain text gets no answer in plain text");
    let mut log = BufReader::new(running.child.stderr.take().unwrap()).lines();
    for (content, told) in
        [(None, "certificates loaded again"), (Some("no certificate"), "remain as they were")]
    {
        if let Some(content) = content {
            std::fs::write(&cert, content).unwrap();
        }
        running.signal("HUP").await;
        let line = async {
            loop {
                let line = log.next_line().await.unwrap().expect("it goes on");
                if line.contains("certificates") {
                    return line;
                }
            }
        };
        let line = tokio::time::timeout(crate::DEADLINE, line).await.expect("it says what came of it");
        assert!(line.contains(told), "{line}");
    }
    assert!(running.end().await.success());
}

#[tokio::test]
async fn metrics_have_an_address_of_their_own() {
    let dir = tempdir().unwrap();
    let mut command = program();
    command.args(["--database", &format!("sqlite:{}", dir.path().join("chat.db").display())]);
    command.args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--log-format", "json"]);
    let mut running = Running::of(command).await;
    let mut log = BufReader::new(running.child.stderr.take().unwrap()).lines();
    let address = loop {
        let line: Value = serde_json::from_str(&log.next_line().await.unwrap().expect("a line")).unwrap();
        if line["fields"]["message"] == "metrics are shown" {
            break line["fields"]["address"].as_str().unwrap().parse().unwrap();
        }
    };
    assert_ne!(running.address(), address);
    let answer = http(address, "GET", "/metrics", None).await;
    assert!(answer.status == 200 && answer.body.contains("chat_messages_committed_total"), "{answer:?}");
    assert_eq!(
        http(address, "GET", "/api/v1/rooms?user=ann", None).await.status,
        404,
        "nothing else is there"
    );
    let metrics = address.to_string();
    let taken = [
        "--listen",
        "127.0.0.1:0",
        "--database",
        "sqlite::memory:",
        "--log",
        "error",
        "--metrics-listen",
        &metrics,
    ];
    let line = ask(&taken).await.refused(1);
    assert!(line.contains("--metrics-listen") && line.contains(&metrics), "{line}");
    assert!(running.end().await.success());
}

/// Whatever becomes of the log: the server goes on, and ends in peace.
#[tokio::test]
async fn nobody_waits_for_who_reads_the_log() {
    for is_gone in [true, false] {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0", "--database", "sqlite::memory:", "--log", "trace"]);
        let mut running = Running::of(command).await;
        let unread = running.child.stderr.take().unwrap();
        let _unread = (!is_gone).then_some(unread);
        // Far more lines than a pipe holds, at this level.
        for (path, status) in [("/healthz", 200), ("/ws?user=ann", 426)].into_iter().cycle().take(1000) {
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let answer = raw(&running, &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
        assert!(running.end().await.success(), "{is_gone}");
    }
}

#[tokio::test]
async fn without_a_certificate_a_hangup_is_the_end_in_peace() {
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0", "--database", "sqlite::memory:"]);
    let mut running = Running::of(command).await;
    running.signal("HUP").await;
    assert!(running.child.wait().await.unwrap().success());
}
