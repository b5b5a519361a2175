//! A client that keeps a log of what it did and was told.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

use super::{
    checker::{Log, Outcome, Reading, Try},
    program::{DEADLINE, place},
};

/// Bytes that the system keeps for a client that does not read. Left to itself it would grow to some MiB.
const RECEIVE_BUFFER_BYTES: u32 = 64 << 10;

/// Bytes that one read takes from the socket.
const READ_BYTES: usize = 16 << 10;

/// Tells connections apart, so that each has keys of its own.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// A subprotocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// One object a frame.
    Single,
    /// An array a frame.
    Batch,
}

impl Wire {
    pub(crate) const BOTH: [Self; 2] = [Self::Single, Self::Batch];

    /// The one or the other, in turn.
    pub(crate) const fn nth(n: usize) -> Self {
        Self::BOTH[n % 2]
    }
}

/// What a command without its reply asked for.
#[derive(Debug)]
enum Asked {
    Join { after: Option<u64> },
    Send { room: String, key: String },
    Other,
}

/// A connection of a user.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) user: String,
    wire: Wire,
    socket: WebSocketStream<TcpStream>,
    unread: VecDeque<Value>,
    /// What comes before the number in this connection's keys.
    keys: String,
    next_id: u64,
    asked: BTreeMap<u64, Asked>,
    readings: BTreeMap<String, Reading>,
    log: Log,
    /// The code of the close frame that came.
    pub(crate) close_code: Option<u16>,
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr, user: &str, wire: Wire) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).unwrap();
        // What was written is on its way: otherwise the system holds small frames back for the answer to the first.
        socket.set_nodelay(true).unwrap();
        let stream = socket.connect(address).await.unwrap();
        let mut request = format!("ws://{address}/ws?user={user}").into_client_request().unwrap();
        let subprotocol = match wire {
            Wire::Single => "chat.v1",
            Wire::Batch => "chat.v1.batch",
        };
        request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
        let config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
        let opening = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        let (socket, _) = timeout(DEADLINE, opening).await.expect("it is opened").unwrap();
        let mut peer = Self {
            user: user.to_owned(),
            wire,
            socket,
            unread: VecDeque::new(),
            keys: format!("{user}-{}", CONNECTIONS.fetch_add(1, Ordering::Relaxed)),
            next_id: 1,
            asked: BTreeMap::new(),
            readings: BTreeMap::new(),
            log: Log::default(),
            close_code: None,
        };
        assert_eq!(peer.next().await["type"], "welcome");
        peer
    }

    // Speaking.

    /// Sends a command under a new id, which is returned; `None` where the connection has ended.
    pub(crate) async fn ask(&mut self, command: Value) -> Option<u64> {
        let asked = match command["type"].as_str() {
            Some("join") => Asked::Join { after: command["after"].as_u64() },
            _ => Asked::Other,
        };
        self.ask_for(asked, command).await
    }

    async fn ask_for(&mut self, asked: Asked, mut command: Value) -> Option<u64> {
        let id = self.next_id;
        self.next_id += 1;
        command["id"] = json!(id);
        self.asked.insert(id, asked);
        let sending = self.socket.send(Message::text(command.to_string()));
        timeout(DEADLINE, sending).await.expect("a socket takes what is sent").ok().map(|()| id)
    }

    /// Says something under a new key.
    pub(crate) async fn say(&mut self, room: &str, text: &str) -> Option<u64> {
        let key = format!("{}-{}", self.keys, self.next_id);
        self.say_as(room, &key, text).await
    }

    /// Says something under this key.
    pub(crate) async fn say_as(&mut self, room: &str, key: &str, text: &str) -> Option<u64> {
        let asked = Asked::Send { room: room.to_owned(), key: key.to_owned() };
        self.ask_for(asked, json!({ "type": "send", "room": room, "key": key, "text": text })).await
    }

    /// Sends a command and hears on to its reply.
    pub(crate) async fn call(&mut self, command: Value) -> Value {
        let id = self.ask(command).await.expect("the connection is open");
        self.reply(id).await
    }

    /// Hears on to the reply to a command.
    pub(crate) async fn reply(&mut self, id: u64) -> Value {
        loop {
            let frame = self.next().await;
            if frame["id"] == json!(id) {
                return frame;
            }
        }
    }

    /// Joins a room live.
    pub(crate) async fn join(&mut self, room: &str) -> Value {
        let reply = self.call(json!({ "type": "join", "room": room })).await;
        assert_eq!(reply["type"], "joined", "{reply}");
        reply
    }

    /// Joins a room behind this number.
    pub(crate) async fn join_after(&mut self, room: &str, after: u64) -> Value {
        let reply = self.call(json!({ "type": "join", "room": room, "after": after })).await;
        assert_eq!(reply["type"], "joined", "{reply}");
        reply
    }

    /// How many commands have no reply yet.
    pub(crate) fn unanswered(&self) -> usize {
        self.asked.len()
    }

    // Hearing.

    /// The next thing that the server says.
    pub(crate) async fn next(&mut self) -> Value {
        self.hear().await.expect("the connection is open")
    }

    /// The next thing that the server says; `None` where the connection has ended.
    pub(crate) async fn hear(&mut self) -> Option<Value> {
        loop {
            if let Some(frame) = self.unread.pop_front() {
                self.note(&frame);
                return Some(frame);
            }
            let message = timeout(DEADLINE, self.socket.next()).await;
            match message.unwrap_or_else(|_| panic!("{} hears nothing any more", self.user)) {
                Some(Ok(Message::Text(text))) => self.unread = self.objects(&text),
                Some(Ok(Message::Close(frame))) => self.close_code = frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    fn objects(&self, text: &str) -> VecDeque<Value> {
        match (self.wire, serde_json::from_str(text).unwrap()) {
            (Wire::Single, object @ Value::Object(_)) => VecDeque::from([object]),
            (Wire::Batch, Value::Array(objects)) if !objects.is_empty() => objects.into(),
            (wire, other) => panic!("{wire:?}: {other}"),
        }
    }

    /// Hears on until everything up to this number has come.
    pub(crate) async fn hear_to(&mut self, room: &str, seq: u64) {
        while self.position(room) < seq {
            self.next().await;
        }
    }

    /// Hears on until something like this comes.
    pub(crate) async fn hear_until(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let frame = self.next().await;
            if is_it(&frame) {
                return frame;
            }
        }
    }

    /// Hears on until each command has its reply.
    pub(crate) async fn hear_replies(&mut self) {
        while self.unanswered() > 0 {
            self.next().await;
        }
    }

    /// Hears on to the end of the connection. Returns the log.
    pub(crate) async fn hear_out(mut self) -> Log {
        while self.hear().await.is_some() {}
        self.log()
    }

    /// The number up to which everything of a room has come.
    pub(crate) fn position(&self, room: &str) -> u64 {
        self.readings.get(room).unwrap_or_else(|| panic!("{} is not in {room}", self.user)).position()
    }

    pub(crate) fn is_joined(&self, room: &str) -> bool {
        self.readings.contains_key(room)
    }

    /// Everything that was done and told: the end of this client.
    pub(crate) fn log(mut self) -> Log {
        self.log.readings.extend(std::mem::take(&mut self.readings).into_values());
        for asked in std::mem::take(&mut self.asked).into_values() {
            self.settle(asked, Outcome::Unknown);
        }
        self.log
    }

    // Taking notes.

    fn note(&mut self, frame: &Value) {
        let asked = frame["id"].as_u64().map(|id| {
            self.asked.remove(&id).unwrap_or_else(|| panic!("{} did not ask for {frame}", self.user))
        });
        match (frame["type"].as_str().unwrap(), asked) {
            ("joined", Some(Asked::Join { after })) => self.note_joined(frame, after),
            ("joined", None) => self.note_joined(frame, None),
            ("left", _) => self.note_left(frame),
            ("ack", Some(asked)) => self.note_ack(frame, asked),
            ("error", Some(asked)) => {
                let lost = frame["code"] == "unavailable";
                self.log.unavailable += usize::from(lost);
                self.settle(asked, if lost { Outcome::Unknown } else { Outcome::Refused });
            }
            ("message" | "edited" | "deleted" | "reaction" | "member" | "room", None) => {
                self.reading(frame).places.push(place(frame));
            }
            ("welcome" | "presence" | "typing" | "read", None)
            | ("ok" | "pong" | "history", Some(Asked::Other)) => {}
            (_, asked) => panic!("{} got {frame} for {asked:?}", self.user),
        }
    }

    fn note_joined(&mut self, frame: &Value, after: Option<u64>) {
        self.note_left(frame);
        let after = after.filter(|_| frame["reset"] != true);
        let room = frame["room"].as_str().unwrap().to_owned();
        let after = after.unwrap_or_else(|| frame["last_seq"].as_u64().unwrap());
        let reading = Reading { who: self.user.clone(), room: room.clone(), after, places: Vec::new() };
        self.readings.insert(room, reading);
    }

    fn note_left(&mut self, frame: &Value) {
        self.log.readings.extend(self.readings.remove(frame["room"].as_str().unwrap()));
    }

    /// The ack of a new event stands in its place.
    fn note_ack(&mut self, frame: &Value, asked: Asked) {
        let (seq, at) = (frame["seq"].as_u64().unwrap(), frame["at"].as_u64().unwrap());
        let key = match &asked {
            Asked::Send { key, .. } => Some(key.clone()),
            Asked::Join { .. } | Asked::Other => None,
        };
        if frame["duplicate"] == true {
            return self.settle(asked, Outcome::Duplicate { seq, at });
        }
        self.settle(asked, Outcome::New { seq, at });
        let from = self.user.clone();
        if let Some(reading) = self.readings.get_mut(frame["room"].as_str().unwrap()) {
            reading.places.push(super::checker::Place { seq, at, from, key });
        }
    }

    fn settle(&mut self, asked: Asked, outcome: Outcome) {
        if let Asked::Send { room, key } = asked {
            self.log.tries.push(Try { who: self.user.clone(), room, key, outcome });
        }
    }

    fn reading(&mut self, frame: &Value) -> &mut Reading {
        let reading = self.readings.get_mut(frame["room"].as_str().unwrap());
        reading.unwrap_or_else(|| panic!("{} got {frame} of a room that it is not in", self.user))
    }
}
