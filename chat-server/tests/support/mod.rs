//! A server in the test's own process, and clients of it that may misbehave.

#![allow(dead_code, reason = "each test file uses its own part")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

pub(crate) mod lines;
pub(crate) mod over;
pub(crate) mod program;
pub(crate) mod tokens;

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
};

use chat_core::{Engine, MissingRooms, policy::Policy, store::MemoryStore};
use chat_server::{OpenAuth, Server, ServerBuilder};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest, protocol::CloseFrame},
};

/// A running server over an empty store.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) server: Server,
    shutdown: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(chat_core::policy::AllowAll).await
    }

    pub(crate) async fn start_with(policy: impl Policy) -> Self {
        Self::serve(Self::builder(policy).await.build()).await
    }

    /// A server that is set up by `set`.
    pub(crate) async fn start_as(set: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        Self::serve(set(Self::builder(chat_core::policy::AllowAll).await).build()).await
    }

    /// A server to be, to which a test adds what it is about. It does not mind what else the machine has to do.
    pub(crate) async fn builder(policy: impl Policy) -> ServerBuilder {
        let engine = Engine::builder(MemoryStore::new())
            .policy(policy)
            .missing_rooms(MissingRooms::Create { rooms_max: 100 })
            .build();
        Server::builder(engine.await.unwrap()).authenticator(OpenAuth).endure_overload()
    }

    pub(crate) async fn serve(server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, asked) = oneshot::channel::<()>();
        let running = server.clone();
        let running = tokio::spawn(async move {
            let asked = async {
                let _ = asked.await;
            };
            running.serve(listener, asked).await;
        });
        Self { address, server, shutdown: Some(shutdown), running }
    }

    /// Begins the drain, as SIGTERM would.
    pub(crate) fn begin_drain(&mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn ended(self) {
        self.running.await.unwrap();
    }

    pub(crate) async fn connect(&self, user: &str) -> Client<TcpStream> {
        Client::connect(self.address, user, None).await
    }

    pub(crate) async fn http(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        http(self.address, method, path, body).await
    }

    /// Sends these bytes and reads one answer, or as much as comes.
    pub(crate) async fn raw_http(&self, request: &str) -> Answer {
        raw_http(self.address, request).await
    }
}

/// So many.
pub(crate) fn at_most(n: usize) -> NonZeroUsize {
    n.try_into().unwrap()
}

/// A request on a connection of its own.
pub(crate) async fn http(address: SocketAddr, method: &str, path: &str, body: Option<Value>) -> Answer {
    let body = body.map(|body| body.to_string());
    let head = body.as_ref().map_or(String::new(), |body| {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
    });
    let body = body.unwrap_or_default();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{head}\r\n{body}");
    raw_http(address, &request).await
}

/// A connection from another address of this machine.
pub(crate) async fn dial_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::from(from), 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

pub(crate) async fn raw_http(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server may refuse before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    Answer::read(&mut stream).await
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Self {
        let mut bytes = Vec::new();
        let body_at = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                break bytes.len();
            }
        };
        let head = String::from_utf8(bytes[..body_at].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap_or("0").parse().unwrap();
        let answer = Self { status, head, body: String::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while bytes.len() < body_at + length && stream.read_buf(&mut bytes).await.unwrap_or(0) > 0 {}
        Self { body: String::from_utf8(bytes[body_at..].to_vec()).unwrap(), ..answer }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The error's code, of an answer that must have one.
    pub(crate) fn error(&self) -> (u16, String) {
        (self.status, self.json()["error"]["code"].as_str().unwrap().to_owned())
    }
}

/// A client that speaks WebSocket as it should.
pub(crate) struct Client<S> {
    pub(crate) socket: WebSocketStream<S>,
    next_id: u64,
}

impl Client<TcpStream> {
    pub(crate) async fn connect(address: SocketAddr, user: &str, subprotocol: Option<&str>) -> Self {
        Self::connect_over(TcpStream::connect(address).await.unwrap(), user, subprotocol).await
    }

    pub(crate) async fn connect_over(stream: TcpStream, user: &str, subprotocol: Option<&str>) -> Self {
        let address = stream.peer_addr().unwrap();
        let mut request = format!("ws://{address}/ws?user={user}").into_client_request().unwrap();
        if let Some(subprotocol) = subprotocol {
            request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
        }
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        Self::of(socket)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) const fn of(socket: WebSocketStream<S>) -> Self {
        Self { socket, next_id: 1 }
    }

    /// The next text frame as JSON.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match self.socket.next().await.expect("the connection is open").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Sends a command under a new id, which is returned.
    pub(crate) async fn command(&mut self, mut command: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        command["id"] = json!(id);
        self.socket.send(Message::text(command.to_string())).await.unwrap();
        id
    }

    /// Sends a command and reads until its reply.
    pub(crate) async fn call(&mut self, command: Value) -> Value {
        let id = self.command(command).await;
        loop {
            let frame = self.next().await;
            if frame["id"] == json!(id) {
                return frame;
            }
        }
    }

    pub(crate) async fn join(&mut self, room: &str) -> Value {
        self.call(json!({ "type": "join", "room": room })).await
    }

    /// Reads on to the close frame.
    pub(crate) async fn closed(&mut self) -> CloseFrame {
        loop {
            let message = self.socket.next().await.expect("a close frame comes before the end");
            if let Message::Close(frame) = message.unwrap() {
                return frame.expect("it has a code");
            }
        }
    }
}

/// A client that writes whatever bytes it likes on an upgraded connection.
pub(crate) struct RawClient<S = TcpStream>(pub(crate) S);

impl RawClient {
    pub(crate) async fn connect(address: SocketAddr, user: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), address, user).await
    }

    pub(crate) async fn over(stream: TcpStream, address: SocketAddr, user: &str) -> Self {
        Self::opened(stream, &upgrade_request(address, user)).await.expect("it is opened")
    }

    /// Sends a request of its own; `None` where it is not upgraded.
    pub(crate) async fn opened(mut stream: TcpStream, request: &str) -> Option<Self> {
        stream.write_all(request.as_bytes()).await.unwrap();
        (Answer::read_head_only(&mut stream).await.status == 101).then_some(Self(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawClient<S> {
    /// Reads unmasked frames up to a close frame: its code. `None` where the connection ends without one.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        while let Some((opcode, payload)) = self.frame().await {
            if opcode == 8 {
                return payload.first_chunk().copied().map(u16::from_be_bytes);
            }
        }
        None
    }

    /// Reads on to the close frame and then to the end, which must be an orderly one: the frame's code.
    pub(crate) async fn ended(&mut self) -> Option<u16> {
        let code = self.close_code().await;
        let after = self.0.read(&mut [0]).await;
        assert!(matches!(after, Ok(0)), "after the close frame came {after:?}");
        code
    }

    /// Sends a command in a text frame of its own.
    pub(crate) async fn say(&mut self, command: &Value) {
        self.say_text(&command.to_string()).await;
    }

    /// Sends a text frame.
    pub(crate) async fn say_text(&mut self, text: &str) {
        self.0.write_all(&masked(0x81, text.as_bytes())).await.unwrap();
    }

    /// Reads on to the next message of a room, and gives its bytes too.
    pub(crate) async fn event(&mut self) -> (Value, Vec<u8>) {
        loop {
            let (opcode, payload) = self.frame().await.expect("the connection is open");
            let frame: Value =
                if opcode == 1 { serde_json::from_slice(&payload).unwrap() } else { Value::Null };
            if frame["type"] == "message" {
                return (frame, payload);
            }
        }
    }

    /// Reads on to the reply of this id.
    pub(crate) async fn reply(&mut self, id: u64) -> Value {
        loop {
            let (opcode, payload) = self.frame().await.expect("the connection is open");
            let frame: Value =
                if opcode == 1 { serde_json::from_slice(&payload).unwrap() } else { Value::Null };
            if frame["id"] == json!(id) {
                return frame;
            }
        }
    }

    pub(crate) async fn join(&mut self, room: &str) {
        self.say(&json!({ "type": "join", "room": room, "id": 1 })).await;
        assert_eq!(self.reply(1).await["type"], "joined");
    }

    /// The next frame's opcode and payload.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        read_frame(&mut self.0).await
    }
}

/// Reads one frame of a server: its opcode and payload.
pub(crate) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let [first, second] = bytes(stream).await?;
    assert_eq!(first & 0x70, 0, "no extension was agreed on");
    let length = match second {
        127 => u64::from_be_bytes(bytes(stream).await?),
        126 => u16::from_be_bytes(bytes(stream).await?).into(),
        length => length.into(),
    };
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).await.ok()?;
    Some((first & 0b1111, payload))
}

async fn bytes<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

impl Answer {
    /// Reads no byte beyond the head: what follows may be frames.
    pub(crate) async fn read_head_only(stream: &mut (impl AsyncRead + Unpin)) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body: String::new() }
    }
}

/// The request of a well-behaved client.
pub(crate) fn upgrade_request(address: SocketAddr, user: &str) -> String {
    format!(
        "GET /ws?user={user} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A frame as a client sends it, masked with zeroes: `first` is its first byte.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(short @ 0..=125) => frame.push(0x80 | u8::try_from(short).unwrap()),
        Ok(length) => {
            frame.push(0xfe);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(0xff);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
