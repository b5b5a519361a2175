//! A client with its sockets, which comes back by itself.

mod entry;
mod heard;
mod socket;
#[cfg(test)]
mod tests;
mod told;

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Sleep, sleep, timeout};

use self::{entry::Pending, socket::Socket};
pub use self::{
    entry::{Entry, NoToken, Tokens},
    told::{Body, Event, Stopped, Told},
};
use super::{
    Bounds, Client, Draft, End, Link, Loss, Pauses, Position, Subprotocol,
    frames::put_close,
    http::{ConnectError, Opened, Target, connect},
    loss::SIGNED_OUT,
};

/// So much is read at once: what it brings is told before more is read.
const READ_BYTES: usize = 16 << 10;

/// Who has not taken a goodbye by then does not wait for one.
const GOODBYE_MAX: Duration = Duration::from_secs(10);

/// A user's client of some rooms, over one connection after another, as `docs/reconnect.md` has it: nothing is lost, nothing
/// is told twice, and what was sent is kept once.
///
/// Nothing happens by itself: all work is done while [`next`](Self::next) is awaited. Rooms go by their index in the order
/// in which they were given.
///
/// ```no_run
/// use chat_load::client::{Body, Draft, Driver, Entry, Told};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = "http://127.0.0.1:8080".parse()?;
/// let mut driver = Driver::new(server, Entry::named("ann"), ["lobby".to_owned()]);
/// driver.send(0, Draft::new("hello")).expect("nothing waits yet");
/// loop {
///     match driver.next().await? {
///         Told::Kept { key, seq, .. } => println!("{key} is kept as {seq}"),
///         Told::Event { event, .. } => match event.body {
///             Body::Message { text: Some(text), .. } => println!("{}: {text}", event.from),
///             _ => {}
///         },
///         Told::Lost { why, wait } => eprintln!("{why}; again in {wait:?}"),
///         _ => {}
///     }
/// }
/// # }
/// ```
pub struct Driver {
    target: Target,
    entry: Entry,
    /// The last one that was shown, as long as it may hold.
    token: Option<String>,
    client: Client,
    pauses: Pauses,
    stage: Stage,
    /// At most what one read has brought.
    told: VecDeque<Told>,
    buffer: Box<[u8]>,
}

enum Stage {
    /// To be opened at once.
    Away,
    Waiting(Pin<Box<Sleep>>),
    Opening(Pending<Result<(Opened, Option<String>), Missed>>),
    Open(Box<Socket>),
    Stopped(Stopped),
}

/// Why there was no connection.
enum Missed {
    NoToken(NoToken),
    NoAnswer(ConnectError),
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("target", &self.target)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// A client of these rooms. It connects once it is asked for what is [`next`](Self::next).
    pub fn new(target: Target, entry: Entry, rooms: impl IntoIterator<Item = String>) -> Self {
        let head = Draft::new("").key;
        Self {
            target,
            entry,
            token: None,
            client: Client::new(Subprotocol::Batch, &head, rooms).healing(),
            pauses: Pauses::default(),
            stage: Stage::Away,
            told: VecDeque::new(),
            buffer: vec![0; READ_BYTES].into(),
        }
    }

    /// The same with other bounds of the waits before it comes back.
    #[must_use]
    pub const fn pauses(mut self, bounds: Bounds) -> Self {
        self.pauses = Pauses::within(bounds);
        self
    }

    /// The same, going on in a room where an earlier client was.
    #[must_use]
    pub fn resume(mut self, room: usize, position: Position) -> Self {
        self.client.resume(room, position);
        self
    }

    /// Up to where [`next`](Self::next) has told what happened in a room: whoever keeps this, and what was sent and not
    /// told to be kept, can go on with another driver. `None` before the room began.
    pub fn position(&self, room: usize) -> Option<Position> {
        let mut position = self.client.rooms()[room].resumes_at()?;
        for told in &self.told {
            match told {
                Told::Began { room: began, .. } if *began == room => return None,
                Told::Event { room: other, event, .. } if *other == room => {
                    position.after = event.seq.saturating_sub(1);
                    return Some(position);
                }
                _ => {}
            }
        }
        Some(position)
    }

    /// How many messages to a room were sent, or are to be, and are not kept yet.
    pub fn waiting(&self, room: usize) -> usize {
        self.client.rooms()[room].waiting()
    }

    /// Sends a message to a room, now or as soon as that is possible, and again after lost connections and refusals that
    /// pass, until it is told to be [`Kept`](Told::Kept) or [`Rejected`](Told::Rejected). Whoever wants it to survive this
    /// process keeps the draft until then, and sends it again as it is.
    ///
    /// # Errors
    /// The draft itself, where [`WAITING_MAX`](super::WAITING_MAX) others wait already.
    pub fn send(&mut self, room: usize, draft: Draft) -> Result<(), Draft> {
        self.client.send_draft(room, Duration::ZERO, draft)?;
        if let Stage::Open(socket) = &mut self.stage {
            socket.write(&mut self.client);
        }
        Ok(())
    }

    /// Shows the next token before the last one ends: now, and on the connections that follow.
    pub fn renew(&mut self, token: impl Into<String>) {
        let token = token.into();
        if let Stage::Open(socket) = &mut self.stage {
            self.client.show(&token);
            socket.write(&mut self.client);
        }
        self.token = Some(token);
    }

    /// Waits no longer to come back, where that is what it does: the system has said that the network is there again.
    pub fn hurry(&mut self) {
        if matches!(self.stage, Stage::Waiting(_)) {
            self.stage = Stage::Away;
        }
    }

    /// What happens next.
    ///
    /// # Errors
    /// [`Stopped`], and the same again each time that it is asked.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing: what was under way (a wait, a handshake, a frame that has come in part) stays in the
    /// driver, and the next call goes on with it.
    pub async fn next(&mut self) -> Result<Told, Stopped> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Says goodbye, to a server that takes it within ten seconds. Dropping the driver instead is to the server as a lost
    /// network.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection, perhaps without the goodbye.
    pub async fn end(mut self) {
        if let Stage::Open(socket) = &mut self.stage {
            socket.write(&mut self.client);
            let mut goodbye = Vec::new();
            put_close(&mut goodbye);
            socket.link.write(&goodbye);
            // A connection that breaks here, or takes nothing, has ended as well.
            let _ = timeout(GOODBYE_MAX, poll_fn(|cx| socket.link.poll_flush(cx))).await;
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Told, Stopped>> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Poll::Ready(Ok(told));
            }
            match &mut self.stage {
                Stage::Away => self.stage = Stage::Opening(self.opening()),
                Stage::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    self.stage = Stage::Away;
                }
                Stage::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok((opened, token)) => self.opened(opened, token),
                    Err(missed) => self.missed(missed),
                },
                Stage::Open(socket) => {
                    let heard = socket.poll(cx, &mut self.client, &mut self.buffer, &mut self.told);
                    if let Err(loss) = ready!(heard) {
                        self.lose(loss);
                    }
                }
                Stage::Stopped(stopped) => return Poll::Ready(Err(stopped.clone())),
            }
        }
    }

    fn opening(&mut self) -> Pending<Result<(Opened, Option<String>), Missed>> {
        let (target, who) = (self.target.clone(), self.entry.who());
        let word = self.entry.word(self.token.as_ref());
        Box::pin(async move {
            let token = word.await.map_err(Missed::NoToken)?;
            let opened = connect(&target, None, &who, Subprotocol::Batch).await;
            Ok((opened.map_err(Missed::NoAnswer)?, token))
        })
    }

    fn opened(&mut self, opened: Opened, token: Option<String>) {
        self.client.opened();
        let mut socket = Box::new(Socket::new(Link::new(opened.stream)));
        // One that came by `renew` meanwhile is newer.
        self.token = self.token.take().or(token);
        if let Some(token) = &self.token {
            self.client.show(token);
        }
        let early = socket.hear(&opened.rest, &mut self.client, &mut self.told);
        self.stage = Stage::Open(socket);
        if let Err(loss) = early {
            self.lose(loss);
        }
    }

    fn missed(&mut self, missed: Missed) {
        match missed {
            Missed::NoToken(NoToken::SignedOut) => self.stage = Stage::Stopped(Stopped::SignedOut),
            Missed::NoToken(why) => {
                let wait = self.pauses.after(None, Duration::ZERO);
                self.wait(why.to_string(), wait);
            }
            Missed::NoAnswer(error) => self.lose(error.into()),
        }
    }

    fn lose(&mut self, loss: Loss) {
        let lasted = match &self.stage {
            Stage::Open(socket) => socket.since.elapsed(),
            _ => Duration::ZERO,
        };
        let is_signed_out = matches!(loss, Loss::Closed(Some(SIGNED_OUT)));
        // Where there is no other to be had, the last one is still the best.
        if self.entry.renews() && (is_signed_out || !self.client.is_welcome()) {
            self.token = None;
        }
        self.client.lost();
        let wait = if is_signed_out && self.entry.renews() {
            Some(self.pauses.after(None, lasted))
        } else {
            loss.wait(lasted, &mut self.pauses)
        };
        match wait {
            Some(wait) => self.wait(loss.to_string(), wait),
            None => self.stage = Stage::Stopped(stopped(loss)),
        }
    }

    fn wait(&mut self, why: String, wait: Duration) {
        self.told.push_back(Told::Lost { why, wait });
        self.stage = Stage::Waiting(Box::pin(sleep(wait)));
    }
}

/// Of a loss after which coming back is of no use.
fn stopped(loss: Loss) -> Stopped {
    match loss {
        Loss::Unconnected(error) => Stopped::Refused(error.into()),
        Loss::Closed(Some(code)) => Stopped::Closed(code),
        Loss::Client(End::Stop(why)) => Stopped::ShutOut(why),
        other => Stopped::ShutOut(other.to_string()),
    }
}
