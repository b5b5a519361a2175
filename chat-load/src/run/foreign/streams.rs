//! What each user has of each author in one room.

use std::collections::BTreeSet;

use crate::client::Step;

/// Holes are remembered up to so many in a room, so that a message that comes later is told from one that comes twice.
/// Beyond that they are only counted, and count as lost.
const MISSING_MAX: usize = 100_000;

/// For each pair of an author and a reader in a room the number of the author's next message: four bytes a pair, so
/// that a room where 1,000 talk takes 4 MB.
///
/// An author's readers stand side by side, since they hear the same message at about the same time.
#[derive(Debug, Default)]
pub(super) struct Streams {
    readers: usize,
    /// How many of the author's messages were heard, or passed over.
    heard: Vec<u32>,
    /// Pairs, and numbers that have not come to them.
    missing: BTreeSet<(usize, u32)>,
    uncounted: u64,
}

impl Streams {
    pub(super) fn new(authors: usize, readers: usize) -> Self {
        Self { readers, heard: vec![0; authors * readers], ..Self::default() }
    }

    /// A reader hears an author's message of this number.
    #[inline]
    pub(super) fn step(&mut self, author: usize, reader: usize, count: u32) -> Step {
        let pair = author * self.readers + reader;
        let heard = &mut self.heard[pair];
        if heard.checked_add(1) == Some(count) {
            *heard = count;
            return Step::Next;
        }
        self.misstep(pair, count)
    }

    #[cold]
    fn misstep(&mut self, pair: usize, count: u32) -> Step {
        let heard = self.heard[pair];
        if count <= heard {
            return if self.missing.remove(&(pair, count)) { Step::Late } else { Step::Again };
        }
        let (first, last) = (heard + 1, count - 1);
        let room = u32::try_from(MISSING_MAX - self.missing.len()).unwrap_or(u32::MAX);
        let remembered = last.min(heard.saturating_add(room));
        self.missing.extend((first..=remembered).map(|count| (pair, count)));
        self.uncounted += u64::from(last - remembered);
        self.heard[pair] = count;
        Step::Beyond { first: first.into(), last: last.into() }
    }

    /// How many have not come though later ones have.
    pub(super) fn holes(&self) -> u64 {
        self.missing.len() as u64 + self.uncounted
    }

    /// How far a reader is behind an author who has said so many.
    pub(super) fn behind(&self, author: usize, reader: usize, said: u32) -> u32 {
        said.saturating_sub(self.heard[author * self.readers + reader])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reader_has_each_author_by_itself() {
        let mut streams = Streams::new(2, 3);
        for (author, reader, count) in [(0, 0, 1), (0, 0, 2), (1, 0, 1), (0, 2, 1), (1, 2, 1), (1, 2, 2)] {
            assert_eq!(streams.step(author, reader, count), Step::Next);
        }
        assert_eq!((streams.behind(0, 0, 2), streams.behind(0, 1, 2), streams.behind(0, 2, 2)), (0, 2, 1));
        assert_eq!(streams.holes(), 0);
    }

    #[test]
    fn lost_doubled_and_late_ones_are_told_apart() {
        let mut streams = Streams::new(1, 2);
        assert_eq!(streams.step(0, 1, 3), Step::Beyond { first: 1, last: 2 });
        assert_eq!(streams.step(0, 0, 1), Step::Next, "the other one has nothing to do with it");
        assert_eq!(streams.step(0, 1, 2), Step::Late);
        assert_eq!(streams.step(0, 1, 2), Step::Again);
        assert_eq!(streams.step(0, 1, 3), Step::Again);
        assert_eq!(streams.step(0, 1, 0), Step::Again, "there is none");
        assert_eq!((streams.holes(), streams.behind(0, 1, 4)), (1, 1));
    }

    #[test]
    fn holes_without_end_take_no_more_memory_than_their_bound() {
        let mut streams = Streams::new(1, 2);
        streams.step(0, 0, u32::MAX);
        streams.step(0, 1, 5);
        assert_eq!(streams.missing.len(), MISSING_MAX);
        assert_eq!(streams.holes(), u64::from(u32::MAX) - 1 + 4);
        assert_eq!(streams.step(0, 0, 1), Step::Late);
        assert_eq!(streams.step(0, 0, u32::MAX), Step::Again);
    }
}
