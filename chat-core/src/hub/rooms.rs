//! The rooms in memory, by id.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    ids::{RoomId, RoomNo, Seq},
    limits::Limits,
    room::RoomCell,
    store::{Committed, RoomView},
};

/// The rooms in memory and those on their way there.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    by_id: BTreeMap<RoomId, Slot>,
}

#[derive(Debug)]
enum Slot {
    /// The store is being asked, `asked` times at once. Commits heard of meanwhile may not be in its answers.
    Expected { asked: usize, heard: BTreeMap<RoomNo, Seq> },
    /// In memory.
    Open(Arc<RoomCell>),
}

impl Rooms {
    /// Says that the store is asked for a room: from now on no commit in it goes unheard.
    pub(super) fn expect(&mut self, id: &RoomId) {
        let expected = Slot::Expected { asked: 0, heard: BTreeMap::new() };
        if let Slot::Expected { asked, .. } = self.by_id.entry(id.clone()).or_insert(expected) {
            *asked += 1;
        }
    }

    /// The store knows no such room, or did not answer.
    pub(super) fn give_up(&mut self, id: &RoomId) {
        if let Some(Slot::Expected { asked, .. }) = self.by_id.get_mut(id) {
            *asked = asked.saturating_sub(1);
            if *asked == 0 {
                self.by_id.remove(id);
            }
        }
    }

    /// The room that the store has told of. `None` where memory has another incarnation of it, or forgot that it was
    /// asked: the store must be asked again.
    pub(super) fn enter(&mut self, view: &RoomView, limits: &Limits) -> Option<Arc<RoomCell>> {
        let (id, no) = (&view.room.id, view.room.no);
        match self.by_id.get_mut(id) {
            Some(Slot::Open(cell)) if cell.no == no => Some(cell.clone()),
            Some(Slot::Expected { heard, .. }) => {
                let cell = Arc::new(RoomCell::new(view, limits));
                if let Some(last) = heard.get(&no) {
                    cell.lock().handle_store_end(*last);
                }
                self.by_id.insert(id.clone(), Slot::Open(cell.clone()));
                Some(cell)
            }
            Some(Slot::Open(cell)) if cell.no < no => {
                // Its deletion has not been heard of yet.
                cell.lock().close();
                self.by_id.remove(id);
                None
            }
            Some(Slot::Open(_)) | None => None,
        }
    }

    /// The room of a commit, where it is in memory.
    pub(super) fn committed(&mut self, last: &Committed) -> Option<Arc<RoomCell>> {
        match self.by_id.get_mut(&last.event().room)? {
            Slot::Open(cell) => (cell.no == last.room()).then(|| cell.clone()),
            Slot::Expected { heard, .. } => {
                let seq = heard.entry(last.room()).or_default();
                *seq = last.event().seq.max(*seq);
                None
            }
        }
    }

    /// The rooms in memory.
    pub(super) fn open(&self) -> impl Iterator<Item = &Arc<RoomCell>> {
        self.by_id.values().filter_map(|slot| match slot {
            Slot::Open(cell) => Some(cell),
            Slot::Expected { .. } => None,
        })
    }

    /// The room of this number, where it is in memory.
    pub(super) fn find(&self, no: RoomNo) -> Option<Arc<RoomCell>> {
        self.open().find(|cell| cell.no == no).cloned()
    }

    /// Takes a room out of memory.
    pub(super) fn forget(&mut self, id: &RoomId, no: RoomNo) -> Option<Arc<RoomCell>> {
        match self.by_id.get(id) {
            Some(Slot::Open(cell)) if cell.no == no => {
                let cell = cell.clone();
                self.by_id.remove(id);
                Some(cell)
            }
            _ => None,
        }
    }

    /// How many are in memory or on their way there.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}
