//! The rooms in memory, by id and by number.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    ids::{RoomId, RoomNo, Seq},
    limits::Limits,
    room::RoomCell,
    store::{Committed, RoomView},
    strain::Relief,
};

/// The rooms in memory and those on their way there.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    by_id: BTreeMap<RoomId, Slot>,
    by_no: BTreeMap<RoomNo, Arc<RoomCell>>,
    asks: u64,
}

/// The number of a question to the store about a room.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ask(u64);

#[derive(Debug)]
enum Slot {
    /// The store is being asked.
    Expected(Expected),
    /// In memory.
    Open(Arc<RoomCell>),
}

/// What is heard of a room while the store is asked for it may not be in the store's answer.
#[derive(Debug, Default)]
struct Expected {
    /// The first question: what answers an earlier one may be older than what is noted here.
    since: Ask,
    /// How many questions are under way, of those from the first on.
    asked: usize,
    /// The highest numbers committed, by incarnation.
    heard: BTreeMap<RoomNo, Seq>,
    /// Incarnations that were deleted.
    gone: BTreeSet<RoomNo>,
}

impl Rooms {
    /// Says that the store is asked for a room: from now on no commit in it goes unheard.
    pub(super) fn announce(&mut self, id: &RoomId) -> Ask {
        self.asks += 1;
        let ask = Ask(self.asks);
        let expected = || Slot::Expected(Expected { since: ask, ..Expected::default() });
        if let Slot::Expected(expected) = self.by_id.entry(id.clone()).or_insert_with(expected) {
            expected.asked += 1;
        }
        ask
    }

    /// The store knows no such room, or did not answer, or its answer is too old.
    pub(super) fn give_up(&mut self, id: &RoomId, ask: Ask) {
        if let Some(Slot::Expected(expected)) = self.by_id.get_mut(id)
            && ask >= expected.since
        {
            expected.asked = expected.asked.saturating_sub(1);
            if expected.asked == 0 {
                self.by_id.remove(id);
            }
        }
    }

    /// The room that the store has told of. `None` where that is older than what memory knows: the store must be asked
    /// again.
    pub(super) fn enter(
        &mut self,
        view: &RoomView,
        ask: Ask,
        (limits, relief): (&Limits, &Relief),
    ) -> Option<Arc<RoomCell>> {
        let (id, no) = (&view.room.id, view.room.no);
        match self.by_id.get(id)? {
            Slot::Open(cell) if cell.no == no => Some(cell.clone()),
            Slot::Open(cell) if cell.no > no => None,
            Slot::Open(cell) => {
                // Its deletion has not been heard of yet.
                let cell = cell.clone();
                self.forget(&cell);
                cell.lock().close();
                None
            }
            Slot::Expected(expected) if ask < expected.since || expected.gone.contains(&no) => {
                self.give_up(id, ask);
                None
            }
            Slot::Expected(expected) => {
                let cell = Arc::new(RoomCell::new(view, limits, relief));
                if let Some(last) = expected.heard.get(&no) {
                    cell.lock().handle_store_end(*last);
                }
                self.by_id.insert(id.clone(), Slot::Open(cell.clone()));
                self.by_no.insert(no, cell.clone());
                Some(cell)
            }
        }
    }

    /// The room of a commit, where it is in memory.
    pub(super) fn committed(&mut self, last: &Committed) -> Option<Arc<RoomCell>> {
        let no = last.room();
        match self.by_id.get_mut(&last.event().room)? {
            Slot::Open(cell) if cell.no < no => {
                // Its deletion has not been heard of yet.
                let cell = cell.clone();
                self.forget(&cell);
                cell.lock().close();
                None
            }
            Slot::Open(cell) => (cell.no == no).then(|| cell.clone()),
            Slot::Expected(expected) => {
                let heard = expected.heard.entry(no).or_default();
                *heard = last.event().seq.max(*heard);
                None
            }
        }
    }

    /// An incarnation is gone. Returns it where it was in memory; it is so no longer.
    pub(super) fn deleted(&mut self, id: &RoomId, no: RoomNo) -> Option<Arc<RoomCell>> {
        match self.by_id.get_mut(id)? {
            Slot::Open(cell) if cell.no == no => {
                let cell = cell.clone();
                self.forget(&cell);
                Some(cell)
            }
            Slot::Open(_) => None,
            Slot::Expected(expected) => {
                expected.gone.insert(no);
                None
            }
        }
    }

    /// Takes this very cell out of memory; another one of the same room stays.
    pub(super) fn forget(&mut self, cell: &Arc<RoomCell>) {
        if matches!(self.by_id.get(&cell.id), Some(Slot::Open(open)) if Arc::ptr_eq(open, cell)) {
            self.by_id.remove(&cell.id);
            self.by_no.remove(&cell.no);
        }
    }

    /// The numbers of the rooms in memory.
    pub(super) fn numbers(&self) -> Vec<RoomNo> {
        self.by_no.keys().copied().collect()
    }

    /// The room of this number, where it is in memory.
    pub(super) fn find(&self, no: RoomNo) -> Option<Arc<RoomCell>> {
        self.by_no.get(&no).cloned()
    }

    /// How many are in memory.
    pub(super) fn len(&self) -> usize {
        self.by_no.len()
    }
}
