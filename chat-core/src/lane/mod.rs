//! One room of one connection: its commands in order, its replies in order, and its place in the timeline.

mod seat;
mod stream;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use self::seat::{Feed, Seat};
use crate::{
    committer::{Outcome, ReplyTo, Submission},
    hub::{Address, Job},
    ids::{Epoch, RoomId, Seq, Timestamp},
    mailbox::{LaneNo, Stir},
    protocol::{Ack, CommandError, CommandId, ErrorCode, HistoryQuery, Reply, RoomCommand},
    request::change_of,
    session::{Acks, Desk, News, Opened},
    store::{Append, Appended, Require},
};

/// What a turn of a lane left.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// The sink is full: there is more.
    pub(crate) full: bool,
    /// A lane whose turn has come to read a page.
    pub(crate) woken: Vec<LaneNo>,
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
    command: RoomCommand,
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

    pub(crate) fn handle_command(&mut self, id: Option<CommandId>, command: RoomCommand, desk: &mut Desk) {
        self.waiting.push_back(Waiting { id, since: desk.now.mono, command });
        self.begin(desk);
    }

    /// The connection ends.
    pub(crate) fn close(&mut self, desk: &mut Desk) {
        let Some(seat) = self.seat.take() else { return };
        desk.seats -= 1;
        desk.hub.detach(desk.now, &seat.cell, desk.conn);
        if seat.slow {
            desk.hub.metrics.slow_readers(-1.0);
        }
    }

    /// Begins the commands that can begin, in order.
    fn begin(&mut self, desk: &mut Desk) {
        while self.busy.is_none()
            && let Some(waiting) = self.waiting.pop_front()
        {
            if let Some(waiting) = self.begin_one(waiting, desk) {
                self.waiting.push_front(waiting);
                return;
            }
        }
    }

    /// Begins a command, or gives it back where it must wait for the replies before it.
    fn begin_one(&mut self, waiting: Waiting, desk: &mut Desk) -> Option<Waiting> {
        let answered = self.owed.is_empty();
        match (&waiting.command, &self.seat) {
            (RoomCommand::History(_), _) => return self.begin_history(answered, waiting, desk),
            (RoomCommand::Join { .. } | RoomCommand::Leave, _) | (_, None) if !answered => {
                return Some(waiting);
            }
            (RoomCommand::Join { .. }, None) => self.begin_join(waiting, desk),
            // The right to be here has ended: this `join` comes after the `left` that is on its way.
            (RoomCommand::Join { .. }, Some(seat)) if seat.cell.lock().end_of(desk.conn).is_some() => {
                return Some(waiting);
            }
            (RoomCommand::Join { .. }, Some(_)) => self.join_again(waiting.id),
            (_, None) => self.begin_look(waiting.id, desk),
            (RoomCommand::Leave, Some(_)) => self.leave(waiting.id, desk),
            (_, Some(_)) => self.act(waiting, desk),
        }
        None
    }

    fn reply(&mut self, id: Option<CommandId>, reply: Result<Reply, CommandError>) {
        self.owed.push_back(Owed::Reply(id, reply.unwrap_or_else(Reply::Error)));
    }

    // Joining and leaving.

    fn begin_join(&mut self, waiting: Waiting, desk: &mut Desk) {
        let Waiting { id, command: RoomCommand::Join { after, epoch }, .. } = waiting else { return };
        if let Err(denied) = desk.hub.policy.may_join(&desk.who, &self.room) {
            return self.reply(id, Err(denied.into()));
        }
        if desk.seats >= desk.hub.limits.rooms_per_connection {
            let error = CommandError::new(ErrorCode::Forbidden, "this connection has joined too many rooms");
            return self.reply(id, Err(error));
        }
        desk.seats += 1;
        let ticket = self.open(desk);
        self.busy = Some(Busy::Joining { ticket, id, after, epoch });
    }

    fn open(&self, desk: &mut Desk) -> u64 {
        let address = desk.ticket(self.no);
        let ticket = address.ticket;
        desk.hub.open(&self.room, desk.who.clone(), address);
        ticket
    }

    fn opened(
        &mut self,
        (id, after, epoch): (Option<CommandId>, Option<Seq>, Option<Epoch>),
        opened: Result<Opened, CommandError>,
        desk: &mut Desk,
    ) {
        let Opened { cell, view, role } = match opened {
            Ok(opened) => opened,
            Err(error) => {
                desk.seats -= 1;
                return self.reply(id, Err(error));
            }
        };
        let stir = Arc::new(Stir::new(desk.mailbox.clone(), self.no));
        let entry = cell.lock().attach(desk.now.mono, desk.conn, &desk.who.user, &view, stir);
        let Ok(entry) = entry else {
            // Rights changed between the reading and now: read them again.
            let ticket = self.open(desk);
            self.busy = Some(Busy::Joining { ticket, id, after, epoch });
            return;
        };
        desk.hub.arm(&cell);
        let (seat, joined) = Seat::take(cell, role, entry, &view, (after, epoch));
        self.seat = Some(seat);
        self.reply(id, Ok(Reply::Joined(joined)));
    }

    fn join_again(&mut self, id: Option<CommandId>) {
        let Some(seat) = &self.seat else { return };
        let joined = seat.joined(seat.cell.lock().entry());
        self.reply(id, Ok(Reply::Joined(joined)));
    }

    fn leave(&mut self, id: Option<CommandId>, desk: &mut Desk) {
        self.stand_up(desk);
        self.reply(id, Ok(Reply::Left { room: self.room.clone(), reason: None }));
    }

    /// Gives up the place in the room: the acks of what was committed here are just replies then.
    fn stand_up(&mut self, desk: &mut Desk) {
        self.close(desk);
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

    fn begin_look(&mut self, id: Option<CommandId>, desk: &mut Desk) {
        let address = desk.ticket(self.no);
        self.busy = Some(Busy::Looking { ticket: address.ticket, id });
        desk.hub.ask(Job::View { room: self.room.clone(), who: desk.who.clone(), address });
    }

    fn begin_history(&mut self, answered: bool, waiting: Waiting, desk: &mut Desk) -> Option<Waiting> {
        if !answered || !desk.history.acquire(self.no) {
            return Some(waiting);
        }
        let Waiting { id, command: RoomCommand::History(query), .. } = waiting else { return None };
        let address = desk.ticket(self.no);
        self.busy = Some(Busy::Reading { ticket: address.ticket, id });
        self.ask_history(query, address, desk);
        None
    }

    fn ask_history(&self, query: HistoryQuery, address: Address, desk: &Desk) {
        desk.hub.ask(Job::History { room: self.room.clone(), who: desk.who.clone(), query, address });
    }

    // Commands of somebody who is in the room.

    fn act(&mut self, waiting: Waiting, desk: &mut Desk) {
        let Waiting { id, since, command } = waiting;
        let Some(seat) = &self.seat else { return };
        match command {
            RoomCommand::Read { seq } => {
                desk.hub.read(desk.now, &seat.cell, &desk.who.user, desk.conn, seq);
                self.done(id, desk);
            }
            RoomCommand::Typing => {
                seat.cell.lock().typing(desk.now.mono, &desk.who.user);
                self.done(id, desk);
            }
            command => self.submit((id, since), command, desk),
        }
    }

    /// Says `ok` where somebody waits for it.
    fn done(&mut self, id: Option<CommandId>, desk: &mut Desk) {
        match id {
            Some(_) => self.reply(id, Ok(Reply::Ok)),
            None => desk.unanswered = desk.unanswered.saturating_sub(1),
        }
    }

    fn submit(&mut self, (id, since): (Option<CommandId>, Duration), command: RoomCommand, desk: &mut Desk) {
        let change = match change_of(&*desk.hub.policy, &desk.hub.limits, &desk.who, &self.room, command) {
            Ok(change) => change,
            Err(error) => return self.reply(id, Err(error)),
        };
        let Some(seat) = &mut self.seat else { return };
        let (room, actor, at, require) = (seat.cell.no, desk.who.actor(), desk.now.wall, Require::default());
        let address = desk.ticket(self.no);
        let ticket = address.ticket;
        let reply_to = ReplyTo::Session(address.mailbox, ticket);
        let append = Append { room, actor, at, change, require };
        match desk.hub.submit(desk.now, Submission { append, reply_to }) {
            Ok(()) => {
                seat.unsettled += 1;
                self.owed.push_back(Owed::Outcome { ticket, id, since });
            }
            Err(error) => {
                desk.tear(ticket);
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
    pub(crate) fn handle_news(&mut self, ticket: u64, news: News, desk: &mut Desk) {
        match news {
            News::Settled(outcome) => self.settled(ticket, outcome, desk.acks),
            News::Page(page) => self.take_page(ticket, page),
            News::Renewed(view) => self.take_view(ticket, view),
            News::Opened(opened) => {
                if let Some(Busy::Joining { id, after, epoch, .. }) = self.take_busy(ticket) {
                    self.opened((id, after, epoch), opened, desk);
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
