//! One room of one connection: its commands in order, its replies in order, and its place in the timeline.

mod seat;
mod stream;

use std::{collections::VecDeque, time::Duration};

use self::seat::{Feed, Seat};
use crate::{
    bell::{LaneNo, Stir},
    committer::{ReplyTo, Submission},
    connection::{Acks, Connection},
    few,
    hub::Job,
    ids::{Epoch, RoomId, Seq, Timestamp},
    mail::{News, Opened, Outcome},
    protocol::{Ack, CommandError, CommandId, ErrorCode, HistoryQuery, Reply, RoomCommand},
    request::change_of,
    store::{Append, Appended, Require},
};

/// What a turn of a lane left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// There is more: the sink is full.
    Full,
    /// Nothing, until something comes.
    Dry,
}

/// The state of one room on one connection.
#[derive(Debug)]
pub(crate) struct Lane {
    no: LaneNo,
    room: RoomId,
    /// Whether it stands in the session's line of active lanes.
    pub(crate) active: bool,
    /// Commands not begun yet.
    waiting: VecDeque<Waiting>,
    /// A command that lets no other begin beside it.
    busy: Option<Busy>,
    /// Replies that are due, in the order of their commands.
    owed: VecDeque<Owed>,
    seat: Option<Seat>,
}

#[derive(Debug)]
struct Waiting {
    id: Option<CommandId>,
    since: Duration,
    /// What to do, or what is wrong with it.
    command: Result<RoomCommand, CommandError>,
}

impl Waiting {
    fn weight_bytes(&self) -> usize {
        self.command.as_ref().map_or(0, RoomCommand::weight_bytes)
    }
}

#[derive(Debug)]
enum Busy {
    Joining { ticket: u64, id: Option<CommandId>, after: Option<Seq>, epoch: Option<Epoch> },
    Looking { ticket: u64, id: Option<CommandId> },
    Reading { ticket: u64, id: Option<CommandId> },
}

impl Busy {
    const fn ticket(&self) -> u64 {
        match self {
            Self::Joining { ticket, .. } | Self::Looking { ticket, .. } | Self::Reading { ticket, .. } => {
                *ticket
            }
        }
    }
}

#[derive(Debug)]
enum Owed {
    /// The store has not said yet what became of it.
    Outcome { ticket: u64, id: Option<CommandId>, since: Duration },
    /// Committed: its ack waits for its place in the stream.
    Place { id: Option<CommandId>, seq: Seq, at: Timestamp, since: Duration },
    /// Ready.
    Reply(Option<CommandId>, Reply),
}

impl Lane {
    pub(crate) const fn new(no: LaneNo, room: RoomId) -> Self {
        Self {
            no,
            room,
            active: false,
            waiting: VecDeque::new(),
            busy: None,
            owed: VecDeque::new(),
            seat: None,
        }
    }

    pub(crate) const fn room(&self) -> &RoomId {
        &self.room
    }

    pub(crate) fn position(&self) -> Option<Seq> {
        self.seat.as_ref().map(|seat| seat.position)
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_done(&self) -> bool {
        self.seat.is_none() && self.busy.is_none() && self.waiting.is_empty() && self.owed.is_empty()
    }

    pub(crate) fn handle_command(
        &mut self,
        id: Option<CommandId>,
        command: Result<RoomCommand, CommandError>,
        connection: &mut Connection,
    ) {
        let waiting = Waiting { id, since: connection.now.mono, command };
        connection.waiting_bytes += waiting.weight_bytes();
        few::push_back(&mut self.waiting, waiting);
        self.begin(connection);
    }

    /// The connection ends.
    pub(crate) fn close(&mut self, connection: &mut Connection) {
        let Some(seat) = self.seat.take() else { return };
        connection.seats -= 1;
        connection.yield_catch_up(self.no);
        connection.hub.detach(connection.now, &seat.cell, connection.conn);
        if seat.slow {
            connection.hub.metrics.slow_readers(-1.0);
        }
    }

    /// Begins the commands that can begin, in order.
    fn begin(&mut self, connection: &mut Connection) {
        while self.busy.is_none()
            && let Some(waiting) = self.waiting.pop_front()
        {
            let bytes = waiting.weight_bytes();
            if let Some(waiting) = self.begin_one(waiting, connection) {
                self.waiting.push_front(waiting);
                return;
            }
            connection.waiting_bytes -= bytes;
        }
    }

    /// Begins a command, or gives it back where it must wait for the replies before it.
    fn begin_one(&mut self, waiting: Waiting, connection: &mut Connection) -> Option<Waiting> {
        let (id, since) = (waiting.id, waiting.since);
        let alone = self.owed.is_empty() && !self.is_ending(connection);
        let command = match (&waiting.command, &self.seat) {
            (Ok(RoomCommand::Join { .. } | RoomCommand::Leave | RoomCommand::History(_)), _)
            | (Ok(_), None)
                if !alone =>
            {
                return Some(waiting);
            }
            (Ok(RoomCommand::History(_)), _) if !connection.history.acquire(self.no) => return Some(waiting),
            _ => waiting.command,
        };
        match (command, &self.seat) {
            (Err(error), _) => self.reply(id, Err(error)),
            (Ok(RoomCommand::History(query)), _) => self.begin_history(id, query, connection),
            (Ok(RoomCommand::Join { after, epoch }), None) => self.begin_join((id, after, epoch), connection),
            (Ok(RoomCommand::Join { .. }), Some(_)) => self.join_again(id),
            (Ok(_), None) => self.begin_look(id, connection),
            (Ok(RoomCommand::Leave), Some(_)) => self.leave(id, connection),
            (Ok(command), Some(_)) => self.act((id, since), command, connection),
        }
        None
    }

    /// Whether this connection is about to be told that it is in the room no longer.
    fn is_ending(&self, connection: &Connection) -> bool {
        self.seat.as_ref().is_some_and(|seat| seat.cell.lock().end_of(connection.conn).is_some())
    }

    fn reply(&mut self, id: Option<CommandId>, reply: Result<Reply, CommandError>) {
        few::push_back(&mut self.owed, Owed::Reply(id, reply.unwrap_or_else(Reply::Error)));
    }

    // Joining and leaving.

    fn begin_join(
        &mut self,
        (id, after, epoch): (Option<CommandId>, Option<Seq>, Option<Epoch>),
        connection: &mut Connection,
    ) {
        if let Err(denied) = connection.hub.policy.may_join(&connection.who, &self.room) {
            return self.reply(id, Err(denied.into()));
        }
        if connection.seats >= connection.hub.limits.rooms_per_connection {
            let error = CommandError::new(ErrorCode::Forbidden, "this connection has joined too many rooms");
            return self.reply(id, Err(error));
        }
        connection.seats += 1;
        let ticket = self.open(connection);
        self.busy = Some(Busy::Joining { ticket, id, after, epoch });
    }

    fn open(&self, connection: &mut Connection) -> u64 {
        let address = connection.ticket(self.no);
        let ticket = address.ticket;
        connection.hub.open(&self.room, connection.who.clone(), address);
        ticket
    }

    fn opened(
        &mut self,
        (id, after, epoch): (Option<CommandId>, Option<Seq>, Option<Epoch>),
        opened: Result<Opened, CommandError>,
        connection: &mut Connection,
    ) {
        let Opened { cell, view, role } = match opened {
            Ok(opened) => opened,
            Err(error) => {
                connection.seats -= 1;
                return self.reply(id, Err(error));
            }
        };
        let stir = Stir::new(connection.mailbox.attention().clone(), self.no);
        let entry =
            cell.lock().attach(connection.now.mono, connection.conn, &connection.who.user, &view, stir);
        let Ok(entry) = entry else {
            // Rights changed between the reading and now: read them again.
            let ticket = self.open(connection);
            self.busy = Some(Busy::Joining { ticket, id, after, epoch });
            return;
        };
        connection.hub.arm(&cell);
        let (seat, joined) = Seat::take(cell, role, entry, &view, (after, epoch));
        self.seat = Some(seat);
        self.reply(id, Ok(Reply::Joined(joined)));
    }

    fn join_again(&mut self, id: Option<CommandId>) {
        let Some(seat) = &self.seat else { return };
        let joined = seat.joined(seat.cell.lock().entry());
        self.reply(id, Ok(Reply::Joined(joined)));
    }

    fn leave(&mut self, id: Option<CommandId>, connection: &mut Connection) {
        self.stand_up(connection);
        self.reply(id, Ok(Reply::Left { room: self.room.clone(), reason: None }));
    }

    /// Gives up the place in the room: the acks of what was committed here are just replies then.
    fn stand_up(&mut self, connection: &mut Connection) {
        self.close(connection);
        self.displace(Seq::MAX);
    }

    /// Own events up to `last` have no place in the stream any more.
    fn displace(&mut self, last: Seq) {
        for owed in &mut self.owed {
            if let Owed::Place { id, seq, at, .. } = *owed
                && seq <= last
            {
                let ack = Ack { room: self.room.clone(), seq, at, duplicate: false };
                *owed = Owed::Reply(id, Reply::Ack(ack));
            }
        }
    }

    // Commands that need no place in the room.

    fn begin_look(&mut self, id: Option<CommandId>, connection: &mut Connection) {
        let address = connection.ticket(self.no);
        self.busy = Some(Busy::Looking { ticket: address.ticket, id });
        connection.hub.ask(Job::View { room: self.room.clone(), who: connection.who.clone(), address });
    }

    fn begin_history(&mut self, id: Option<CommandId>, query: HistoryQuery, connection: &mut Connection) {
        let address = connection.ticket(self.no);
        self.busy = Some(Busy::Reading { ticket: address.ticket, id });
        let (room, who) = (self.room.clone(), connection.who.clone());
        connection.hub.ask(Job::History { room, who, query, address });
    }

    // Commands of somebody who is in the room.

    fn act(
        &mut self,
        (id, since): (Option<CommandId>, Duration),
        command: RoomCommand,
        connection: &mut Connection,
    ) {
        let Some(seat) = &self.seat else { return };
        match command {
            RoomCommand::Read { seq } => {
                connection.hub.read(connection.now, &seat.cell, connection.conn, seq);
                self.done(id, connection);
            }
            RoomCommand::Typing => {
                connection.hub.typing(connection.now, &seat.cell, connection.conn);
                self.done(id, connection);
            }
            command => self.submit((id, since), command, connection),
        }
    }

    /// Says `ok` where somebody waits for it.
    fn done(&mut self, id: Option<CommandId>, connection: &mut Connection) {
        match id {
            Some(_) => self.reply(id, Ok(Reply::Ok)),
            None => connection.unanswered = connection.unanswered.saturating_sub(1),
        }
    }

    fn submit(
        &mut self,
        (id, since): (Option<CommandId>, Duration),
        command: RoomCommand,
        connection: &mut Connection,
    ) {
        let change = match change_of(
            &*connection.hub.policy,
            &connection.hub.limits,
            &connection.who,
            &self.room,
            command,
        ) {
            Ok(change) => change,
            Err(error) => return self.reply(id, Err(error)),
        };
        let Some(seat) = &mut self.seat else { return };
        let (room, actor, at, require) =
            (seat.cell.no, connection.who.actor(), connection.now.wall, Require::default());
        let address = connection.ticket(self.no);
        let ticket = address.ticket;
        let reply_to = ReplyTo::Session(address.mailbox, ticket);
        let append = Append { room, actor, at, change, require };
        match connection.hub.submit(connection.now, Submission { append, received: since, reply_to }) {
            Ok(()) => {
                seat.unsettled += 1;
                few::push_back(&mut self.owed, Owed::Outcome { ticket, id, since });
            }
            Err(error) => {
                connection.tear(ticket);
                self.reply(id, Err(error));
            }
        }
    }

    fn settled(&mut self, ticket: u64, outcome: Outcome, acks: Acks) {
        let mine = |owed: &&mut Owed| matches!(owed, Owed::Outcome { ticket: mine, .. } if *mine == ticket);
        let Some(owed) = self.owed.iter_mut().find(mine) else { return };
        let Owed::Outcome { id, since, .. } = *owed else { return };
        let ack = |seq, at, duplicate| Reply::Ack(Ack { room: self.room.clone(), seq, at, duplicate });
        if let Some(seat) = &mut self.seat {
            seat.unsettled = seat.unsettled.saturating_sub(1);
        }
        *owed = match (outcome, &mut self.seat) {
            (Err(error), _) => Owed::Reply(id, Reply::Error(error)),
            (Ok(Appended::Duplicate { seq, at }), _) => Owed::Reply(id, ack(seq, at, true)),
            (Ok(Appended::New(committed)), Some(seat))
                if acks == Acks::InPlace && committed.event().seq > seat.position =>
            {
                let (seq, at) = (committed.event().seq, committed.event().at);
                seat.last_own = seat.last_own.max(seq);
                Owed::Place { id, seq, at, since }
            }
            (Ok(Appended::New(committed)), _) => {
                Owed::Reply(id, ack(committed.event().seq, committed.event().at, false))
            }
        };
    }

    /// Takes an answer to what this lane asked for.
    pub(crate) fn handle_news(&mut self, ticket: u64, news: News, connection: &mut Connection) {
        match news {
            News::Settled(outcome) => self.settled(ticket, outcome, connection.acks),
            News::Page(page) => self.take_page(ticket, page),
            News::Renewed(view) => self.take_view(ticket, view),
            News::Opened(opened) => {
                if let Some(Busy::Joining { id, after, epoch, .. }) = self.take_busy(ticket) {
                    self.opened((id, after, epoch), opened, connection);
                }
            }
            News::Viewed(viewed) => {
                if let Some(Busy::Looking { id, .. }) = self.take_busy(ticket) {
                    let error =
                        CommandError::new(ErrorCode::NotJoined, "join the room on this connection first");
                    self.reply(id, Err(viewed.err().unwrap_or(error)));
                }
            }
            News::History(history) => {
                if let Some(Busy::Reading { id, .. }) = self.take_busy(ticket) {
                    let room = self.room.clone();
                    self.reply(id, history.map(|page| Reply::History { room, page }));
                }
            }
        }
    }

    fn take_busy(&mut self, ticket: u64) -> Option<Busy> {
        self.busy.take_if(|busy| busy.ticket() == ticket)
    }
}
