//! A room, as a client has it.

use super::{outbox::Outbox, place::Place, words::Position};

/// How a connection stands to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seat {
    Out,
    Joining {
        id: u64,
    },
    /// Joined, and not yet where the room was at that moment.
    Behind {
        last_seq: u64,
    },
    Live,
}

/// A room that a client joins on each of its connections.
#[derive(Debug)]
pub struct Room {
    pub(super) name: String,
    /// The incarnation of the room that the position belongs to. None before the first join.
    pub(super) epoch: Option<String>,
    pub(super) place: Place,
    pub(super) seat: Seat,
    pub(super) outbox: Outbox,
}

impl Room {
    pub(super) fn new(name: String) -> Self {
        Self { name, epoch: None, place: Place::default(), seat: Seat::Out, outbox: Outbox::default() }
    }

    /// Its id.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is, for whoever comes back; `None` before the first join.
    pub fn resumes_at(&self) -> Option<Position> {
        let epoch = self.epoch.clone()?;
        Some(Position { epoch, after: self.position() })
    }

    /// The highest number that came.
    pub const fn position(&self) -> u64 {
        self.place.position()
    }

    /// Numbers up to the position that have not come.
    pub fn lost(&self) -> u64 {
        self.place.lost()
    }

    /// Messages that were sent, or are to be, and have no ack.
    pub fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// Messages that have had no ack though later ones had.
    pub fn skipped(&self) -> u64 {
        self.outbox.skipped()
    }
}
