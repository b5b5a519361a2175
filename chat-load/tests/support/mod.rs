//! A server of a few lines that speaks enough of the protocol for a run, and makes one mistake.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{
        Notify,
        mpsc::{self, UnboundedSender},
    },
    time::sleep,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
    },
};

/// The number at which the server makes its mistake.
pub(crate) const AT: u64 = 20;

/// Longer than a run of these tests measures.
pub(crate) const STALL: Duration = Duration::from_secs(1);

/// With more users than this, one who [tires](Mistake::Tire) is slow.
pub(crate) const TIRED_BEYOND: usize = 10;

/// What the server does wrong, once: at number [`AT`] of the first room that gets so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    /// One reader does not get it.
    Lose,
    /// One reader gets neither it nor anything after it.
    LoseEnd,
    /// One reader gets it twice.
    Double,
    /// One reader gets it after the next one.
    Swap,
    /// Its sender gets no ack.
    ForgetAck,
    /// Its sender gets the ack twice.
    DoubleAck,
    /// Its sender gets the ack after the next one of its own.
    SwapAcks,
    /// It is kept twice, under two numbers.
    KeepTwice,
    /// One reader gets it as of another room.
    Misroute,
    /// One reader gets it as bytes that are no frame of the protocol.
    Garble,
    /// One reader gets it with another text.
    Alter,
    /// One reader gets it as of somebody else.
    Misattribute,
    /// One reader is disconnected before it.
    HangUp,
    /// Its sender is told that it is not let in.
    Refuse,
    /// No subprotocol is agreed on.
    Mute,
    /// Who asks for its figures is hung up on.
    HideFigures,
    /// Every reader waits for its [`AT`]th frame, and for all after it, as long as [`STALL`].
    Stall,
    /// With more users than [`TIRED_BEYOND`] every reader waits for each of its frames as long as [`STALL`].
    Tire,
}

/// A server with its rooms.
#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    /// Somebody has said something.
    pub(crate) said: Arc<Notify>,
}

#[derive(Default)]
struct Room {
    /// The events, and who sent each.
    events: Vec<(String, Value)>,
    members: Vec<(String, UnboundedSender<Message>)>,
    held: Option<(String, Message)>,
}

type Rooms = Arc<Mutex<BTreeMap<String, Room>>>;

/// What all connections share.
#[derive(Clone)]
struct World {
    rooms: Rooms,
    said: Arc<Notify>,
    /// As many as there are connections, and one more.
    users: Arc<()>,
}

impl Fake {
    pub(crate) async fn start(mistake: Mistake) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let said = Arc::new(Notify::new());
        let world = World { rooms: Rooms::default(), said: Arc::clone(&said), users: Arc::new(()) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, world.clone(), mistake));
            }
        });
        Self { address, said }
    }
}

/// One connection. A broken one ends its task, which nobody misses.
async fn serve(mut stream: TcpStream, world: World, mistake: Mistake) {
    let mut head = [0; 12];
    stream.peek(&mut head).await.unwrap();
    if !head.starts_with(b"GET /ws") {
        let _ = stream.read(&mut [0; 1024]).await;
        if mistake == Mistake::HideFigures {
            return;
        }
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        return;
    }
    let (mut user, mut is_batch) = (String::new(), false);
    #[expect(clippy::result_large_err, reason = "the type is tungstenite's")]
    let agree = |request: &Request, mut response: Response| {
        let query = request.uri().query().unwrap();
        let name = query.split('&').find_map(|part| part.strip_prefix("user="));
        name.unwrap().clone_into(&mut user);
        if mistake != Mistake::Mute {
            let wanted = request.headers()["sec-websocket-protocol"].clone();
            is_batch = wanted == "chat.v1.batch";
            response.headers_mut().insert("sec-websocket-protocol", wanted);
        }
        Ok(response)
    };
    let Ok(socket) = accept_hdr_async(stream, agree).await else { return };
    let (mut sink, mut source) = socket.split();
    let (mailbox, mut mail) = mpsc::unbounded_channel::<Message>();
    let users = Arc::downgrade(&world.users);
    tokio::spawn(async move {
        let mut count = 0;
        while let Some(message) = mail.recv().await {
            count += 1;
            let is_tired = mistake == Mistake::Tire && count > 2 && users.strong_count() > TIRED_BEYOND + 1;
            if is_tired || (mistake == Mistake::Stall && count == AT) {
                sleep(STALL).await;
            }
            let mut frames = vec![message];
            while let Ok(message) = mail.try_recv() {
                frames.push(message);
            }
            for frame in if is_batch { gathered(&frames) } else { frames } {
                let is_end = frame.is_close();
                if sink.send(frame).await.is_err() || is_end {
                    return;
                }
            }
        }
    });
    let welcome = json!({ "protocol": "chat.v1", "session": "c1", "user": { "id": user } });
    mailbox.send(text("welcome", &welcome)).unwrap();
    while let Some(Ok(Message::Text(command))) = source.next().await {
        let command: Value = serde_json::from_str(&command).unwrap();
        let mut rooms: MutexGuard<'_, _> = world.rooms.lock().unwrap();
        let room = rooms.entry(command["room"].as_str().unwrap().to_owned()).or_default();
        match command["type"].as_str().unwrap() {
            "join" => room.join(&user, &command, mailbox.clone()),
            "send" => {
                room.send(&user, &command, mistake);
                world.said.notify_one();
            }
            other => unreachable!("{other}"),
        }
    }
    for room in world.rooms.lock().unwrap().values_mut() {
        room.members.retain(|(_, other)| !other.same_channel(&mailbox));
    }
}

impl Room {
    fn join(&mut self, user: &str, command: &Value, mailbox: UnboundedSender<Message>) {
        let last = self.events.len();
        let body = json!({ "id": command["id"], "room": command["room"], "epoch": "e", "last_seq": last });
        let _ = mailbox.send(text("joined", &body));
        let after = command["after"].as_u64().map_or(last, |after| usize::try_from(after).unwrap());
        for (_, event) in &self.events[after..] {
            let _ = mailbox.send(text("message", event));
        }
        self.members.push((user.to_owned(), mailbox));
    }

    fn send(&mut self, user: &str, command: &Value, mistake: Mistake) {
        if mistake == Mistake::Refuse && self.events.len() as u64 + 1 == AT {
            // Only once: the next one is let in.
            self.events.push((user.to_owned(), self.event("server", &json!({ "text": "no" }))));
            let error = json!({ "id": command["id"], "code": "forbidden", "message": "not here" });
            self.tell(user, &text("error", &error));
            let seq = self.events.len();
            self.broadcast("server", seq, None, Mistake::None);
            return;
        }
        self.events.push((user.to_owned(), self.event(user, command)));
        let seq = self.events.len();
        let ack = json!({ "id": command["id"], "room": command["room"], "seq": seq });
        self.broadcast(user, seq, Some(&text("ack", &ack)), mistake);
        if mistake == Mistake::KeepTwice && seq as u64 == AT {
            self.events.push((user.to_owned(), self.event(user, command)));
            self.broadcast("nobody", seq + 1, None, Mistake::None);
        }
    }

    fn event(&self, user: &str, command: &Value) -> Value {
        let (seq, room) = (self.events.len() + 1, self.name(command));
        json!({ "room": room, "seq": seq, "at": 1, "from": user, "text": command["text"], "key": command["key"] })
    }

    fn name(&self, command: &Value) -> Value {
        self.events.first().map_or_else(|| command["room"].clone(), |(_, event)| event["room"].clone())
    }

    fn tell(&self, user: &str, message: &Message) {
        for (_, mailbox) in self.members.iter().filter(|(member, _)| member == user) {
            let _ = mailbox.send(message.clone());
        }
    }

    /// Gives an event to everybody, and to its sender the ack in its place.
    fn broadcast(&mut self, sender: &str, seq: usize, ack: Option<&Message>, mistake: Mistake) {
        let (_, event) = &self.events[seq - 1];
        let message = text("message", event);
        let is_now = seq as u64 == AT || (seq as u64 > AT && mistake == Mistake::LoseEnd);
        let mistake = if is_now { mistake } else { Mistake::None };
        let mut others = self.members.iter().map(|(member, _)| member);
        let victim = match mistake {
            // Always the same, who gets no ack either.
            Mistake::LoseEnd => others.min(),
            _ => others.find(|member| *member != sender),
        };
        let victim = victim.cloned();
        let held = self.held.take();
        for (member, mailbox) in &self.members {
            let is_victim = Some(member) == victim.as_ref();
            let give = |message: Message| {
                let _ = mailbox.send(message);
            };
            match (ack, mistake) {
                (Some(_), Mistake::ForgetAck) if member == sender => {}
                (Some(ack), Mistake::SwapAcks) if member == sender => {
                    self.held = Some((member.clone(), ack.clone()));
                }
                (Some(ack), Mistake::DoubleAck) if member == sender => {
                    give(ack.clone());
                    give(ack.clone());
                }
                (_, Mistake::Lose | Mistake::LoseEnd) if is_victim => {}
                (Some(ack), _) if member == sender => give(ack.clone()),
                (_, Mistake::Swap) if is_victim => self.held = Some((member.clone(), message.clone())),
                (_, Mistake::HangUp) if is_victim => give(Message::Close(None)),
                (_, Mistake::Garble) if is_victim => give(Message::text("{\"kind\":\"message\"}")),
                (_, Mistake::Alter | Mistake::Misattribute) if is_victim => {
                    let mut event = event.clone();
                    if mistake == Mistake::Alter {
                        event["text"] = json!(format!("{}y", event["text"].as_str().unwrap()));
                    } else {
                        event["from"] = json!("u99");
                    }
                    give(text("message", &event));
                }
                (_, Mistake::Misroute) if is_victim => {
                    let mut event = event.clone();
                    event["room"] = json!("elsewhere");
                    give(text("message", &event));
                }
                (_, Mistake::Double) if is_victim => {
                    give(message.clone());
                    give(message.clone());
                }
                _ => give(message.clone()),
            }
        }
        match held {
            // An ack waits for the next one of the same user.
            Some((user, held)) if user == sender || !is_ack(&held) => self.tell(&user, &held),
            held => self.held = self.held.take().or(held),
        }
    }
}

/// Runs of texts as arrays.
fn gathered(frames: &[Message]) -> Vec<Message> {
    let runs = frames.chunk_by(|one, next| one.is_text() && next.is_text());
    let frames = runs.map(|run| match run {
        [end] if end.is_close() => end.clone(),
        texts => {
            let texts: Vec<_> = texts.iter().map(|text| text.to_text().unwrap()).collect();
            Message::text(format!("[{}]", texts.join(",")))
        }
    });
    frames.collect()
}

fn is_ack(message: &Message) -> bool {
    message.to_text().unwrap().starts_with(r#"{"type":"ack""#)
}

/// A frame with its type first, and the room and the number next, as the server writes them.
fn text(kind: &str, body: &Value) -> Message {
    let mut frame = format!(r#"{{"type":"{kind}""#);
    let fields = body.as_object().unwrap();
    let first = ["id", "room", "seq"].into_iter().filter(|name| fields.contains_key(*name));
    let rest = fields.keys().map(String::as_str).filter(|name| !["id", "room", "seq"].contains(name));
    for name in first.chain(rest) {
        write!(frame, r#","{name}":{}"#, fields[name]).unwrap();
    }
    Message::text(frame + "}")
}
