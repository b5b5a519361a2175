//! Commands and requests that mean nothing, mean too much, or mean to do harm: an answer with a code, or kept byte for
//! byte, and never something in between.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod floods;
mod json;
mod kept;
mod names;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Answer, RawClient, TestServer, masked};
use tokio::io::AsyncWriteExt;

/// A server with one public room `r`, and a connection in it.
struct Stage {
    server: TestServer,
    peer: RawClient,
}

impl Stage {
    async fn new() -> Self {
        Self::on(TestServer::start().await).await
    }

    async fn on(server: TestServer) -> Self {
        let mut peer = RawClient::connect(server.address, "ann").await;
        peer.join("r").await;
        Self { server, peer }
    }

    /// Sends a text as it is, and reads on to the next answer: an error, or a reply with an id.
    async fn answer(&mut self, text: &str) -> Value {
        self.peer.0.write_all(&masked(0x81, text.as_bytes())).await.unwrap();
        loop {
            let (opcode, payload) = self.peer.frame().await.expect("the connection stays open");
            let frame: Value =
                if opcode == 1 { serde_json::from_slice(&payload).unwrap() } else { Value::Null };
            if frame["type"] == "error" || frame["id"].is_number() {
                return frame;
            }
        }
    }

    /// The error that a text gets: its id and its code.
    async fn error(&mut self, text: &str) -> (Option<u64>, String) {
        let answer = self.answer(text).await;
        assert_eq!(answer["type"], "error", "{}: {answer}", shown(text));
        (answer["id"].as_u64(), answer["code"].as_str().unwrap().to_owned())
    }

    /// Posts a body as it is.
    async fn post(&self, path: &str, body: &str) -> Answer {
        let address = self.server.address;
        let head = format!(
            "POST {path}?user=ann HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.server.raw_http(&(head + body)).await
    }

    async fn get(&self, path_and_query: &str) -> Answer {
        self.server.http("GET", path_and_query, None).await
    }

    /// The connection is open and in step, the room has just the messages that were acked, and nobody is left but
    /// this connection.
    async fn finish(mut self, acked: u64) {
        assert_eq!(self.answer(r#"{"type":"ping","id":4711}"#).await["id"], 4711);
        let room = self.get("/api/v1/rooms/r?user=ann").await.json();
        assert_eq!(room["last_seq"], acked);
        let mut other = self.server.connect("bob").await;
        while other.join("r").await["online"] != json!(["ann", "bob"]) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The beginning of a text, for a message.
fn shown(text: &str) -> &str {
    text.get(..80).unwrap_or(text)
}

/// A send of this text with nothing special in it but the text.
fn send(id: u64, text: &str) -> Value {
    json!({ "type": "send", "room": "r", "id": id, "text": text })
}
