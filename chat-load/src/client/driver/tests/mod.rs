//! Each rule of `docs/reconnect.md`, against a server that does as it is told.

mod ends;
mod stream;

use std::{pin::pin, rc::Rc};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::CloseFrame,
    },
};

use super::{
    socket::{PONG_MAX, QUIET_MAX},
    *,
};

/// Short enough for a test; the shape is that of the page.
const BOUNDS: Bounds = Bounds {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(4),
    restart: Duration::from_millis(2),
    flooding: Duration::from_millis(1),
};

/// A driver of `r`, and the server that it knows.
struct Scene {
    listener: Rc<TcpListener>,
    driver: Driver,
    told: Vec<Told>,
    stopped: Option<Stopped>,
}

/// One connection, as the server has it.
struct Visit {
    socket: WebSocketStream<TcpStream>,
    uri: String,
}

impl Scene {
    async fn set(entry: Entry) -> Self {
        let listener = Rc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let target = listener.local_addr().unwrap().into();
        let driver = Driver::new(target, entry, ["r".to_owned()]).pauses(BOUNDS);
        Self { listener, driver, told: Vec::new(), stopped: None }
    }

    /// A driver that has joined at 5, and its connection.
    async fn joined() -> (Self, Visit) {
        let mut scene = Self::set(Entry::named("me")).await;
        let visit = scene.comes(5).await;
        scene.until(|told| matches!(told, Told::Live)).await;
        (scene, visit)
    }

    /// Has the driver go on while a server does this. It drops what is next again and again.
    async fn during<T>(&mut self, serving: impl Future<Output = T>) -> T {
        let mut serving = pin!(serving);
        loop {
            tokio::select! {
                biased;
                next = self.driver.next(), if self.stopped.is_none() => match next {
                    Ok(told) => self.told.push(told),
                    Err(stopped) => self.stopped = Some(stopped),
                },
                done = &mut serving => return done,
            }
        }
    }

    /// Goes on until something is told.
    async fn until(&mut self, is_it: impl Fn(&Told) -> bool) {
        while !self.told.last().is_some_and(&is_it) {
            let told = self.driver.next().await.unwrap();
            self.told.push(told);
        }
    }

    async fn stops(&mut self) -> Stopped {
        loop {
            match self.driver.next().await {
                Ok(told) => self.told.push(told),
                Err(stopped) => return stopped,
            }
        }
    }

    /// The next connection, welcomed.
    async fn visit(&mut self) -> Visit {
        let listener = self.listener.clone();
        self.during(async {
            let mut visit = Visit::accept(&listener).await;
            visit.welcome("me").await;
            visit
        })
        .await
    }

    /// The next connection, which asks for all that is kept, and is joined at this number.
    async fn comes(&mut self, last_seq: u64) -> Visit {
        let mut visit = self.visit().await;
        let join = self.during(visit.hears()).await;
        visit.say(&[joined(&join, last_seq)]).await;
        visit
    }

    /// What was told of the stream, in short.
    fn seqs(&self) -> Vec<u64> {
        let seq = |told: &Told| match told {
            Told::Event { event, .. } => Some(event.seq),
            _ => None,
        };
        self.told.iter().filter_map(seq).collect()
    }

    fn kept(&self) -> Vec<(&str, u64)> {
        let kept = |told| match told {
            &Told::Kept { ref key, seq, .. } => Some((key.as_str(), seq)),
            _ => None,
        };
        self.told.iter().filter_map(kept).collect()
    }

    /// The next wait before it comes back.
    async fn lost(&mut self) -> Duration {
        self.until(|told| matches!(told, Told::Lost { .. })).await;
        let Some(Told::Lost { wait, .. }) = self.told.pop() else { unreachable!("it was told") };
        wait
    }
}

impl Visit {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        Self::open(stream).await
    }

    async fn open(stream: TcpStream) -> Self {
        let mut uri = String::new();
        #[expect(clippy::result_large_err, reason = "it is the library's")]
        let answer = |request: &Request, mut response: Response| {
            uri = request.uri().to_string();
            let offered = request.headers()["sec-websocket-protocol"].clone();
            response.headers_mut().insert("sec-websocket-protocol", offered);
            Ok(response)
        };
        let socket = accept_hdr_async(stream, answer).await.unwrap();
        Self { socket, uri }
    }

    async fn welcome(&mut self, user: &str) {
        self.say(&[json!({ "type": "welcome", "protocol": "chat.v1", "user": { "id": user } })]).await;
    }

    async fn say(&mut self, objects: &[Value]) {
        // The type comes first, as the server has it.
        let objects: Vec<String> = objects.iter().map(typed).collect();
        self.socket.send(Message::text(format!("[{}]", objects.join(",")))).await.unwrap();
    }

    /// The next command.
    async fn hears(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.socket.next().await.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.socket.close(Some(frame)).await.unwrap();
    }
}

/// An object with its type before everything else, and then its room.
fn typed(object: &Value) -> String {
    let mut fields = object.as_object().unwrap().clone();
    let mut text = format!(r#"{{"type":{}"#, fields.remove("type").unwrap());
    let first = ["id", "room", "seq"].map(|name| (name.to_owned(), fields.remove(name)));
    let first = first.into_iter().filter_map(|(name, value)| Some((name, value?)));
    for (name, value) in first.chain(fields) {
        text.extend([",\"", &name, "\":", &value.to_string()]);
    }
    text + "}"
}

fn joined(join: &Value, last_seq: u64) -> Value {
    assert_eq!((&join["type"], &join["room"]), (&json!("join"), &json!("r")), "{join}");
    json!({ "type": "joined", "id": join["id"], "room": "r", "role": "member", "epoch": "e", "last_seq": last_seq })
}

fn event(seq: u64, from: &str, key: &str) -> Value {
    json!({ "type": "message", "room": "r", "seq": seq, "at": 1, "from": from, "text": "hi", "key": key })
}

fn ack(send: &Value, seq: u64) -> Value {
    assert_eq!(send["type"], "send", "{send}");
    json!({ "type": "ack", "id": send["id"], "room": "r", "seq": seq, "at": 1 })
}

fn draft(key: &str) -> Draft {
    Draft { key: key.to_owned(), text: "hi".to_owned(), reply_to: None }
}
