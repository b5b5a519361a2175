//! One WebSocket connection: a socket, a session, and one task between them.
//!
//! ```text
//!  socket ──▶ Gate ──▶ tungstenite ──▶ Input ── text ──▶ Fence(Doorkeeper(WireSession))
//!    ▲          │ pongs                                        │
//!    └─ Output ◀┴───────────── runs of encoded frames ─────────┘
//! ```
//!
//! [`Input`] has tungstenite read, unmask and assemble. [`Output`] alone writes: runs of frames that the engine
//! encoded once for all readers, and between two runs the control frames. The doorkeeper lets a user in, and holds
//! the rates. A session knows no socket, and a socket no room.
//!
//! A connection is [`Open`](Phase::Open) until it has a reason to end. A drain lets it answer first
//! ([`Draining`](Phase::Draining)). Then our close frame is queued, the sending side is shut (under TLS once the peer has
//! answered), and what still comes is read away, so that no reset overtakes the close frame
//! ([`Closing`](Phase::Closing)).

mod closing;
mod conversation;
mod doorkeeper;
#[cfg(feature = "testing")]
pub(crate) mod echo;
mod fence;
mod frames;
mod gate;
mod handshake;
mod input;
mod output;
mod pace;
#[cfg(feature = "testing")]
pub(crate) mod reader;
pub(crate) mod transport;
pub(crate) mod upgrade;
#[cfg(feature = "testing")]
pub(crate) mod writer;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use chat_core::protocol::CloseCode;
use tokio::time::Instant;
use tungstenite::protocol::CloseFrame;

use self::{
    closing::{ClosingStep, Peer},
    conversation::Conversation,
    fence::Fence,
    input::{Input, Received},
    output::Output,
    pace::{Alarm, PingTurn, Pings},
    transport::Transport,
};
use crate::{
    admission::SocketPermit,
    lifecycle::{DrainSignal, Lifecycle},
    limits::{ARRIVALS_WAIT_MAX, MESSAGE_WAIT_MAX, MESSAGES_PER_TURN, PAUSE_LOOK_PERIOD, STALL_MAX},
    metrics::OpenConnection,
};

/// One connection, from its first byte to its last. As a future it is ready when the connection is over.
#[derive(Debug)]
struct Connection<S, C> {
    input: Input<S>,
    conversation: Fence<C>,
    output: Output,
    phase: Phase,
    /// While the conversation wants a pause, nothing is read: when to look whether the peer is still there.
    pause_look_at: Option<Instant>,
    pings: Pings,
    alarm: Alarm,
    lifecycle: Lifecycle,
    drain_signal: DrainSignal,
    open: OpenConnection,
    /// Its place among all connections. It is the last to go: until here the socket was open.
    _permit: SocketPermit,
}

/// How far a connection is.
#[derive(Debug)]
enum Phase {
    /// Commands are read and answered.
    Open,
    /// The server drains: what has arrived is read, all of it is answered, then it is closed.
    Draining {
        /// Until when what comes still counts as arrived; `None` once the socket had nothing more.
        arrivals_until: Option<Instant>,
    },
    /// A close frame is queued, or out. Nothing that comes counts any more.
    Closing { step: ClosingStep, peer: Peer, end_by: Instant },
}

/// Why a connection ends.
#[derive(Debug)]
enum Exit {
    /// We close it.
    Close(CloseCode),
    /// The peer closed it, with this frame: it gets the same back.
    Answer(Option<CloseFrame>),
    /// The peer is no longer there.
    Gone,
}

impl<S: Transport, C: Conversation> Connection<S, C> {
    /// A connection over `stream`, from which `part` was read already.
    fn new(stream: S, part: Bytes, conversation: C, settings: Settings) -> Self {
        stream.tune();
        let now = Instant::now();
        let pings = Pings::new(now);
        Self {
            alarm: Alarm::new(pings.next_at()),
            open: OpenConnection::begin(),
            input: Input::new(stream, part, settings.message_bytes_max),
            conversation: Fence::new(conversation),
            output: Output::default(),
            phase: Phase::Open,
            pause_look_at: None,
            pings,
            drain_signal: settings.lifecycle.drain_signal(),
            lifecycle: settings.lifecycle,
            _permit: settings.permit,
        }
    }
}

/// What a connection is told once.
#[derive(Debug)]
struct Settings {
    message_bytes_max: usize,
    lifecycle: Lifecycle,
    permit: SocketPermit,
}

impl<S: Transport, C: Conversation> Future for Connection<S, C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.notice_drain(cx);
        if !matches!(this.phase, Phase::Closing { .. }) {
            match this.converse(cx) {
                Ok(()) => return Poll::Pending,
                Err(Exit::Gone) => return Poll::Ready(()),
                Err(Exit::Close(code)) => this.close(code),
                Err(Exit::Answer(frame)) => this.answer_close(frame),
            }
        }
        this.poll_closing(cx)
    }
}

impl<S: Transport, C: Conversation> Connection<S, C> {
    fn notice_drain(&mut self, cx: &mut Context<'_>) {
        self.drain_signal.register(cx);
        let Some(drain) = self.lifecycle.drain_times() else { return };
        match self.phase {
            Phase::Open => {
                let arrivals_until = Instant::now() + ARRIVALS_WAIT_MAX;
                self.phase = Phase::Draining { arrivals_until: Some(arrivals_until) };
                self.alarm.no_later_than(arrivals_until.min(drain.answer_by));
            }
            Phase::Draining { .. } => {}
            Phase::Closing { ref mut end_by, .. } => {
                *end_by = drain.end_by.min(*end_by);
                self.alarm.no_later_than(*end_by);
            }
        }
    }

    /// Reads and writes until neither gets any further; the task is then woken by whatever changes that.
    fn converse(&mut self, cx: &mut Context<'_>) -> Result<(), Exit> {
        self.keep_watch(cx)?;
        let mut messages_left = MESSAGES_PER_TURN;
        loop {
            self.read(cx, &mut messages_left)?;
            self.conversation.poll_progress(cx)?;
            let written = self.write(cx)?;
            self.open.learn(self.conversation.who());
            if self.input.catch_up_pongs() || (self.is_paused() && self.conversation.wants_input()) {
                continue;
            }
            let due_at = self.conversation.due_at().into_iter().chain(self.pause_look_at).min();
            if due_at.is_some_and(|at| self.alarm.no_later_than(at)) {
                self.keep_watch(cx)?;
            }
            let answered = matches!(self.phase, Phase::Draining { arrivals_until: None })
                && written.is_ready()
                && self.conversation.is_idle();
            return if answered { Err(Exit::Close(CloseCode::Drain)) } else { Ok(()) };
        }
    }

    /// Hands messages over until none is there or no more is wanted.
    fn read(&mut self, cx: &mut Context<'_>, messages_left: &mut usize) -> Result<(), Exit> {
        loop {
            let has_arrived = !matches!(self.phase, Phase::Draining { arrivals_until: None });
            if has_arrived && !self.conversation.wants_input() {
                self.input.pause();
                self.pause_look_at.get_or_insert_with(|| Instant::now() + PAUSE_LOOK_PERIOD);
                return Ok(());
            }
            self.pause_look_at = None;
            if !has_arrived {
                return Ok(());
            }
            if *messages_left == 0 {
                cx.waker().wake_by_ref();
                return Ok(());
            }
            *messages_left -= 1;
            match self.input.poll_received(cx) {
                Poll::Ready(received) => match received? {
                    Received::Text(text) => self.conversation.handle_text(&text)?,
                    Received::Binary(bytes) => self.conversation.handle_binary(&bytes)?,
                },
                Poll::Pending => {
                    if let Phase::Draining { arrivals_until } = &mut self.phase {
                        // The runtime may hear late of what has arrived: under load, after it has heard of the drain.
                        *arrivals_until = arrivals_until.filter(|_| self.input.gate().stream().has_unread());
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Writes what there is to say; ready when there is no more and all of it is out.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Exit> {
        loop {
            match self.output.poll_flush(self.input.gate(), cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Err(Exit::Gone),
                Poll::Pending => return Ok(Poll::Pending),
            }
            match self.conversation.poll_bytes(cx)? {
                Poll::Ready(run) => self.output.load(run),
                Poll::Pending => return Ok(Poll::Ready(())),
            }
        }
    }

    /// Looks at the clock when something may be due.
    fn keep_watch(&mut self, cx: &mut Context<'_>) -> Result<(), Exit> {
        while self.alarm.poll(cx).is_ready() {
            let now = Instant::now();
            self.check_times(now)?;
            self.alarm.set(self.next_check());
        }
        Ok(())
    }

    fn check_times(&mut self, now: Instant) -> Result<(), Exit> {
        let is_over = |since: Option<Instant>, max| since.is_some_and(|since| since + max <= now);
        if is_over(self.output.stalled_since(), STALL_MAX) {
            return Err(Exit::Close(CloseCode::TooSlow));
        }
        if is_over(self.input.unfinished_since(), MESSAGE_WAIT_MAX) {
            return Err(Exit::Close(CloseCode::Policy));
        }
        self.conversation.handle_time(now)?;
        if let Some(at) = self.pause_look_at.filter(|at| *at <= now) {
            if self.input.gate().stream().is_shut_by_peer() {
                return Err(Exit::Gone);
            }
            self.pause_look_at = Some(at.max(now) + PAUSE_LOOK_PERIOD);
        }
        if self.pings.next_at() <= now {
            self.ping(now)?;
        }
        if let Phase::Draining { arrivals_until } = &mut self.phase {
            *arrivals_until = arrivals_until.filter(|until| now < *until);
            if self.lifecycle.drain_times().is_some_and(|drain| drain.answer_by <= now) {
                return Err(Exit::Close(CloseCode::Drain));
            }
        }
        Ok(())
    }

    fn next_check(&self) -> Instant {
        let drain = match self.phase {
            Phase::Draining { arrivals_until } => {
                [arrivals_until, self.lifecycle.drain_times().map(|drain| drain.answer_by)]
            }
            Phase::Open | Phase::Closing { .. } => [None, None],
        };
        let stalled = self.output.stalled_since().map(|since| since + STALL_MAX);
        let unfinished = self.input.unfinished_since().map(|since| since + MESSAGE_WAIT_MAX);
        let due = self.conversation.due_at();
        drain
            .into_iter()
            .chain([stalled, unfinished, due, self.pause_look_at])
            .flatten()
            .fold(self.pings.next_at(), Instant::min)
    }

    const fn is_paused(&self) -> bool {
        self.pause_look_at.is_some()
    }

    fn ping(&mut self, now: Instant) -> Result<(), Exit> {
        if self.is_paused() {
            self.pings.excuse();
        }
        let gate = self.input.gate();
        match self.pings.turn(now, gate.read_bytes() + self.output.moved_bytes()) {
            PingTurn::Send => gate.ping(),
            PingTurn::GiveUp => return Err(Exit::Close(CloseCode::Unresponsive)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
