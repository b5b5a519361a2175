//! A user at another's server, of which only the flags say how its messages look.
//!
//! There are no numbers that we know, and nobody resumes: each text has its own [mark](mark), by which every delivery is
//! verified, and a connection that is lost stays away.

mod acks;
mod board;
mod mark;
mod streams;

use std::rc::Rc;

pub(super) use self::board::Board;
pub(crate) use self::mark::MARK_BYTES;
use self::{
    acks::{Acks, Tie, Waiting},
    board::{Heard, Seat, Talker},
    mark::{Mark, Marks},
};
use super::tally::{Hearing, Tally};
use crate::{
    client::{Fault, Kind, Step, Watch as _, frames},
    messages::{Acked, Echo, Found, Messages, Reading, Values},
    scenario::Plan,
};

/// What a socket has not taken stays below this, where no acks bound it: 1 MiB, some thousands of messages.
pub(super) const UNWRITTEN_BYTES_MAX: usize = 1 << 20;

/// What all connections to another's server have in common.
#[derive(Debug)]
struct Common {
    messages: Messages,
    marks: Marks,
    /// The names of the plan's rooms.
    rooms: Vec<String>,
    /// The names of the users, and their roles.
    users: Vec<(String, &'static str)>,
}

/// One connection of one user.
#[derive(Debug)]
pub(super) struct Foreign {
    common: Rc<Common>,
    user: usize,
    key_head: String,
    seats: Vec<Seat>,
    acks: Acks,
    next_id: u64,
    is_open: bool,
    /// How often the server has yet to say that the user is in.
    outside: usize,
    output: Vec<u8>,
    /// The message that is being written.
    message: Vec<u8>,
}

/// All users of a run. No other run has this tag.
pub(super) fn users(messages: &Messages, plan: &Plan, text_bytes: usize, tag: &str) -> Vec<Foreign> {
    let common = Rc::new(Common {
        messages: messages.clone(),
        marks: Marks::new(text_bytes),
        rooms: (0..plan.rooms).map(|room| format!("load-{tag}-{room}")).collect(),
        users: plan.people.iter().enumerate().map(|(at, person)| (format!("u{at}"), person.role)).collect(),
    });
    let seats = Board::seats(&plan.people, plan.rooms).into_iter().enumerate();
    let users = seats.map(|(user, seats)| Foreign {
        common: Rc::clone(&common),
        user,
        key_head: format!("{tag}.{user}."),
        acks: Acks::new(seats.len()),
        seats,
        next_id: 1,
        is_open: false,
        outside: 0,
        output: Vec::new(),
        message: Vec::new(),
    });
    users.collect()
}

impl Foreign {
    /// The path of its WebSocket.
    pub(super) fn path(&self) -> String {
        let mut path = Vec::new();
        let room = self.seats.first().map_or(0, |seat| seat.room);
        self.common.messages.path.put(&mut path, &self.values(room));
        String::from_utf8_lossy(&path).into_owned()
    }

    /// Who it is, and where.
    fn values(&self, room: usize) -> Values<'_> {
        let (user, role) = &self.common.users[self.user];
        let room = self.common.rooms.get(room).map_or("", String::as_str);
        Values { user, role, room, key_head: &self.key_head, ..Values::default() }
    }

    /// A socket is open.
    pub(super) fn opened(&mut self) {
        self.is_open = true;
        let common = Rc::clone(&self.common);
        let messages = &common.messages;
        let entries = messages.enter.as_ref().map_or(0, |_| self.seats.len());
        self.outside = match (&messages.entered, &messages.enter) {
            (None, _) => 0,
            (Some(_), None) => 1,
            (Some(_), Some(_)) => entries,
        };
        for at in 0..entries {
            self.message.clear();
            let mut message = std::mem::take(&mut self.message);
            if let Some(enter) = &messages.enter {
                enter.put(&mut message, &self.values(self.seats[at].room));
            }
            frames::put_text(&mut self.output, &message);
            self.message = message;
        }
    }

    pub(super) fn lost(&mut self) {
        self.is_open = false;
        self.output.clear();
    }

    /// Whether it is in its rooms, as far as the server tells.
    pub(super) const fn is_live(&self) -> bool {
        self.is_open && self.outside == 0
    }

    pub(super) const fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    pub(super) fn pong(&mut self, payload: &[u8]) {
        frames::put_pong(&mut self.output, payload);
    }

    /// Messages that were sent into one of its rooms and have no ack.
    pub(super) fn waiting_in(&self, room: usize) -> usize {
        self.acks.in_room(room)
    }

    /// The same in all of them.
    pub(super) fn waiting(&self) -> usize {
        self.acks.len()
    }

    /// How many of the others' last messages it does not have.
    pub(super) fn behind(&self, board: &Board) -> u64 {
        self.seats.iter().map(|seat| board.behind(seat)).sum()
    }

    /// Says something in one of its rooms. Returns whether it could.
    pub(super) fn say(&mut self, room: usize, tally: &mut Tally) -> bool {
        let has_acks = self.common.messages.has_acks();
        let seat = self.seats[room];
        let Some(talker) = seat.talker.filter(|_| self.is_live() && !(has_acks && self.acks.is_full(room)))
        else {
            return false;
        };
        let at = tally.said.moment(tally.now());
        let mark = Mark { at, talker, count: tally.board.say(talker) };
        tally.said.remember(at, Some(self.user), seat.room);
        let id = self.next_id;
        self.next_id += 1;
        let text = self.common.marks.text(&mark);
        let mut message = std::mem::take(&mut self.message);
        message.clear();
        self.common.messages.send.put(&mut message, &Values { text: &text, id, ..self.values(seat.room) });
        frames::put_text(&mut self.output, &message);
        self.message = message;
        if has_acks {
            self.acks.wait_for(Waiting { id, room, count: mark.count, at });
        }
        true
    }

    /// Takes a frame of text.
    #[inline]
    pub(super) fn hear(&mut self, frame: &[u8], hearing: &mut Hearing<'_>) {
        match self.common.messages.delivery.read(frame, self.common.marks.text_bytes()) {
            Reading::Found(found) => self.delivered(&found, frame, hearing),
            Reading::Spoilt => self.hear_other(frame, Some("it is not as a delivery should be"), hearing),
            Reading::Other => self.hear_other(frame, None, hearing),
        }
    }

    fn hear_other(&mut self, frame: &[u8], fault: Option<&str>, hearing: &mut Hearing<'_>) {
        let common = Rc::clone(&self.common);
        if let Acked::Said(ack) = &common.messages.ack
            && let Reading::Found(found) = ack.read(frame, common.marks.text_bytes())
        {
            return self.acked(&found, frame, hearing);
        }
        if let Some(entered) = &common.messages.entered
            && entered.read(frame, 0) == Reading::Found(Found::default())
        {
            // Others' entries may look the same.
            self.outside = self.outside.saturating_sub(1);
        } else if let Some(why) = fault {
            hearing.fault(Fault::altered(frame, why));
        } else {
            hearing.tally.board.other(frame);
        }
    }

    /// A message of somebody has come.
    #[inline]
    fn delivered(&mut self, found: &Found<'_>, frame: &[u8], hearing: &mut Hearing<'_>) {
        match self.look(found, hearing) {
            Ok((mark, talker, seat)) => self.heard(&mark, &talker, seat, frame, hearing),
            Err(why) => hearing.fault(Fault::altered(frame, why)),
        }
    }

    /// Which message it is, or what is wrong with it.
    #[inline]
    fn look(&self, found: &Found<'_>, hearing: &Hearing<'_>) -> Result<(Mark, Talker, usize), &'static str> {
        let mark =
            found.text.and_then(|text| self.common.marks.read(text)).ok_or("its text is another one")?;
        let talker = *hearing.tally.board.talker(mark.talker).ok_or("nobody of this run said it")?;
        let (author, _) = &self.common.users[talker.user];
        if found.user.is_some_and(|user| user != author.as_bytes()) {
            return Err("somebody else said it");
        }
        let room = &self.common.rooms[talker.room];
        let seat = self.seats.iter().position(|seat| seat.room == talker.room);
        let is_there = found.room.is_none_or(|found| found == room.as_bytes());
        let seat = seat.filter(|_| is_there).ok_or("it was said in another room")?;
        if talker.user == self.user && self.common.messages.echo == Echo::None {
            return Err("its own message came back to its sender, and there is no --echo");
        }
        Ok((mark, talker, seat))
    }

    #[inline]
    fn heard(&mut self, mark: &Mark, talker: &Talker, seat: usize, frame: &[u8], hearing: &mut Hearing<'_>) {
        match hearing.tally.board.hear(&self.seats[seat], mark) {
            Heard::Message(Step::Next) => {}
            Heard::Message(step) => {
                let (author, _) = &self.common.users[talker.user];
                let what = format!("{} of {author}", self.common.rooms[talker.room]);
                hearing.fault(Fault::of_step(step, &what, mark.count.into()));
            }
            Heard::Nobody => hearing.fault(Fault::altered(frame, "nobody has said it yet")),
        }
        if talker.user != self.user {
            hearing.delivered_at(mark.at, talker.user, talker.room, frame);
        } else if matches!(self.common.messages.ack, Acked::ByEcho) {
            self.settle(Tie::Mark { room: seat, count: mark.count }, frame, hearing);
        }
    }

    /// An ack has come.
    fn acked(&mut self, found: &Found<'_>, frame: &[u8], hearing: &mut Hearing<'_>) {
        let tie = match *found {
            Found { id: Some(id), .. } => Some(Tie::Id(id)),
            Found { key: Some(key), .. } => {
                let id = key.strip_prefix(self.key_head.as_bytes()).and_then(|id| str::from_utf8(id).ok());
                id.and_then(|id| id.parse().ok()).map(Tie::Id)
            }
            Found { text: Some(text), .. } => self.common.marks.read(text).and_then(|mark| {
                let room = self.seats.iter().position(|seat| seat.talker == Some(mark.talker))?;
                Some(Tie::Mark { room, count: mark.count })
            }),
            _ => Some(Tie::Order),
        };
        match tie {
            Some(tie) => self.settle(tie, frame, hearing),
            None => hearing.fault(unknown_ack(frame)),
        }
    }

    fn settle(&mut self, tie: Tie, frame: &[u8], hearing: &mut Hearing<'_>) {
        match self.acks.take(tie) {
            Some(sent) => hearing.acked_at(sent.at),
            None => hearing.fault(unknown_ack(frame)),
        }
    }
}

#[cold]
fn unknown_ack(frame: &[u8]) -> Fault {
    Fault::of_frame(Kind::AckDoubled, frame, "an ack came again, or for nothing")
}
