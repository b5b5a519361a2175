//! One connection of one user: commands in, replies and events out.
//!
//! A session is a plain value. Commands go in by [`Session::handle_request`], what others have for it lies in its
//! mailbox, and [`Session::drain`] gives what there is to say. It holds a [`Lane`] for each room: replies keep their
//! order within one, and rooms take turns.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    bell::{Doorbell, LaneNo},
    hub::{Address, Hub},
    ids::{ConnId, RoomId},
    lane::{Flow, Lane},
    limits::{PENDING_COMMAND_BYTES_MAX, PENDING_COMMANDS_MAX, PENDING_REPLY_BYTES_MAX},
    mail::{Letter, Mailbox},
    protocol::{BadRequest, Command, CommandError, CommandId, Reply, Request, RoomCommand, Welcome},
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

/// What all lanes of a session share.
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
    tickets: BTreeMap<u64, LaneNo>,
    next_ticket: u64,
}

impl Connection {
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
    waiters: VecDeque<LaneNo>,
}

impl Turn {
    /// Takes it, or gets in line; then the lane is stirred when its turn has come.
    pub(crate) fn acquire(&mut self, lane: LaneNo) -> bool {
        if self.holder.is_none() {
            self.holder = Some(lane);
        } else if self.holder != Some(lane) && !self.waiters.contains(&lane) {
            self.waiters.push_back(lane);
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
            self.holder = self.waiters.pop_front();
            return self.holder;
        }
        None
    }
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    lanes: BTreeMap<LaneNo, Lane>,
    by_room: BTreeMap<RoomId, LaneNo>,
    next_lane: u32,
    /// Lanes that may have something to say, in the order of their turns.
    active: VecDeque<LaneNo>,
    welcome: Option<Welcome>,
    /// Replies to what concerns no room.
    replies: VecDeque<(Option<CommandId>, Reply)>,
}

impl Session {
    /// A connection that has just come.
    pub(crate) fn new(now: Now, conn: ConnId, who: Identity, acks: Acks, hub: Arc<Hub>) -> Self {
        let welcome = Welcome {
            session: conn.to_string().into(),
            user: who.clone(),
            server_time: now.wall,
            limits: hub.limits,
        };
        let connection = Connection {
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
            tickets: BTreeMap::new(),
            next_ticket: 0,
        };
        Self {
            connection,
            lanes: BTreeMap::new(),
            by_room: BTreeMap::new(),
            next_lane: 0,
            active: VecDeque::new(),
            welcome: Some(welcome),
            replies: VecDeque::new(),
        }
    }

    /// This connection's number.
    pub(crate) const fn conn(&self) -> ConnId {
        self.connection.conn
    }

    /// What its task waits on.
    pub(crate) fn bell(&self) -> &Doorbell {
        self.connection.mailbox.attention().bell()
    }

    /// Up to where this connection has everything of a room that it has joined.
    #[cfg(feature = "testing")]
    pub(crate) fn position(&self, room: &RoomId) -> Option<crate::ids::Seq> {
        self.by_room.get(room).and_then(|no| self.lanes.get(no)).and_then(Lane::position)
    }

    /// Whether another command is welcome: not while too many wait for their replies.
    pub(crate) fn wants_input(&self) -> bool {
        const REPLY_BYTES: usize = 256; // of one that concerns no room: an error or a pong
        self.connection.unanswered < PENDING_COMMANDS_MAX
            && self.connection.waiting_bytes < PENDING_COMMAND_BYTES_MAX
            && self.replies.len() < PENDING_REPLY_BYTES_MAX / REPLY_BYTES
    }

    /// Whether every command has been answered.
    pub(crate) const fn is_answered(&self) -> bool {
        self.connection.unanswered == 0
    }

    /// Takes one command, or what could not be read as one.
    pub(crate) fn handle_request(&mut self, now: Now, request: Result<Request, BadRequest>) {
        self.connection.now = now;
        self.connection.unanswered += 1;
        match request {
            Err(BadRequest { id, room: None, error }) => self.replies.push_back((id, Reply::Error(error))),
            Err(BadRequest { id, room: Some(room), error }) => self.in_room(id, room, Err(error)),
            Ok(Request { id, command: Command::Ping }) => {
                self.replies.push_back((id, Reply::Pong { server_time: now.wall }));
            }
            Ok(Request { id, command: Command::InRoom(room, command) }) => {
                self.in_room(id, room, Ok(command));
            }
        }
    }

    fn in_room(&mut self, id: Option<CommandId>, room: RoomId, command: Result<RoomCommand, CommandError>) {
        let no = *self.by_room.entry(room.clone()).or_insert_with(|| {
            self.next_lane += 1;
            LaneNo(self.next_lane)
        });
        let lane = self.lanes.entry(no).or_insert_with(|| Lane::new(no, room));
        lane.handle_command(id, command, &mut self.connection);
        self.activate(no);
    }

    /// Gives what there is to say until the sink is full or nothing is left.
    pub(crate) fn drain(&mut self, now: Now, sink: &mut impl Sink) {
        self.drain_own(now, sink);
        while !sink.is_full()
            && let Some(no) = self.active.pop_front()
        {
            let Some(lane) = self.lanes.get_mut(&no) else { continue };
            lane.active = false;
            let flow = lane.flush(&mut self.connection, sink);
            self.turn_over(no, flow);
        }
    }

    /// After a lane's turn.
    fn turn_over(&mut self, no: LaneNo, flow: Flow) {
        if flow == Flow::Full {
            self.activate(no);
        } else if self.lanes.get(&no).is_some_and(Lane::is_done) {
            self.forget(no);
        }
        for no in std::mem::take(&mut self.connection.woken) {
            self.activate(no);
        }
    }

    /// Gives replies only, and leaves the rooms' streams where they are. Only where acks stand apart.
    pub(crate) fn drain_replies(&mut self, now: Now, sink: &mut impl Sink) {
        self.drain_own(now, sink);
        for no in self.active.clone() {
            if let Some(lane) = self.lanes.get_mut(&no) {
                let flow = lane.flush_replies(&mut self.connection, sink);
                self.turn_over(no, flow);
            }
        }
    }

    /// Leaves every room.
    pub(crate) fn close(&mut self, now: Now) {
        self.connection.now = now;
        for lane in self.lanes.values_mut() {
            lane.close(&mut self.connection);
        }
        self.lanes.clear();
        self.by_room.clear();
    }

    fn drain_own(&mut self, now: Now, sink: &mut impl Sink) {
        self.connection.now = now;
        if let Some(welcome) = self.welcome.take() {
            sink.welcome(&welcome);
        }
        while let Some(letter) = self.connection.mailbox.take() {
            self.handle_letter(letter);
        }
        for no in self.connection.mailbox.attention().take_stirred() {
            self.activate(no);
        }
        while !sink.is_full()
            && let Some((id, reply)) = self.replies.pop_front()
        {
            self.connection.answer(sink, id, &reply);
        }
    }

    fn handle_letter(&mut self, Letter { ticket, news }: Letter) {
        let Some(no) = self.connection.tickets.remove(&ticket) else { return };
        let Some(lane) = self.lanes.get_mut(&no) else { return };
        lane.handle_news(ticket, news, &mut self.connection);
        self.activate(no);
    }

    fn activate(&mut self, no: LaneNo) {
        if let Some(lane) = self.lanes.get_mut(&no).filter(|lane| !lane.active) {
            lane.active = true;
            self.active.push_back(no);
        }
    }

    fn forget(&mut self, no: LaneNo) {
        if let Some(lane) = self.lanes.remove(&no) {
            self.by_room.remove(lane.room());
        }
    }
}
