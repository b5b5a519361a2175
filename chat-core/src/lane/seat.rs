//! A connection's place in a room.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::{
    ids::{ConnId, Epoch, Seq},
    protocol::{Event, Joined},
    rights::Role,
    room::{End, Entry, Reader, RoomCell},
    store::RoomView,
};

/// This connection's place in the room.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) cell: Arc<RoomCell>,
    pub(super) role: Role,
    /// Everything up to here has been handed out.
    pub(super) position: Seq,
    /// Up to here the client asked for a replay: messages as they now are.
    pub(super) replay_until: Seq,
    pub(super) heard: u64,
    /// Appends whose outcome is not known yet.
    pub(super) unsettled: usize,
    /// The newest own event that is known.
    pub(super) last_own: Seq,
    pub(super) feed: Feed,
    /// Whether it fell off the live tail and has not met it again.
    pub(super) slow: bool,
}

/// Where the next events come from.
#[derive(Debug)]
pub(super) enum Feed {
    /// The live tail.
    Tail,
    /// The store, which has been asked under this number.
    Asked(u64),
    /// The store has said how the room now is for this user.
    Renewed(Option<Box<RoomView>>),
    /// A page of the store, and where the timeline ended when it was read.
    Page { events: VecDeque<Event>, end: Option<End>, as_of: Seq },
}

impl Seat {
    /// Takes the place that a `join` asked for, and says what the client is told.
    pub(super) fn take(
        cell: Arc<RoomCell>,
        role: Role,
        entry: Entry,
        view: &RoomView,
        (after, epoch): (Option<Seq>, Option<Epoch>),
    ) -> (Self, Joined) {
        let known = entry.last_seq.max(view.room.last_seq);
        let meant = |after: Seq| after.next() >= entry.first_seq && after <= known;
        let reset =
            epoch.is_some_and(|epoch| epoch != cell.epoch) || after.is_some_and(|after| !meant(after));
        let position = after.filter(|_| !reset).unwrap_or(entry.last_seq);
        let seat = Self {
            cell,
            role,
            position,
            replay_until: entry.last_seq,
            heard: entry.heard,
            unsettled: 0,
            last_own: Seq::ZERO,
            feed: Feed::Tail,
            slow: false,
        };
        let joined = Joined { reset, ..seat.joined(entry) };
        (seat, joined)
    }

    /// Whether this is the number of what was asked last.
    pub(super) fn asked(&self, ticket: u64) -> bool {
        matches!(self.feed, Feed::Asked(asked) if asked == ticket)
    }

    pub(super) fn joined(&self, entry: Entry) -> Joined {
        Joined {
            room: self.cell.id.clone(),
            role: self.role,
            epoch: self.cell.epoch.clone(),
            first_seq: entry.first_seq,
            last_seq: entry.last_seq.max(self.position),
            online: entry.online,
            online_count: entry.online_count,
            reset: false,
        }
    }

    pub(super) const fn reader(&self, now: Duration, conn: ConnId) -> Reader {
        Reader { now, conn, position: self.position, replay_until: self.replay_until, heard: self.heard }
    }
}
