//! TLS: which files are taken, what is spoken, and new certificates without a restart.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use chat_core::policy::AllowAll;
use chat_server::{Tls, TlsError};
use serde_json::json;
use support::{
    Answer, TestServer, at_most,
    over::{Certificate, Over, OverServer, load},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, SupportedProtocolVersion,
        version::{TLS12, TLS13},
    },
};

const GET: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// A handshake with these settings, by themselves.
async fn shake(server: &OverServer, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.inner.address).await?;
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
}

async fn get(server: &OverServer, request: &str) -> Answer {
    let mut line = server.dial().await;
    line.write_all(request.as_bytes()).await.unwrap();
    Answer::read(&mut line).await
}

/// A PEM section of these bytes.
fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// The first element of DER: what it holds, and what comes after it.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, head) = match der[1] {
        long @ 0x80.. => {
            let bytes = &der[2..][..usize::from(long & 0x7f)];
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + bytes.len())
        }
        short => (short.into(), 2),
    };
    der[head..].split_at(length)
}

/// The key inside a PKCS#8 key, after its version and its kind (RFC 5958, section 2): PKCS#1 or SEC1.
fn inner(pkcs8: &[u8]) -> &[u8] {
    let (version, _) = element(pkcs8);
    let (_, kind) = element(version);
    let (_, key) = element(kind);
    element(key).0
}

#[tokio::test]
async fn each_kind_of_key_is_taken() {
    let certificate = Certificate::new();
    let sec1 = pem("EC PRIVATE KEY", inner(&certificate.key_der()));
    let rsa = Certificate::of(&support::tokens::key("rsa"));
    let pkcs1 = pem("RSA PRIVATE KEY", inner(&rsa.key_der()));
    for (what, cert, key) in [
        ("PKCS#8", certificate.pem(), certificate.key_pem()),
        ("SEC1", certificate.pem(), sec1),
        ("PKCS#1", rsa.pem(), pkcs1),
        ("a chain", certificate.pem() + &rsa.pem(), certificate.key_pem()),
    ] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("cert.pem"), cert).unwrap();
        fs::write(directory.path().join("key.pem"), key).unwrap();
        let tls = Tls::load(&directory.path().join("cert.pem"), &directory.path().join("key.pem"));
        assert!(tls.is_ok(), "{what}: {tls:?}");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_in_one_line_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (certificate, other) = (Certificate::new(), Certificate::new());
    certificate.write_to(directory.path());
    for (name, text) in [
        ("other.pem", other.key_pem()),
        ("empty.pem", String::new()),
        ("encrypted.pem", pem("ENCRYPTED PRIVATE KEY", &[1, 2, 3])),
        ("cut.pem", certificate.pem().replace("-----END CERTIFICATE-----", "")),
        ("junk-cert.pem", pem("CERTIFICATE", b"junk")),
        ("junk-key.pem", pem("PRIVATE KEY", b"junk")),
        ("huge.pem", "x".repeat((1 << 20) + 1)),
    ] {
        fs::write(path(name), text).unwrap();
    }
    for (cert, key, named, what) in [
        ("none.pem", "key.pem", "none.pem", "No such file"),
        ("cert.pem", "none.pem", "none.pem", "No such file"),
        ("empty.pem", "key.pem", "empty.pem", "no certificate in PEM"),
        ("key.pem", "key.pem", "key.pem", "no certificate in PEM"),
        ("cut.pem", "key.pem", "cut.pem", "no certificate in PEM"),
        ("junk-cert.pem", "key.pem", "junk-cert.pem", "not a certificate"),
        ("cert.pem", "cert.pem", "cert.pem", "no private key"),
        ("cert.pem", "empty.pem", "empty.pem", "no private key"),
        ("cert.pem", "encrypted.pem", "encrypted.pem", "not encrypted"),
        ("cert.pem", "junk-key.pem", "junk-key.pem", "not a private key"),
        ("cert.pem", "other.pem", "other.pem", "not the key of the certificate"),
        ("huge.pem", "key.pem", "huge.pem", "too large"),
    ] {
        let error = Tls::load(&path(cert), &path(key)).unwrap_err().to_string();
        let starts = error.starts_with(path(named).to_str().unwrap());
        assert!(starts && error.contains(what) && error.lines().count() == 1, "{cert}, {key}: {error}");
    }
}

#[tokio::test]
async fn both_versions_are_spoken_and_http_1_1_inside() {
    let server = OverServer::start(Over::Tls).await;
    let certificate = server.certificate.as_ref().unwrap();
    let versions: [&'static SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
    for version in versions {
        for offers in [&[][..], &["http/1.1"], &["h2", "http/1.1"]] {
            let mut config = certificate.client_config_of(&[version]);
            config.alpn_protocols = offers.iter().map(|offer| offer.as_bytes().to_vec()).collect();
            let mut stream = shake(&server, config).await.unwrap();
            let chosen = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            assert_eq!(chosen, (!offers.is_empty()).then(|| b"http/1.1".to_vec()));
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            stream.write_all(GET.as_bytes()).await.unwrap();
            assert_eq!(Answer::read(&mut stream).await.status, 200);
        }
        let mut config = certificate.client_config_of(&[version]);
        config.alpn_protocols = vec![b"h2".to_vec()];
        shake(&server, config).await.expect_err("HTTP/2 is not spoken");
    }
}

#[tokio::test]
async fn the_own_origin_is_https_and_browsers_are_to_remember_it() {
    let server = OverServer::start(Over::Tls).await;
    assert!(server.inner.server.speaks_tls());
    let request = |origin: &str| {
        format!(
            "GET /api/v1/me?user=ann HTTP/1.1\r\nHost: chat.test\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
        )
    };
    for (origin, status) in
        [("https://chat.test", 200), ("https://chat.test:443", 200), ("http://chat.test", 403), ("null", 403)]
    {
        let answer = get(&server, &request(origin)).await;
        assert_eq!(answer.status, status, "{origin}");
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    }
    let mut socket = server.dial().await;
    socket.write_all(support::upgrade_request(server.inner.address, "ann").as_bytes()).await.unwrap();
    let answer = Answer::read_head_only(&mut socket).await;
    assert_eq!((answer.status, answer.header("strict-transport-security")), (101, Some("max-age=31536000")));
    let plain = OverServer::start(Over::Tcp).await;
    assert!(!plain.inner.server.speaks_tls());
    assert_eq!(get(&plain, GET).await.header("strict-transport-security"), None);
}

/// Whether a new connection meets this certificate.
async fn is_served(server: &OverServer, certificate: &Certificate) -> bool {
    shake(server, certificate.client_config()).await.is_ok()
}

#[tokio::test]
async fn new_certificates_are_taken_while_connections_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second, third] = [Certificate::new(), Certificate::new(), Certificate::new()];
    first.write_to(directory.path());
    let tls = load(directory.path());
    let builder = TestServer::builder(AllowAll).await.tls(tls.clone());
    let inner = TestServer::serve(builder.build()).await;
    let server = OverServer { inner, certificate: Some(first), directory };
    let first = server.certificate.as_ref().unwrap();
    let mut ann = server.connect("ann").await;
    ann.join("r").await;

    second.write_to(server.directory.path());
    assert!(is_served(&server, first).await, "a file that is written changes nothing by itself");
    tls.reload().unwrap();
    assert!(is_served(&server, &second).await && !is_served(&server, first).await);

    let broken = |directory: &Path| fs::write(directory.join("key.pem"), third.key_pem());
    broken(server.directory.path()).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Mismatch { .. })));
    fs::remove_file(server.directory.path().join("cert.pem")).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Unreadable { .. })));
    assert!(is_served(&server, &second).await, "what cannot be used leaves the old in service");

    third.write_to(server.directory.path());
    tls.reload().unwrap();
    assert!(is_served(&server, &third).await);
    let ack = ann.call(json!({ "type": "send", "room": "r", "text": "still here" })).await;
    assert_eq!(ack["type"], "ack");
}

/// How long the second of two reloads may take to overtake the first.
const OVERTAKING: Duration = Duration::from_millis(300);

#[tokio::test]
async fn of_two_reloads_the_one_that_begins_later_counts() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = [Certificate::new(), Certificate::new()];
    first.write_to(directory.path());
    let tls = load(directory.path());
    let builder = TestServer::builder(AllowAll).await.tls(tls.clone());
    let inner = TestServer::serve(builder.build()).await;
    let server = OverServer { inner, certificate: None, directory };

    // The first reload has the old certificate, and waits for its key.
    let key = server.directory.path().join("key.pem");
    fs::remove_file(&key).unwrap();
    assert!(Command::new("mkfifo").arg(&key).status().unwrap().success());
    let reload = |tls: Tls| thread::spawn(move || tls.reload().unwrap());
    let slow = reload(tls.clone());
    let mut pipe = OpenOptions::new().write(true).open(&key).unwrap();
    fs::remove_file(&key).unwrap();
    second.write_to(server.directory.path());
    let fast = reload(tls);
    let begun = Instant::now();
    while !fast.is_finished() && begun.elapsed() < OVERTAKING {
        thread::yield_now();
    }
    pipe.write_all(first.key_pem().as_bytes()).unwrap();
    drop(pipe);
    slow.join().unwrap();
    fast.join().unwrap();
    assert!(is_served(&server, &second).await && !is_served(&server, &first).await);
}

#[tokio::test]
async fn who_does_not_come_to_a_handshake_is_in_nobodys_way() {
    let server = OverServer::start(Over::Tls).await;
    let mut silent = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(server.inner.address).await.unwrap();
        // Some begin a record of TLS, and never end it.
        let _ = stream.write_all(if n % 2 == 0 { b"" } else { &[22, 3, 1, 2, 0, 1] }).await;
        silent.push(stream);
    }
    let mut plain = TcpStream::connect(server.inner.address).await.unwrap();
    plain.write_all(GET.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let read = timeout(Duration::from_secs(3), plain.read_to_end(&mut bytes)).await.expect("it is closed");
    assert!(read.is_err() || !bytes.starts_with(b"HTTP/"), "no HTTP without TLS");
    assert_eq!(get(&server, GET).await.status, 200);
}

#[tokio::test]
async fn one_connection_too_many_costs_no_handshake() {
    let builder = TestServer::builder(AllowAll).await.connections_max(at_most(1));
    let server = OverServer::start_with(builder, Over::Tls).await;
    let mut held = server.connect("ann").await;
    let mut refused = TcpStream::connect(server.inner.address).await.unwrap();
    let mut bytes = Vec::new();
    let read = timeout(Duration::from_secs(3), refused.read_to_end(&mut bytes)).await.expect("at once");
    assert_eq!(read.unwrap_or(0), 0);
    assert_eq!(held.call(json!({ "type": "ping" })).await["type"], "pong");
}
