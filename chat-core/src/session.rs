//! One connection of one user: commands in, replies and events out.
//!
//! A session is a plain value. Commands go in by [`Session::handle_request`], what others have for it lies in its
//! mailbox, and [`Session::drain`] gives what there is to say. It holds a [`Lane`] for each room: replies keep their
//! order within one, and rooms take turns.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    bell::{Doorbell, LaneNo},
    connection::{Acks, Connection},
    few::FewMap,
    hub::Hub,
    ids::{ConnId, RoomId},
    lane::{Flow, Lane},
    limits::{PENDING_COMMAND_BYTES_MAX, PENDING_COMMANDS_MAX, PENDING_REPLY_BYTES_MAX},
    mail::Letter,
    protocol::{
        BadRequest, Command, CommandError, CommandId, ErrorCode, Reply, Request, RoomCommand, Welcome,
    },
    rights::Identity,
    sink::Sink,
    time::Now,
};

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    lanes: FewMap<LaneNo, Box<Lane>>,
    by_room: FewMap<RoomId, LaneNo>,
    next_lane: u32,
    /// Lanes that may have something to say, in the order of their turns.
    active: VecDeque<LaneNo>,
    welcome: Option<Box<Welcome>>,
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
        let connection = Connection::new(now, conn, who, acks, hub);
        Self {
            connection,
            lanes: FewMap::new(),
            by_room: FewMap::new(),
            next_lane: 0,
            active: VecDeque::new(),
            welcome: Some(Box::new(welcome)),
            replies: VecDeque::new(),
        }
    }

    /// This connection's number.
    pub(crate) const fn conn(&self) -> ConnId {
        self.connection.conn
    }

    /// Whose connection it is.
    pub(crate) const fn who(&self) -> &Identity {
        &self.connection.who
    }

    /// What its task waits on.
    pub(crate) fn bell(&self) -> &Doorbell {
        self.connection.mailbox.attention().bell()
    }

    /// Up to where this connection has everything of a room that it has joined.
    #[cfg(feature = "testing")]
    pub(crate) fn position(&self, room: &RoomId) -> Option<crate::ids::Seq> {
        self.by_room.get(room).and_then(|no| self.lanes.get(no)).and_then(|lane| lane.position())
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

    /// Whether the last [`Session::drain`] left nothing: there is more once the bell has rung, or something was handed in.
    pub(crate) fn is_drained(&self) -> bool {
        self.welcome.is_none() && self.replies.is_empty() && self.active.is_empty()
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
            Ok(Request { id, command: Command::Auth(_) }) => {
                let error = CommandError::new(ErrorCode::UnknownCommand, "no token is taken here");
                self.replies.push_back((id, Reply::Error(error)));
            }
            Ok(Request { id, command: Command::InRoom(room, command) }) => {
                self.in_room(id, room, Ok(command));
            }
        }
    }

    /// Gives out the answer to a command that somebody else has dealt with. Without an id an `ok` is left out.
    pub(crate) fn answer(&mut self, id: Option<CommandId>, outcome: Result<(), CommandError>) {
        let reply = outcome.map_or_else(Reply::Error, |()| Reply::Ok);
        if id.is_some() || reply != Reply::Ok {
            self.connection.unanswered += 1;
            self.replies.push_back((id, reply));
        }
    }

    fn in_room(&mut self, id: Option<CommandId>, room: RoomId, command: Result<RoomCommand, CommandError>) {
        let no = *self.by_room.get_or_insert_with(room.clone(), || {
            self.next_lane += 1;
            LaneNo(self.next_lane)
        });
        let lane = self.lanes.get_or_insert_with(no, || Box::new(Lane::new(no, room)));
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
        } else if self.lanes.get(&no).is_some_and(|lane| lane.is_done()) {
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
        if self.connection.mailbox.attention().take_letters() {
            while let Some(letter) = self.connection.mailbox.take() {
                self.handle_letter(letter);
            }
        }
        while let Some((no, more)) = self.connection.mailbox.attention().take_stirred() {
            self.activate(no);
            if !more {
                break;
            }
        }
        while !sink.is_full()
            && let Some((id, reply)) = self.replies.pop_front()
        {
            self.connection.answer(sink, id, &reply);
        }
    }

    fn handle_letter(&mut self, Letter { ticket, news }: Letter) {
        let Some(no) = self.connection.asked_by(ticket) else { return };
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
