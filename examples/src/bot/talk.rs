//! One connection of the bot.

use std::{collections::BTreeSet, io, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, protocol::CloseFrame},
};

use super::{
    answer_to,
    notebook::{Notebook, Position},
};

/// The server pings every 25 s. Two of them missed, and the connection is given up.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Questions whose answer is not acked yet. At the bound the bot hears no more until all of them are, and then comes
/// back for the rest: the timeline keeps it.
const WAITING_MAX: usize = 256;

/// The id of the join. The id of an answer is the number of its question, which is never 0.
const JOIN: u64 = 0;

/// Why a bot cannot go on. Coming back would not help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stopped {
    /// Its position cannot be read or written.
    #[error("the notebook cannot be used")]
    Notebook(#[from] io::Error),
    /// The server does not let it in.
    #[error("the server refuses the connection")]
    Refused(#[source] Box<tungstenite::Error>),
    /// The server has closed the connection for good, with this code.
    #[error("the server has closed the connection with {0}")]
    Closed(u16),
    /// It may not join the room, or not any more: the error's code, or the reason.
    #[error("the room is closed to the bot: {0}")]
    Room(String),
}

/// How a connection ends.
#[derive(Debug)]
pub(super) enum Ended {
    Stopped(Stopped),
    /// There was too much to do at once. All of it is settled now, and there is more.
    Behind,
    /// The server goes away for a moment.
    Restart,
    Lost {
        at_least: Duration,
    },
}

impl Ended {
    const LOST: Self = Self::Lost { at_least: Duration::ZERO };
}

impl From<Stopped> for Ended {
    fn from(reason: Stopped) -> Self {
        Self::Stopped(reason)
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Stopped::Notebook(error).into()
    }
}

/// What the bot looks at in the frames of the server. It passes over everything else, as every client must.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Frame {
    r#type: String,
    id: Option<u64>,
    seq: u64,
    from: Option<String>,
    text: Option<String>,
    key: Option<String>,
    duplicate: bool,
    reset: bool,
    last_seq: u64,
    epoch: String,
    code: String,
    retry_after_ms: u64,
    reason: Option<String>,
    user: Value,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(super) struct Talk<'a> {
    socket: Socket,
    room: &'a str,
    notebook: &'a mut Notebook,
    me: String,
    epoch: String,
    /// Everything up to here was heard.
    heard: u64,
    /// Questions whose answer is not acked yet.
    waiting: BTreeSet<u64>,
    is_full: bool,
}

impl<'a> Talk<'a> {
    /// Connects and asks to join where the notebook says.
    pub(super) async fn begin(url: &str, room: &'a str, notebook: &'a mut Notebook) -> Result<Self, Ended> {
        let (socket, _) = connect_async(url).await.map_err(unconnected)?;
        let (me, epoch, waiting) = (String::new(), String::new(), BTreeSet::new());
        let mut talk = Self { socket, room, notebook, me, epoch, heard: 0, waiting, is_full: false };
        let mut join = json!({ "type": "join", "id": JOIN, "room": room });
        if let Some(position) = talk.notebook.position() {
            join["after"] = json!(position.after);
            join["epoch"] = json!(position.epoch);
        }
        talk.say(&join).await?;
        Ok(talk)
    }

    /// Answers until the connection ends.
    pub(super) async fn run(mut self) -> Ended {
        loop {
            if let Err(ended) = self.step().await {
                return ended;
            }
        }
    }

    async fn step(&mut self) -> Result<(), Ended> {
        let frame = self.next().await?;
        match frame.r#type.as_str() {
            "welcome" => frame.user["id"].as_str().unwrap_or_default().clone_into(&mut self.me),
            "joined" => self.joined(frame),
            // The bot never leaves: so it was told to.
            "left" => return Err(Stopped::Room(frame.reason.unwrap_or_default()).into()),
            "error" => self.refused(&frame)?,
            "ack" => {
                self.waiting.retain(|question| Some(*question) != frame.id);
                // In the stream the ack stands in the place of the bot's own event. A duplicate's event has its own.
                if !frame.duplicate {
                    self.hear(frame.seq)?;
                }
            }
            _ if frame.from.is_some() => self.event(&frame).await?,
            _ => {} // what is told but not kept, and what this bot has never heard of
        }
        self.take_note()
    }

    fn joined(&mut self, frame: Frame) {
        // The first time, and where the position has lost its meaning, there is nothing to catch up with.
        let resumed = self.notebook.position().filter(|_| !frame.reset).map(|position| position.after);
        self.heard = resumed.unwrap_or(frame.last_seq);
        self.epoch = frame.epoch;
    }

    fn refused(&mut self, frame: &Frame) -> Result<(), Ended> {
        match frame.code.as_str() {
            // Whether it was kept, nobody knows. The way to find out is to come back.
            "unavailable" | "overloaded" | "rate_limited" | "internal" => {
                Err(Ended::Lost { at_least: Duration::from_millis(frame.retry_after_ms) })
            }
            code if frame.id == Some(JOIN) => Err(Stopped::Room(code.to_owned()).into()),
            _ => {
                // This answer will never be taken.
                self.waiting.retain(|question| Some(*question) != frame.id);
                Ok(())
            }
        }
    }

    async fn event(&mut self, event: &Frame) -> Result<(), Ended> {
        if event.from.as_ref() == Some(&self.me) {
            // The bot itself, on an earlier connection.
            let question = event.key.as_deref().and_then(question_of);
            self.waiting.retain(|waiting| Some(*waiting) != question);
            return self.hear(event.seq);
        }
        let is_new = !self.is_full && event.seq > self.heard;
        // A message that was deleted meanwhile has no text any more.
        let text = event.text.as_deref().filter(|_| is_new && event.r#type == "message");
        let Some(answer) = text.and_then(|text| answer_to(text, event.seq)) else {
            return self.hear(event.seq);
        };
        self.hear(event.seq)?;
        self.waiting.insert(event.seq);
        self.is_full = self.waiting.len() >= WAITING_MAX;
        let send = json!({
            "type": "send",
            "id": event.seq,
            "room": self.room,
            "text": answer,
            "reply_to": event.seq,
            "key": key_of(event.seq),
        });
        self.say(&send).await
    }

    /// Moves on to `seq`. There is never a hole; where there seems to be one, something is wrong that a new beginning
    /// from the old position puts right.
    const fn hear(&mut self, seq: u64) -> Result<(), Ended> {
        if self.is_full || seq <= self.heard {
            return Ok(());
        }
        if seq != self.heard + 1 {
            return Err(Ended::LOST);
        }
        self.heard = seq;
        Ok(())
    }

    /// Keeps up to where everything is settled: heard, and answered where it was a question.
    fn take_note(&mut self) -> Result<(), Ended> {
        if self.epoch.is_empty() {
            return Ok(()); // not joined yet
        }
        let after = self.waiting.first().map_or(self.heard, |question| question - 1);
        self.notebook.write(Position { epoch: self.epoch.clone(), after })?;
        if self.is_full && self.waiting.is_empty() { Err(Ended::Behind) } else { Ok(()) }
    }

    async fn say(&mut self, command: &Value) -> Result<(), Ended> {
        // Why it failed is said better by the reading half: a close code, perhaps.
        let _ = self.socket.send(Message::text(command.to_string())).await;
        Ok(())
    }

    /// The next frame with words in it. Pings are answered by tungstenite, while it is read from.
    async fn next(&mut self) -> Result<Frame, Ended> {
        loop {
            match timeout(SILENCE_MAX, self.socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => {
                    return serde_json::from_str(&text).or(Err(Ended::LOST));
                }
                Ok(Some(Ok(Message::Close(frame)))) => return Err(closed(frame.as_ref())),
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) | Err(_) => return Err(Ended::LOST),
            }
        }
    }
}

fn key_of(question: u64) -> String {
    format!("answer-{question}")
}

fn question_of(key: &str) -> Option<u64> {
    key.strip_prefix("answer-")?.parse().ok()
}

fn unconnected(error: tungstenite::Error) -> Ended {
    match error {
        // It drains: another one will be there soon.
        tungstenite::Error::Http(answer) if answer.status() == 503 => Ended::LOST,
        tungstenite::Error::Http(_) | tungstenite::Error::Url(_) => Stopped::Refused(Box::new(error)).into(),
        _ => Ended::LOST,
    }
}

fn closed(frame: Option<&CloseFrame>) -> Ended {
    match frame.map(|frame| u16::from(frame.code)) {
        Some(1001) => Ended::Restart,
        // What broke the rules once would break them again, and who is shut out stays so.
        Some(code @ (1002 | 1003 | 1007 | 1009 | 4001 | 4003)) => Stopped::Closed(code).into(),
        _ => Ended::LOST,
    }
}
