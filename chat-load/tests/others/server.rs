//! A broadcast server of a few lines, of its own kind, that makes one mistake.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{
        broadcast,
        mpsc::{self, UnboundedSender},
    },
};
use tokio_tungstenite::{
    accept_async, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
    },
};

/// The message of a room at which the server makes its mistake.
pub(crate) const AT: usize = 20;

/// What it tells a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tells {
    /// `{"ok":n}`.
    Ack,
    /// What everybody gets.
    Echo,
    Nothing,
}

/// What the server does wrong, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    /// One reader does not get it.
    Lose,
    /// One reader gets neither it nor anything after it.
    LoseEnd,
    /// One reader gets it twice.
    Double,
    /// One reader gets it after the author's next one.
    Swap,
    /// Its sender is told nothing.
    ForgetAck,
    /// Its sender is told twice.
    DoubleAck,
    /// Its sender is told after the next one of its own.
    SwapAcks,
    /// One reader gets it with another text.
    Alter,
    /// One reader gets it without its end.
    Cut,
    /// One reader gets it as of somebody else.
    Misattribute,
    /// One reader gets it as of another room.
    Misname,
    /// Somebody in another room gets it.
    Leak,
    /// Its sender gets it back.
    Return,
    /// One reader gets a message that nobody has said yet.
    Invent,
    /// One reader is disconnected before it.
    HangUp,
}

struct Member {
    user: String,
    mailbox: UnboundedSender<Message>,
    /// What waits for the next message of this author.
    held: Option<(String, Message)>,
}

#[derive(Default)]
struct Room {
    members: Vec<Member>,
    count: usize,
}

type Rooms = Arc<Mutex<BTreeMap<String, Room>>>;

pub(crate) async fn start(tells: Tells, mistake: Mistake) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let rooms = Rooms::default();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&rooms), tells, mistake));
        }
    });
    address
}

/// A server that gives every text to everybody, its sender included.
pub(crate) async fn start_plain() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let everybody = broadcast::Sender::new(1 << 16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (said, mut texts) = (everybody.clone(), everybody.subscribe());
            tokio::spawn(async move {
                let Ok(socket) = accept_async(stream).await else { return };
                let (mut sink, mut source) = socket.split();
                tokio::spawn(async move {
                    while let Ok(text) = texts.recv().await
                        && sink.send(text).await.is_ok()
                    {}
                });
                while let Some(Ok(text @ Message::Text(_))) = source.next().await {
                    said.send(text).unwrap();
                }
            });
        }
    });
    address
}

/// One connection, to `/chat/ROOM/USER`.
async fn serve(stream: TcpStream, rooms: Rooms, tells: Tells, mistake: Mistake) {
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the type is tungstenite's")]
    let look = |request: &Request, response: Response| {
        request.uri().path().clone_into(&mut path);
        Ok(response)
    };
    let Ok(socket) = accept_hdr_async(stream, look).await else { return };
    let (mut sink, mut source) = socket.split();
    let (mailbox, mut mail) = mpsc::unbounded_channel::<Message>();
    tokio::spawn(async move {
        while let Some(message) = mail.recv().await {
            let is_end = message.is_close();
            if sink.send(message).await.is_err() || is_end {
                return;
            }
        }
    });
    let (room, user) = path.strip_prefix("/chat/").unwrap().split_once('/').unwrap();
    rooms.lock().unwrap().entry(room.to_owned()).or_default().members.push(Member {
        user: user.to_owned(),
        mailbox: mailbox.clone(),
        held: None,
    });
    let _ = mailbox.send(Message::text(json!({ "hello": user }).to_string()));
    while let Some(Ok(Message::Text(said))) = source.next().await {
        let said: Value = serde_json::from_str(&said).unwrap();
        let mut rooms = rooms.lock().unwrap();
        if mistake == Mistake::Leak && rooms[room].count + 1 == AT {
            let (_, other) = rooms.iter().find(|(name, _)| *name != room).unwrap();
            let _ = other.members[0].mailbox.send(message(user, room, said["text"].as_str().unwrap()));
        }
        rooms.get_mut(room).unwrap().say(room, user, &said, tells, mistake);
    }
    rooms.lock().unwrap().get_mut(room).unwrap().members.retain(|other| other.user != user);
}

fn message(user: &str, room: &str, text: &str) -> Message {
    Message::text(format!(r#"{{"from":"{user}","room":"{room}","text":"{text}"}}"#))
}

impl Room {
    fn say(&mut self, room: &str, user: &str, said: &Value, tells: Tells, mistake: Mistake) {
        self.count += 1;
        let is_now = self.count == AT || (self.count > AT && mistake == Mistake::LoseEnd);
        let mistake = if is_now { mistake } else { Mistake::None };
        let text = said["text"].as_str().unwrap();
        let right = message(user, room, text);
        let mut others = self.members.iter().map(|member| &member.user).filter(|member| *member != user);
        // In the end it must always be the same, who may say something as well.
        let victim = if mistake == Mistake::LoseEnd { Some("u0") } else { others.next().map(String::as_str) };
        let victim = victim.map(str::to_owned);
        for member in &mut self.members {
            if member.user == user {
                member.tell(&json!({ "ok": said["n"] }).to_string(), &right, tells, mistake);
            } else if Some(&member.user) == victim.as_ref() {
                member.mistaken(user, room, text, mistake);
            } else {
                member.give(right.clone());
            }
            if member.held.as_ref().is_some_and(|(author, _)| author == user) && mistake == Mistake::None {
                let (_, held) = member.held.take().unwrap();
                member.give(held);
            }
        }
    }
}

impl Member {
    fn give(&self, message: Message) {
        let _ = self.mailbox.send(message);
    }

    /// The sender is told.
    fn tell(&mut self, ack: &str, right: &Message, tells: Tells, mistake: Mistake) {
        let told = match tells {
            Tells::Ack => Message::text(ack.to_owned()),
            Tells::Echo => right.clone(),
            Tells::Nothing => {
                if mistake == Mistake::Return {
                    self.give(right.clone());
                }
                return;
            }
        };
        match mistake {
            Mistake::ForgetAck => {}
            Mistake::DoubleAck => {
                self.give(told.clone());
                self.give(told);
            }
            Mistake::SwapAcks => self.held = Some((self.user.clone(), told)),
            _ => self.give(told),
        }
    }

    /// A reader to whom the mistake happens.
    fn mistaken(&mut self, user: &str, room: &str, text: &str, mistake: Mistake) {
        let right = message(user, room, text);
        match mistake {
            Mistake::Lose | Mistake::LoseEnd => {}
            Mistake::Double => {
                self.give(right.clone());
                self.give(right);
            }
            Mistake::Swap => self.held = Some((user.to_owned(), right)),
            Mistake::Alter => self.give(message(user, room, &text.replacen('x', "y", 1))),
            Mistake::Cut => self.give(message(user, room, text.strip_prefix('@').unwrap())),
            Mistake::Misattribute => self.give(message("u99", room, text)),
            Mistake::Misname => self.give(message(user, "elsewhere", text)),
            Mistake::Invent => {
                self.give(right);
                self.give(message(user, room, &text.replacen(".0000000", ".0000009", 1)));
            }
            Mistake::HangUp => self.give(Message::Close(None)),
            _ => self.give(right),
        }
    }
}
