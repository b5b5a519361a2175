//! Rooms whose last commit was asked for and not confirmed.
//!
//! Its connection is gone, but the server may not know that yet, and commit after all. Until then it holds the locks
//! of the rooms. So whoever wants to know where such a room ends waits for its lock.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chat_core::ids::RoomNo;

/// One commit as it concerns one room.
pub(super) type Mark = (RoomNo, u64);

/// Commits of which nobody knows, by room.
///
/// Whoever next has the lock of a room settles what was in doubt there: so it does not pile up.
#[derive(Debug, Default)]
pub(super) struct Doubts(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    marks: BTreeSet<Mark>,
    /// How many commits there were.
    commits: u64,
}

/// A commit on its way. Unless it is settled, its rooms remain in doubt.
#[must_use]
pub(super) struct Doubt<'a> {
    doubts: &'a Doubts,
    marks: Vec<Mark>,
}

impl Doubts {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit of these rooms is about to be asked for.
    pub(super) fn raise(&self, rooms: impl IntoIterator<Item = RoomNo>) -> Doubt<'_> {
        let mut inner = self.lock();
        inner.commits += 1;
        let commit = inner.commits;
        let marks: Vec<_> = rooms.into_iter().map(|room| (room, commit)).collect();
        inner.marks.extend(&marks);
        drop(inner);
        Doubt { doubts: self, marks }
    }

    /// What is in doubt about these rooms.
    pub(super) fn about(&self, rooms: impl IntoIterator<Item = RoomNo>) -> Vec<Mark> {
        let inner = self.lock();
        if inner.marks.is_empty() {
            return Vec::new();
        }
        let marks = rooms.into_iter().flat_map(|room| inner.marks.range((room, 0)..=(room, u64::MAX)));
        marks.copied().collect()
    }

    /// These are over, one way or the other: somebody has had the locks of their rooms since.
    pub(super) fn settle(&self, marks: &[Mark]) {
        if !marks.is_empty() {
            let mut inner = self.lock();
            for mark in marks {
                inner.marks.remove(mark);
            }
        }
    }
}

impl Doubt<'_> {
    /// The answer came.
    pub(super) fn settle(self) {
        self.doubts.settle(&self.marks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_seen_in_doubt_is_settled() {
        let doubts = Doubts::default();
        let (first, second) = (RoomNo(1), RoomNo(2));
        doubts.raise([first, second]).settle();
        assert_eq!(doubts.about([first, second]), []);

        drop(doubts.raise([first, second]));
        let seen = doubts.about([first]);
        assert_eq!(seen, [(first, 2)]);
        drop(doubts.raise([first]));
        doubts.settle(&seen);
        assert_eq!(doubts.about([first]), [(first, 3)], "the later one is open still");
        assert_eq!(doubts.about([second]), [(second, 2)], "of another room nothing is known");
    }
}
