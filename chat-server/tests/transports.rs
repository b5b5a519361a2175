//! What holds of a socket whatever it runs over: each test is one body, run over TCP and over TLS.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::{
    Answer, Client, RawClient,
    lines::Lines,
    masked,
    over::{Line, Over, OverServer},
    upgrade_request,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

const BOTH: [Over; 2] = [Over::Tcp, Over::Tls];
const SOON: Duration = Duration::from_secs(5);

async fn raw(server: &OverServer, user: &str) -> RawClient<Line> {
    let mut line = server.dial().await;
    line.write_all(upgrade_request(server.inner.address, user).as_bytes()).await.unwrap();
    line.flush().await.unwrap();
    assert_eq!(Answer::read_head_only(&mut line).await.status, 101);
    RawClient(line)
}

/// A stream that is not recognised works too, but without its socket's options, and with a buffer of hyper's more.
#[tokio::test]
async fn a_socket_gets_its_own_stream_back() {
    for (over, stream) in [
        (Over::Tcp, "stream=\"tokio::net::tcp::stream::TcpStream\""),
        (Over::Tls, "stream=\"tokio_rustls::server::TlsStream<"),
    ] {
        let lines = Lines::default();
        let _log = lines.collect();
        let server = OverServer::start(over).await;
        server.connect("ann").await.join("r").await;
        let begun = lines.of("a socket begins");
        assert!(begun.len() == 1 && begun[0].contains(stream), "{over:?}: {begun:?}");
    }
}

/// A reader with a tiny window, and pings into the middle of everything: frames and pongs must not mix.
#[tokio::test]
async fn partial_writes_and_pongs_stay_whole() {
    for over in BOTH {
        let server = OverServer::start(over).await;
        let mut writer = server.connect("ann").await;
        writer.join("r").await;
        let mut reader = server.connect_on(server.dial_narrow(4096).await, "bob").await;
        reader.join("r").await;
        let writing = tokio::spawn(write_texts(writer));
        read_texts_and_ping(&mut reader).await;
        writing.abort();
    }
}

const TEXTS: usize = 3000;

fn text(n: usize) -> String {
    format!("{n} {}", "x".repeat(n % 700))
}

async fn write_texts(mut writer: Client<Line>) {
    for n in 0..TEXTS {
        writer.command(json!({ "type": "send", "room": "r", "text": text(n) })).await;
        if n % 100 == 99 {
            while writer.next().await["type"] != "ack" {}
        }
    }
    while writer.socket.next().await.is_some() {}
}

async fn read_texts_and_ping(reader: &mut Client<Line>) {
    let (mut pings, mut next) = (0, 0);
    while next < TEXTS {
        if next >= pings * 30 && pings < 100 {
            pings += 1;
            reader.socket.send(Message::Ping(vec![b'p'; 100].into())).await.unwrap();
            // So that output piles up behind the small window.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        match reader.socket.next().await.unwrap().expect("the stream is whole") {
            Message::Text(frame) => {
                let event: Value = serde_json::from_str(&frame).unwrap();
                if event["type"] == "message" {
                    assert_eq!(event["text"], text(next));
                    next += 1;
                }
            }
            Message::Pong(payload) => assert_eq!(payload.len(), 100),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_end_is_orderly_whoever_begins_it() {
    for over in BOTH {
        let mut server = OverServer::start(over).await;
        let mut ann = server.connect("ann").await;
        ann.socket.close(None).await.unwrap();
        while let Some(frame) = ann.socket.next().await {
            frame.expect("an orderly end");
        }
        let mut bob = raw(&server, "bob").await;
        bob.0.write_all(&masked(0x88, &1000_u16.to_be_bytes())).await.unwrap();
        bob.0.flush().await.unwrap();
        assert_eq!(bob.close_code().await, Some(1000), "{over:?}");
        // rustls fails here where the end of TLS was not told.
        assert_eq!(bob.0.read_to_end(&mut Vec::new()).await.unwrap(), 0, "{over:?}");
        drop((ann, bob));
        let mut cid = server.connect("cid").await;
        cid.join("r").await;
        server.inner.begin_drain();
        assert_eq!(u16::from(cid.closed().await.code), 1001, "{over:?}");
        while let Some(frame) = cid.socket.next().await {
            frame.expect("an orderly end");
        }
        drop(cid);
        timeout(SOON, server.inner.ended()).await.expect("nobody is left");
    }
}

#[tokio::test]
async fn a_broken_frame_has_its_close_code() {
    for over in BOTH {
        let server = OverServer::start(over).await;
        for (bytes, code) in [
            (vec![0x81, 1, b'x'], 1002),
            (masked(0x81, &[0xc0, 0xaf]), 1007),
            (masked(0x82, b"{}"), 1003),
            (masked(0x81, " ".repeat(65_537).as_bytes()), 1009),
        ] {
            let mut client = raw(&server, "ann").await;
            // What is too large may be refused before all of it was sent.
            let _ = client.0.write_all(&bytes).await;
            let _ = client.0.flush().await;
            let code_seen = timeout(SOON, client.close_code()).await.expect("it is closed at once");
            assert_eq!(code_seen, Some(code), "{over:?}");
        }
    }
}

#[tokio::test]
async fn a_peer_that_just_goes_is_seen_to_go() {
    for over in BOTH {
        let server = OverServer::start(over).await;
        let mut watcher = server.connect("ann").await;
        watcher.join("r").await;
        for reset in [false, true] {
            let tcp = TcpStream::connect(server.inner.address).await.unwrap();
            if reset {
                tcp.set_zero_linger().unwrap();
            }
            let mut bob = server.connect_on(server.dial_on(tcp).await, "bob").await;
            bob.join("r").await;
            while watcher.next().await["state"] != "online" {}
            drop(bob);
            let offline = async { while watcher.next().await["state"] != "offline" {} };
            timeout(SOON, offline).await.unwrap_or_else(|_| panic!("presence follows: {over:?}, {reset}"));
        }
    }
}

/// A reader that rests while much comes, and is fed from the store when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_rests_misses_nothing() {
    const LONG: usize = 3000;
    const MANY: usize = 2000;
    for over in BOTH {
        let server = OverServer::start(over).await;
        let mut resting = server.connect_on(server.dial_narrow(8192).await, "bob").await;
        resting.join("r").await;
        let mut writer = server.connect("ann").await;
        writer.join("r").await;
        for n in 0..MANY {
            let text = format!("{n} {}", "x".repeat(LONG));
            writer.command(json!({ "type": "send", "room": "r", "text": text })).await;
            if n % 100 == 99 {
                writer.call(json!({ "type": "ping" })).await;
            }
        }
        let mut next = 0;
        while next < MANY {
            let event = resting.next().await;
            if event["type"] == "message" {
                assert!(event["text"].as_str().unwrap().starts_with(&format!("{next} ")), "{over:?}");
                next += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_answers_all_that_it_took() {
    for over in BOTH {
        let mut server = OverServer::start(over).await;
        let mut floods = Vec::new();
        for n in 0..4 {
            let mut client = server.connect(&format!("user{n}")).await;
            client.join("r").await;
            floods.push(tokio::spawn(flood(client)));
        }
        let engine = server.inner.server.engine().clone();
        let ann = chat_core::Identity::new("ann").unwrap();
        let last_seq = async || engine.room(&ann, &"r".parse().unwrap()).await.unwrap().room.last_seq.0;
        while last_seq().await < 200 {
            tokio::task::yield_now().await;
        }
        server.inner.begin_drain();
        let mut acked_in_all = 0;
        for flood in floods {
            let (acks, code) = flood.await.unwrap();
            assert_eq!(code, 1001, "{over:?}");
            acked_in_all += acks;
        }
        server.inner.ended().await;
        assert_eq!(last_seq().await, acked_in_all, "everything committed was acked: {over:?}");
    }
}

/// Sends without a pause until the connection ends: how many acks there were in a row, and the close code.
async fn flood(client: Client<Line>) -> (u64, u16) {
    let (mut sink, mut stream) = client.socket.split();
    let writing = tokio::spawn(async move {
        for id in 1000_u64.. {
            let send = json!({ "type": "send", "id": id, "room": "r", "text": "x" });
            if sink.send(Message::text(send.to_string())).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    let mut acks = 0;
    let code = loop {
        match stream.next().await.expect("a close frame comes before the end").unwrap() {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "ack" {
                    assert_eq!(frame["id"], 1000 + acks, "no command went unanswered");
                    acks += 1;
                }
            }
            Message::Close(frame) => break u16::from(frame.unwrap().code),
            _ => {}
        }
    };
    writing.abort();
    (acks, code)
}
