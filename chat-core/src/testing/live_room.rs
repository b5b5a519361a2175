//! One room's live end by itself.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    bell::{Attention, LaneNo, Stir},
    ids::{ConnId, Seq, UserId},
    limits::{Gathering, Limits},
    protocol::{Codec, Event, LeftReason},
    room::{Reader, RoomCell},
    sink::{Sink, WireSink},
    store::{Page, RoomView},
    strain::Relief,
    tail::{EVENT_OVERHEAD_BYTES, Found},
};

/// The live end of one room, without sessions, a store or time: its tail, who is in it, and where rights end. What it
/// says can be held against a plain list of events.
///
/// Nothing here decides anything: each function hands on to the room that the engine has.
#[derive(Debug)]
pub struct LiveRoom {
    cell: RoomCell,
    attention: Arc<Attention>,
    people: BTreeMap<LaneNo, ConnId>,
}

/// Where a connection finds what comes after its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In the tail, or there is no more.
    Tail,
    /// In the store.
    Store,
    /// Nobody knows whether it may: its rights must be read again.
    Unknown,
}

impl From<Found> for Source {
    fn from(found: Found) -> Self {
        match found {
            Found::Live => Self::Tail,
            Found::Behind => Self::Store,
            Found::Unsure => Self::Unknown,
        }
    }
}

/// What a connection finds after its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Where the next events are.
    pub source: Source,
    /// After which event its right to read ends, and why, if it does.
    pub end: Option<(Seq, LeftReason)>,
    /// What there is, as whole frames.
    pub frames: Bytes,
    /// How many messages are in them.
    pub messages: usize,
    /// Where the connection stands when it has them.
    pub position: Seq,
}

impl LiveRoom {
    /// What an event counts in the bound of the tail, beside its texts.
    pub const EVENT_OVERHEAD_BYTES: usize = EVENT_OVERHEAD_BYTES;

    /// A room as the store has it, with nobody in it.
    pub fn new(view: &RoomView, limits: &Limits) -> Self {
        // What is told is told at once: time stands still here.
        let gathering = Gathering { max: Duration::ZERO, ..limits.gathering };
        let limits = Limits { gathering, ..*limits };
        let cell = RoomCell::new(view, &limits, &Relief::new());
        Self { cell, attention: Arc::default(), people: BTreeMap::new() }
    }

    /// A connection comes in whose user's rights were read as `view`. The number after which live begins for it; `None`
    /// where rights have changed since, and must be read again.
    pub fn enter(&mut self, conn: ConnId, user: &UserId, view: &RoomView) -> Option<Seq> {
        let lane = LaneNo(u32::try_from(self.people.len()).unwrap_or(u32::MAX));
        let stir = Stir::new(self.attention.clone(), lane);
        let entry = self.cell.lock().attach(Duration::ZERO, conn, user, view, stir).ok()?;
        self.people.insert(lane, conn);
        Some(entry.last_seq)
    }

    /// The rights of a connection that was unsure of them were read again.
    pub fn renew(&mut self, conn: ConnId, view: &RoomView) {
        self.cell.lock().renew(conn, view);
    }

    /// A connection goes.
    pub fn leave(&mut self, conn: ConnId) {
        self.cell.lock().detach(Duration::ZERO, conn);
    }

    /// Committed events are told of: in whatever order, with holes, again.
    pub fn commit(&mut self, events: Vec<Event>) {
        let mut room = self.cell.lock();
        room.handle_committed(Duration::ZERO, Duration::ZERO, events.into_iter().map(Arc::new));
        room.wake_due(Duration::ZERO);
    }

    /// The store was seen to end here.
    pub fn see_end(&mut self, last: Seq) {
        self.cell.lock().handle_store_end(last);
    }

    /// After which event the room wants a page, to fill a hole; then [`fill`](Self::fill) is owed.
    pub fn wants_page(&mut self) -> Option<Seq> {
        self.cell.lock().poll_fill()
    }

    /// The page that it wanted.
    pub fn fill(&mut self, page: Page) {
        self.cell.lock().handle_filled(Duration::ZERO, page);
    }

    /// The room is gone.
    pub fn close(&mut self) {
        self.cell.lock().close();
    }

    /// The connections that were told, since this was last asked, that there is something for them.
    pub fn stirred(&mut self) -> Vec<ConnId> {
        let lanes = std::iter::from_fn(|| self.attention.take_stirred());
        lanes.filter_map(|(lane, _)| self.people.get(&lane).copied()).collect()
    }

    /// What a connection finds after `position`, up to about `bytes` of it; up to `replay_until` it wants messages as
    /// they now are.
    pub fn read(
        &self,
        conn: ConnId,
        (position, replay_until): (Seq, Seq),
        bytes: usize,
        codec: Codec,
    ) -> Sight {
        let reader = Reader { now: Duration::ZERO, conn, position, replay_until, heard: u64::MAX };
        let mut sink = WireSink::new(codec, usize::MAX);
        let (mut reader, mut gathered) = (reader, 0);
        let look = loop {
            let look = self.cell.lock().look(&reader, &mut Vec::new());
            let Some(block) = look.block.as_ref().filter(|_| gathered < bytes) else { break look };
            let range = block.after(reader.position, look.end.map(|end| end.seq));
            let Some(last) = block.events()[range.clone()].last() else { break look };
            reader.position = last.seq;
            gathered += block.weight_bytes();
            sink.run(block, range);
        };
        let (end, position) = (look.end, reader.position);
        let (frames, messages) = sink.finish().unwrap_or_default();
        let end = end.map(|end| (end.seq, end.reason));
        Sight { source: look.found.into(), end, frames, messages, position }
    }
}
