//! Who has heard what, of all users at another's server.

use super::{
    mark::Mark,
    streams::{Pair, Streams},
};
use crate::{
    client::Step,
    messages::Echo,
    scenario::{Person, Plan},
};

/// So much of a frame that is not known is shown.
const SHOWN_BYTES: usize = 160;

/// Somebody who talks in a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Talker {
    pub(super) user: usize,
    /// Which of the plan's rooms.
    pub(super) room: usize,
    /// Which of those who talk there.
    row: usize,
    /// How many it has said.
    said: u32,
}

/// A user in a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    /// Which of the plan's rooms.
    pub(super) room: usize,
    /// Which of those who are there.
    column: usize,
    /// Which of the run's talkers it is there, if any.
    pub(super) talker: Option<usize>,
}

impl Seat {
    /// It and an author in its room.
    const fn hears(&self, talker: &Talker) -> Pair {
        Pair { room: self.room, author: talker.row, reader: self.column }
    }
}

/// What a delivery is to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// A message, and how it follows the one before.
    Message(Step),
    /// Nobody has said it.
    Nobody,
}

/// All that was said, and who has heard it.
#[derive(Debug, Default)]
pub(crate) struct Board {
    talkers: Vec<Talker>,
    streams: Streams,
    members: Vec<usize>,
    /// A message is for so many fewer than there are members.
    spared: u64,
    /// Deliveries that there must be.
    due: u64,
    /// Those that there were, each once.
    came: u64,
    /// Frames that were neither a message nor an ack nor an entry.
    others: u64,
    /// The first of them, for a person.
    other: Option<String>,
}

impl Board {
    pub(crate) fn new(plan: &Plan, echo: Echo) -> Self {
        let (mut members, mut rows) = (vec![0; plan.rooms], vec![0; plan.rooms]);
        let mut talkers = Vec::new();
        for (user, person) in plan.people.iter().enumerate() {
            for room in &person.rooms {
                members[*room] += 1;
            }
            for (room, _) in &person.talks {
                let room = person.rooms[*room];
                talkers.push(Talker { user, room, row: rows[room], said: 0 });
                rows[room] += 1;
            }
        }
        let streams = Streams::new(rows.into_iter().zip(members.iter().copied()));
        let spared = u64::from(echo == Echo::None);
        Self { talkers, streams, members, spared, ..Self::default() }
    }

    /// Where each user sits.
    pub(super) fn seats(people: &[Person], plan_rooms: usize) -> Vec<Vec<Seat>> {
        let mut columns = vec![0; plan_rooms];
        let mut talkers = 0..;
        let seats = people.iter().map(|person| {
            let mut seats: Vec<Seat> = person
                .rooms
                .iter()
                .map(|room| {
                    columns[*room] += 1;
                    Seat { room: *room, column: columns[*room] - 1, talker: None }
                })
                .collect();
            for (room, _) in &person.talks {
                seats[*room].talker = talkers.next();
            }
            seats
        });
        seats.collect()
    }

    pub(super) fn talker(&self, talker: usize) -> Option<&Talker> {
        self.talkers.get(talker)
    }

    /// A talker says the next one. Its number.
    pub(super) fn say(&mut self, talker: usize) -> u32 {
        let talker = &mut self.talkers[talker];
        talker.said += 1;
        self.due += self.members[talker.room] as u64 - self.spared;
        talker.said
    }

    /// A message comes to a seat of the room in which it was said.
    #[inline]
    pub(super) fn hear(&mut self, seat: &Seat, mark: &Mark) -> Heard {
        let Some(talker) = self.talkers.get(mark.talker) else { return Heard::Nobody };
        if mark.count > talker.said || mark.count == 0 {
            return Heard::Nobody;
        }
        let step = self.streams.step(seat.hears(talker), mark.count);
        self.came += u64::from(step != Step::Again);
        Heard::Message(step)
    }

    /// Whether everybody has what the others said.
    pub(crate) const fn is_settled(&self) -> bool {
        self.came >= self.due
    }

    /// A frame has come that the flags do not know.
    pub(super) fn other(&mut self, frame: &[u8]) {
        self.others += 1;
        self.other.get_or_insert_with(|| {
            String::from_utf8_lossy(frame.get(..SHOWN_BYTES).unwrap_or(frame)).into_owned()
        });
    }

    /// What came that the flags do not know: for a person who wonders what is wrong with them.
    pub(crate) fn others_told(&self) -> Option<String> {
        let other = self.other.as_ref()?;
        Some(format!("{} frames were neither a delivery nor an ack, such as {other}", self.others))
    }

    /// How many messages have not come to readers to whom later ones of the same author have.
    pub(crate) fn holes(&self) -> u64 {
        self.streams.holes()
    }

    /// How many of the last messages of all authors have not come to this seat.
    pub(super) fn behind(&self, seat: &Seat) -> u64 {
        let others = self.talkers.iter().enumerate().filter(|(at, talker)| {
            talker.room == seat.room && (self.spared == 0 || Some(*at) != seat.talker)
        });
        others.map(|(_, talker)| u64::from(self.streams.behind(seat.hears(talker), talker.said))).sum()
    }
}
