//! A user: one connection after another.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::Ipv4Addr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::{
    RunError,
    foreign::UNWRITTEN_BYTES_MAX,
    said::stamped,
    shared::Shared,
    tally::{Hearing, Tally},
    voice::{Hears, Voice},
};
use crate::{
    client::{
        Fault, Kind, Link, Loss, Pauses,
        frames::{Frame, put_close},
        http::{ConnectError, Opened, Who, connect, connect_at},
    },
    measurement::record,
    scenario::Pace,
};

/// After so many full reads in a row others have their turn.
const READS_MAX: usize = 4;

/// A user of the run.
#[derive(Debug)]
pub(super) struct User {
    number: usize,
    pub(super) name: String,
    who: Who,
    from: Option<Ipv4Addr>,
    /// Which of the plan's rooms the client's are.
    pub(super) rooms: Vec<usize>,
    /// In which of them it talks as fast as acks come, and how many may wait.
    floods: Vec<(usize, usize)>,
    pub(super) voice: RefCell<Voice>,
    link: RefCell<Option<Link>>,
    waker: RefCell<Waker>,
    is_live: Cell<bool>,
    has_been_live: Cell<bool>,
    /// It was told to drop its connection and to come back after this.
    drop: Cell<Option<Duration>>,
    /// When it last began to come back.
    knocked: Cell<Option<Instant>>,
    /// Since when there is a connection.
    connected: Cell<Option<Instant>>,
    /// When it sends again what was refused for the moment.
    retry: RefCell<Option<Pin<Box<Sleep>>>>,
}

/// How a connection ends.
#[derive(Debug)]
enum Ended {
    /// It was told to.
    Dropped(Duration),
    /// The run is over.
    Done,
    Lost(Loss),
}

impl User {
    pub(super) fn new(
        number: usize,
        who: Who,
        from: Option<Ipv4Addr>,
        rooms: Vec<usize>,
        talks: &[(usize, Pace)],
        voice: Voice,
    ) -> Self {
        let floods = talks.iter().filter_map(|(room, pace)| match pace {
            Pace::InFlight(most) => Some((*room, *most)),
            Pace::Rate => None,
        });
        Self {
            number,
            name: format!("u{number}"),
            who,
            from,
            rooms,
            floods: floods.collect(),
            voice: RefCell::new(voice),
            link: RefCell::default(),
            waker: RefCell::new(Waker::noop().clone()),
            is_live: Cell::new(false),
            has_been_live: Cell::new(false),
            drop: Cell::new(None),
            knocked: Cell::new(None),
            connected: Cell::new(None),
            retry: RefCell::default(),
        }
    }

    /// Connects, and comes back whenever a connection is lost, until the run is over.
    pub(super) async fn live(self: Rc<Self>, shared: Rc<Shared>) {
        let mut pauses = Pauses::default();
        loop {
            let ended = self.connection(&shared).await;
            self.voice.borrow_mut().lost();
            self.link.take();
            if self.is_live.take() {
                shared.live.set(shared.live.get() - 1);
            }
            let lasted = self.take_lasted();
            let Some(wait) = self.wait(ended, lasted, &mut pauses, &shared) else { return };
            sleep(wait).await;
        }
    }

    /// How long the connection has lasted that has ended now. The time that it took to get none is no part of it: a
    /// server that hangs would be knocked at as often as one that is well.
    fn take_lasted(&self) -> Duration {
        self.connected.take().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// How long to wait before coming back; `None` where that is of no use.
    fn wait(&self, ended: Ended, lasted: Duration, pauses: &mut Pauses, shared: &Shared) -> Option<Duration> {
        if !self.has_been_live.get() && !matches!(ended, Ended::Done) {
            // The run has not begun, and cannot without this one.
            shared.give_up(self.not_in(ended));
            return None;
        }
        let loss = match ended {
            Ended::Done => return None,
            Ended::Dropped(wait) => return Some(wait),
            Ended::Lost(loss) => loss,
        };
        // Nobody knows how to resume at another's server.
        let is_foreign = matches!(*self.voice.borrow(), Voice::Others(_));
        let wait = loss.wait(lasted, pauses).filter(|_| !is_foreign);
        if wait.is_none() && !is_foreign {
            let fault = Fault::new(Kind::Protocol, format!("it ended for good: {loss}"));
            shared.fault(&self.name, &fault);
            return None;
        }
        let mut tally = shared.tally.borrow_mut();
        if let Loss::Unconnected(_) = loss {
            tally.knocks_refused += 1;
        } else {
            tally.verdict.connections_lost += 1;
            tally.note(&self.name, &loss.to_string());
        }
        wait
    }

    fn not_in(&self, ended: Ended) -> RunError {
        let user = self.name.clone();
        match ended {
            Ended::Lost(Loss::Unconnected(source)) => RunError::Connect { user, source },
            Ended::Lost(loss) => RunError::Join { user, why: loss.to_string() },
            Ended::Dropped(_) | Ended::Done => RunError::Join { user, why: "it was to end".to_owned() },
        }
    }

    /// One connection, from its beginning to its end.
    async fn connection(&self, shared: &Rc<Shared>) -> Ended {
        self.drop.set(None);
        let place = shared.opening.acquire().await;
        let knocked = Instant::now();
        let opened = self.open(shared).await;
        drop(place);
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => return Ended::Lost(error.into()),
        };
        self.voice.borrow_mut().opened();
        self.knocked.set(Some(knocked));
        self.connected.set(Some(Instant::now()));
        let mut link = Link::new(opened.stream);
        let early = self.hear(&opened.rest, &mut link, shared);
        *self.link.borrow_mut() = Some(link);
        match early {
            Ok(()) => poll_fn(|cx| self.poll(cx, shared)).await,
            Err(loss) => Ended::Lost(loss),
        }
    }

    async fn open(&self, shared: &Shared) -> Result<Opened, ConnectError> {
        let path = match &*self.voice.borrow() {
            Voice::Ours(_) => None,
            Voice::Others(foreign) => Some(foreign.path()),
        };
        match path {
            None => connect(&shared.target, self.from, &self.who, shared.subprotocol).await,
            Some(path) => connect_at(&shared.target, self.from, &path, &self.who, None).await,
        }
    }

    fn poll(&self, cx: &mut Context<'_>, shared: &Rc<Shared>) -> Poll<Ended> {
        self.waker.borrow_mut().clone_from(cx.waker());
        if let Some(wait) = self.drop.take() {
            return Poll::Ready(Ended::Dropped(wait));
        }
        let mut link = self.link.borrow_mut();
        let Some(link) = link.as_mut() else { return Poll::Ready(Ended::Done) };
        let buffer = &mut *shared.buffer.borrow_mut();
        for _ in 0..READS_MAX {
            match link.poll_read(cx, buffer) {
                Poll::Pending => {
                    self.poll_retry(cx, link, shared);
                    return match link.poll_flush(cx) {
                        Poll::Ready(Err(error)) => Poll::Ready(Ended::Lost(error.into())),
                        _ => Poll::Pending,
                    };
                }
                Poll::Ready(Ok([])) => return Poll::Ready(Ended::Lost(Loss::Closed(None))),
                Poll::Ready(Ok(bytes)) => {
                    if let Err(loss) = self.hear(bytes, link, shared) {
                        return Poll::Ready(Ended::Lost(loss));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Ended::Lost(error.into())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends again what was refused, once its time has come.
    fn poll_retry(&self, cx: &mut Context<'_>, link: &mut Link, shared: &Shared) {
        let retry = &mut *self.retry.borrow_mut();
        if let Some(sleep) = retry
            && sleep.as_mut().poll(cx).is_ready()
        {
            *retry = None;
            let voice = &mut *self.voice.borrow_mut();
            if let Voice::Ours(client) = voice {
                client.resend();
            }
            write(voice, link, &mut shared.tally.borrow_mut());
        }
    }

    /// Takes what was read.
    fn hear(&self, bytes: &[u8], link: &mut Link, shared: &Rc<Shared>) -> Result<(), Loss> {
        let voice = &mut *self.voice.borrow_mut();
        let tally = &mut *shared.tally.borrow_mut();
        tally.traffic.reads += 1;
        tally.traffic.read_bytes += bytes.len() as u64;
        let mut hearing = Hearing { tally, who: &self.name, rooms: &self.rooms, now: None };
        let fed = match voice {
            Voice::Ours(client) => feed(client, bytes, link, &mut hearing),
            Voice::Others(foreign) => feed(foreign, bytes, link, &mut hearing),
        };
        self.flood(voice, tally, shared);
        write(voice, link, tally);
        fed?;
        if let Some(end) = voice.take_end() {
            return Err(Loss::Client(end));
        }
        if let Voice::Ours(client) = voice
            && let Some(wait) = client.take_retry_after()
        {
            self.retry.borrow_mut().get_or_insert_with(|| Box::pin(sleep(wait)));
        }
        if !self.is_live.get() && voice.is_live() {
            self.arrived(tally, shared);
        }
        Ok(())
    }

    fn arrived(&self, tally: &mut Tally, shared: &Shared) {
        self.is_live.set(true);
        shared.live.set(shared.live.get() + 1);
        shared.arrived.notify_one();
        shared.arrivals.set(shared.arrivals.get() + 1);
        if let Some(knocked) = self.knocked.get()
            && self.has_been_live.replace(true)
        {
            record(&mut tally.resume, knocked.elapsed());
        }
    }

    /// Sends one message into one of its rooms, or holds it until there is a connection.
    pub(super) fn say(&self, room: usize, shared: &Shared) {
        let voice = &mut *self.voice.borrow_mut();
        let tally = &mut *shared.tally.borrow_mut();
        let mut link = self.link.borrow_mut();
        let unwritten = link.as_ref().map_or(0, Link::unwritten_bytes);
        self.put(voice, room, unwritten, shared, tally);
        if let Some(link) = link.as_mut() {
            write(voice, link, tally);
            if !link.is_flushed() {
                self.waker.borrow().wake_by_ref();
            }
        }
    }

    /// Sends as many as may be without an ack, where it talks as fast as acks come.
    pub(super) fn begin_flood(&self, shared: &Shared) {
        if let Some(link) = self.link.borrow_mut().as_mut() {
            let voice = &mut *self.voice.borrow_mut();
            let tally = &mut *shared.tally.borrow_mut();
            self.flood(voice, tally, shared);
            write(voice, link, tally);
            self.waker.borrow().wake_by_ref();
        }
    }

    /// Returns whether it could be sent.
    fn put(
        &self,
        voice: &mut Voice,
        room: usize,
        unwritten: usize,
        shared: &Shared,
        tally: &mut Tally,
    ) -> bool {
        let is_sent = match voice {
            Voice::Ours(client) => {
                let at = tally.said.moment(tally.now());
                let is_sent = client.send(room, at, stamped(at, shared.text_bytes));
                if is_sent {
                    // Whose a token is nobody has told.
                    let author = matches!(self.who, Who::Named { .. }).then_some(self.number);
                    tally.said.remember(at, author, self.rooms[room]);
                }
                is_sent
            }
            // That its connection is lost is counted already.
            Voice::Others(foreign) if !foreign.is_live() => return false,
            Voice::Others(foreign) => unwritten <= UNWRITTEN_BYTES_MAX && foreign.say(room, tally),
        };
        if is_sent {
            tally.traffic.sent += 1;
        } else {
            tally.verdict.held_back += 1;
        }
        is_sent
    }

    fn flood(&self, voice: &mut Voice, tally: &mut Tally, shared: &Shared) {
        for (room, most) in &self.floods {
            while shared.is_talking.get()
                && voice.waiting_in(*room) < *most
                && self.put(voice, *room, 0, shared, tally)
            {}
        }
    }

    /// Drops its connection without a word, and comes back after this.
    pub(super) fn drop_for(&self, wait: Duration) {
        self.drop.set(Some(wait));
        self.waker.borrow().wake_by_ref();
    }

    /// Says goodbye.
    pub(super) fn end(&self) {
        if let Some(mut link) = self.link.take() {
            let mut goodbye = Vec::new();
            put_close(&mut goodbye);
            link.write(&goodbye);
        }
        self.waker.borrow().wake_by_ref();
    }
}

/// Hands on what was read, frame by frame.
fn feed(
    hears: &mut impl Hears,
    bytes: &[u8],
    link: &mut Link,
    hearing: &mut Hearing<'_>,
) -> Result<(), Loss> {
    let mut closed = None;
    let answers_pings = link.answers_pings();
    let fed = link.frames.feed(bytes, |frame| {
        hearing.tally.traffic.frames += 1;
        match frame {
            Frame::Text(text) => hears.hear(text, hearing),
            Frame::Ping(payload) if answers_pings => hears.pong(payload),
            Frame::Ping(_) | Frame::Pong => {}
            Frame::Close(code) => closed = Some(code),
        }
    });
    closed.map_or_else(|| fed.map_err(Loss::Bad), |code| Err(Loss::Closed(code)))
}

fn write(voice: &mut Voice, link: &mut Link, tally: &mut Tally) {
    let output = voice.output();
    if !output.is_empty() {
        tally.traffic.written_bytes += output.len() as u64;
        link.write(output);
        output.clear();
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::{client::STEADY_AFTER, run::scene::ann};

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_has_given_no_connection_that_could_have_lasted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (user, shared) = ann(listener.local_addr().unwrap());
        let began = Instant::now();
        let ended = user.connection(&shared).await;
        assert!(matches!(ended, Ended::Lost(Loss::Unconnected(ConnectError::Silent))), "{ended:?}");
        assert!(began.elapsed() >= STEADY_AFTER, "{:?}", began.elapsed());
        assert_eq!(user.take_lasted(), Duration::ZERO);
    }
}
