//! What the lanes of one connection share.

use std::sync::Arc;

use crate::{
    bell::LaneNo,
    few::FewMap,
    hub::{Address, Hub},
    ids::ConnId,
    mail::Mailbox,
    protocol::{CommandId, Reply},
    rights::Identity,
    sink::Sink,
    time::Now,
};

/// Where the ack of an own event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    /// In the room's stream, in the place of the event: for wires.
    InPlace,
    /// Apart, as soon as it is committed; the stream has the event itself: for programs.
    Apart,
}

/// What the lanes of one connection share.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The clocks as they stood when the session was last called.
    pub(crate) now: Now,
    pub(crate) conn: ConnId,
    pub(crate) who: Identity,
    pub(crate) acks: Acks,
    pub(crate) hub: Arc<Hub>,
    pub(crate) mailbox: Arc<Mailbox>,
    /// Rooms joined or being joined.
    pub(crate) seats: usize,
    /// Commands that are not answered yet.
    pub(crate) unanswered: usize,
    /// One page at a time is in memory to catch up with, and one for a `history`.
    pub(crate) catch_up: Turn,
    pub(crate) history: Turn,
    /// Lanes whose turn has come.
    pub(crate) woken: Vec<LaneNo>,
    /// Bytes of commands that have not begun.
    pub(crate) waiting_bytes: usize,
    tickets: FewMap<u64, LaneNo>,
    next_ticket: u64,
}

impl Connection {
    /// A connection that has just come.
    pub(crate) fn new(now: Now, conn: ConnId, who: Identity, acks: Acks, hub: Arc<Hub>) -> Self {
        Self {
            now,
            conn,
            who,
            acks,
            hub,
            mailbox: Arc::default(),
            seats: 0,
            unanswered: 0,
            catch_up: Turn::default(),
            history: Turn::default(),
            woken: Vec::new(),
            waiting_bytes: 0,
            tickets: FewMap::new(),
            next_ticket: 0,
        }
    }

    /// The lane that asked for something under this number. It is told once.
    pub(crate) fn asked_by(&mut self, ticket: u64) -> Option<LaneNo> {
        self.tickets.remove(&ticket)
    }

    /// A new number for something asked for by `lane`, and where to send the answer.
    pub(crate) fn ticket(&mut self, lane: LaneNo) -> Address {
        self.next_ticket += 1;
        self.tickets.insert(self.next_ticket, lane);
        Address { mailbox: self.mailbox.clone(), ticket: self.next_ticket }
    }

    /// A lane has no use for a page: its turn, or its place in the line, goes to the next.
    pub(crate) fn yield_catch_up(&mut self, lane: LaneNo) {
        self.woken.extend(self.catch_up.release(lane));
    }

    /// The same for a page of history.
    pub(crate) fn yield_history(&mut self, lane: LaneNo) {
        self.woken.extend(self.history.release(lane));
    }

    /// Forgets a number that nothing was asked with.
    pub(crate) fn tear(&mut self, ticket: u64) {
        self.tickets.remove(&ticket);
    }

    /// Hands a reply to the sink. An answer to a command is counted off.
    pub(crate) fn answer(&mut self, sink: &mut impl Sink, id: Option<CommandId>, reply: &Reply) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.tell(sink, id, reply);
    }

    /// Hands something to the sink that no command has asked for.
    pub(crate) fn tell(&self, sink: &mut impl Sink, id: Option<CommandId>, reply: &Reply) {
        if let Reply::Error(error) = reply {
            self.hub.metrics.error(error.code);
        }
        sink.answer(id, reply);
    }
}

/// Something of which a connection has one, and its lanes take turns.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    holder: Option<LaneNo>,
    /// In the order of their turns.
    waiters: Vec<LaneNo>,
}

impl Turn {
    /// Takes it, or gets in line; then the lane is stirred when its turn has come.
    pub(crate) fn acquire(&mut self, lane: LaneNo) -> bool {
        if self.holder.is_none() {
            self.holder = Some(lane);
        } else if self.holder != Some(lane) && !self.waiters.contains(&lane) {
            self.waiters.push(lane);
        }
        self.holder == Some(lane)
    }

    pub(crate) fn is_held_by(&self, lane: LaneNo) -> bool {
        self.holder == Some(lane)
    }

    /// Gives it back, or gets out of line. Returns whose turn it is now.
    pub(crate) fn release(&mut self, lane: LaneNo) -> Option<LaneNo> {
        self.waiters.retain(|waiter| *waiter != lane);
        if self.holder == Some(lane) {
            self.holder = (!self.waiters.is_empty()).then(|| self.waiters.remove(0));
            return self.holder;
        }
        None
    }
}
