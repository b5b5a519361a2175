//! The example `embed_axum`, run as a program on a free port.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{process::Stdio, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

const WAIT_MAX: Duration = Duration::from_secs(10);

/// The program, which ends with this value.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    async fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_embed_axum"))
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().expect("it says where it listens");
        let address = line.strip_prefix("listening on http://").expect("as it says it").to_owned();
        Self { child, address }
    }

    /// The status and the body of an answer.
    async fn fetch(&self, path: &str, token: Option<&str>) -> (u16, String) {
        let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{token}\r\n", self.address);
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn connect(&self, token: &str) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, u16> {
        let mut request = format!("ws://{}/chat/ws", self.address).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        match connect_async(request).await {
            Ok((socket, _)) => Ok(socket),
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }
}

async fn next(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> Value {
    let message = timeout(WAIT_MAX, socket.next()).await.expect("it comes in time");
    serde_json::from_str(message.expect("the connection is open").unwrap().to_text().unwrap()).unwrap()
}

#[tokio::test]
async fn the_service_and_the_chat_answer_beside_each_other() {
    let service = Service::start().await;
    assert_eq!(service.fetch("/", None).await, (200, "our own page".into()));
    let (status, me) = service.fetch("/chat/api/v1/me", Some("ann-s-token")).await;
    let me: Value = serde_json::from_str(&me).unwrap();
    assert_eq!((status, me), (200, json!({ "id": "ann", "name": "Ann", "role": "member" })));
    assert_eq!(service.fetch("/chat/api/v1/me", Some("a-guess")).await.0, 401);
    assert_eq!(service.fetch("/chat/api/v1/me", None).await.0, 401);
}

#[tokio::test]
async fn the_socket_knows_the_services_users_and_is_closed_at_the_end() {
    let mut service = Service::start().await;
    assert_eq!(service.connect("a-guess").await.err(), Some(401));
    let mut bob = service.connect("bob-s-token").await.ok().unwrap();
    assert_eq!(next(&mut bob).await["user"]["name"], "Bob");
    let join = json!({ "type": "join", "id": 1, "room": "lobby" });
    bob.send(Message::text(join.to_string())).await.unwrap();
    let joined = next(&mut bob).await;
    assert_eq!((&joined["type"], &joined["online"]), (&json!("joined"), &json!(["bob"])));

    let pid = service.child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let code = loop {
        let message = timeout(WAIT_MAX, bob.next()).await.expect("it comes in time");
        if let Message::Close(frame) = message.expect("a close frame comes before the end").unwrap() {
            break u16::from(frame.unwrap().code);
        }
    };
    assert_eq!(code, 1001);
    drop(bob);
    let status = timeout(WAIT_MAX, service.child.wait()).await.expect("it ends").unwrap();
    assert!(status.success());
}
