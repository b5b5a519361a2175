//! The rooms in memory, by id.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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
    asks: u64,
}

/// The number of a question to the store about a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ask(u64);

#[derive(Debug)]
enum Slot {
    /// The store is being asked, `asked` times at once, `since` this question: what came of an earlier one may be older
    /// than what is noted here.
    Expected { since: Ask, asked: usize, heard: Heard },
    /// In memory.
    Open(Arc<RoomCell>),
}

/// What has happened to rooms of one id while the store was asked: it may not be in the answers.
#[derive(Debug, Default)]
struct Heard {
    commits: BTreeMap<RoomNo, Seq>,
    deletions: BTreeSet<RoomNo>,
}

impl Rooms {
    /// Says that the store is asked for a room: from now on no commit in it goes unheard.
    pub(super) fn expect(&mut self, id: &RoomId) -> Ask {
        self.asks += 1;
        let since = Ask(self.asks);
        let expected = Slot::Expected { since, asked: 0, heard: Heard::default() };
        if let Slot::Expected { asked, .. } = self.by_id.entry(id.clone()).or_insert(expected) {
            *asked += 1;
        }
        since
    }

    /// The store knows no such room, or did not answer, or its answer is too old.
    pub(super) fn give_up(&mut self, id: &RoomId, ask: Ask) {
        if let Some(Slot::Expected { since, asked, .. }) = self.by_id.get_mut(id)
            && ask >= *since
        {
            *asked -= 1;
            if *asked == 0 {
                self.by_id.remove(id);
            }
        }
    }

    /// The room that the store has told of. `None` where something may have happened to it since that nobody has noted:
    /// the store must be asked again.
    pub(super) fn enter(&mut self, view: &RoomView, ask: Ask, limits: &Limits) -> Option<Arc<RoomCell>> {
        let (id, no) = (&view.room.id, view.room.no);
        match self.by_id.get_mut(id) {
            Some(Slot::Open(cell)) if cell.no == no => Some(cell.clone()),
            Some(Slot::Expected { heard, .. }) if heard.deletions.contains(&no) => {
                self.give_up(id, ask);
                None
            }
            Some(Slot::Expected { since, heard, .. }) if ask >= *since => {
                let cell = Arc::new(RoomCell::new(view, limits));
                if let Some(last) = heard.commits.get(&no) {
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
            Some(_) | None => None,
        }
    }

    /// The room of a commit, where it is in memory.
    pub(super) fn committed(&mut self, last: &Committed) -> Option<Arc<RoomCell>> {
        match self.by_id.get_mut(&last.event().room)? {
            Slot::Open(cell) => (cell.no == last.room()).then(|| cell.clone()),
            Slot::Expected { heard, .. } => {
                let seq = heard.commits.entry(last.room()).or_default();
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

    /// Takes a room out of memory whose deletion was heard of: what the store is still to say of it is old.
    pub(super) fn delete(&mut self, id: &RoomId, no: RoomNo) -> Option<Arc<RoomCell>> {
        if let Some(Slot::Expected { heard, .. }) = self.by_id.get_mut(id) {
            heard.deletions.insert(no);
        }
        let cell = self.open_at(id).filter(|cell| cell.no == no).cloned();
        cell.inspect(|_| drop(self.by_id.remove(id)))
    }

    /// Takes a room out of memory. Another cell of the same room may have come in its place meanwhile: that one stays.
    pub(super) fn forget(&mut self, cell: &Arc<RoomCell>) {
        if self.open_at(&cell.id).is_some_and(|held| Arc::ptr_eq(held, cell)) {
            self.by_id.remove(&cell.id);
        }
    }

    fn open_at(&self, id: &RoomId) -> Option<&Arc<RoomCell>> {
        match self.by_id.get(id)? {
            Slot::Open(cell) => Some(cell),
            Slot::Expected { .. } => None,
        }
    }

    /// How many are in memory or on their way there.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}
