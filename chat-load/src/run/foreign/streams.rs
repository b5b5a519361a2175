//! What each user has of each author, in every room.

use std::collections::BTreeSet;

use crate::client::Step;

/// Holes are remembered up to so many in all, so that a message that comes later is told from one that comes twice.
/// Beyond that they are only counted, and count as lost.
const MISSING_MAX: usize = 100_000;

/// For each pair of an author and a reader in a room the author's last message that came: four bytes a pair, so that a
/// room where 1,000 talk takes 4 MB.
///
/// An author's readers stand side by side, since they hear the same message at about the same time.
#[derive(Debug, Default)]
pub(super) struct Streams {
    rooms: Vec<Room>,
    /// How many of the author's messages were heard, or passed over.
    heard: Vec<u32>,
    /// Pairs, and numbers that have not come to them.
    missing: BTreeSet<(usize, u32)>,
    uncounted: u64,
}

/// Where the pairs of a room are.
#[derive(Debug)]
struct Room {
    begin: usize,
    readers: usize,
}

/// An author and a reader, who are in the same room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) room: usize,
    /// Which of those who talk there.
    pub(super) author: usize,
    /// Which of those who are there.
    pub(super) reader: usize,
}

impl Streams {
    /// Rooms of so many authors and readers.
    pub(super) fn new(sizes: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let (mut rooms, mut begin) = (Vec::new(), 0);
        for (authors, readers) in sizes {
            rooms.push(Room { begin, readers });
            begin += authors * readers;
        }
        Self { rooms, heard: vec![0; begin], ..Self::default() }
    }

    fn place(&self, pair: Pair) -> usize {
        let Room { begin, readers } = self.rooms[pair.room];
        begin + pair.author * readers + pair.reader
    }

    /// A reader hears an author's message of this number.
    #[inline]
    pub(super) fn step(&mut self, pair: Pair, count: u32) -> Step {
        let place = self.place(pair);
        let heard = &mut self.heard[place];
        if heard.checked_add(1) == Some(count) {
            *heard = count;
            return Step::Next;
        }
        self.misstep(place, count)
    }

    #[cold]
    fn misstep(&mut self, place: usize, count: u32) -> Step {
        let heard = self.heard[place];
        if count <= heard {
            return if self.missing.remove(&(place, count)) { Step::Late } else { Step::Again };
        }
        let (first, last) = (heard + 1, count - 1);
        let room = u32::try_from(MISSING_MAX - self.missing.len()).unwrap_or(u32::MAX);
        let remembered = last.min(heard.saturating_add(room));
        self.missing.extend((first..=remembered).map(|count| (place, count)));
        self.uncounted += u64::from(last - remembered);
        self.heard[place] = count;
        Step::Beyond { first: first.into(), last: last.into() }
    }

    /// How many have not come though later ones have.
    pub(super) fn holes(&self) -> u64 {
        self.missing.len() as u64 + self.uncounted
    }

    /// How far a reader is behind an author who has said so many.
    pub(super) fn behind(&self, pair: Pair, said: u32) -> u32 {
        said.saturating_sub(self.heard[self.place(pair)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn pair(room: usize, author: usize, reader: usize) -> Pair {
        Pair { room, author, reader }
    }

    #[test]
    fn each_reader_has_each_author_of_each_room_by_itself() {
        let mut streams = Streams::new([(2, 3), (0, 2), (1, 2)]);
        for room in [0, 2] {
            let authors = if room == 0 { 2 } else { 1 };
            let readers = if room == 0 { 3 } else { 2 };
            for (author, reader) in
                (0..authors).flat_map(|author| (0..readers).map(move |reader| (author, reader)))
            {
                for count in 1..=2 {
                    assert_eq!(streams.step(pair(room, author, reader), count), Step::Next);
                }
            }
        }
        assert_eq!(streams.step(pair(0, 1, 2), 3), Step::Next);
        assert_eq!((streams.behind(pair(0, 1, 2), 3), streams.behind(pair(2, 0, 0), 3)), (0, 1));
        assert_eq!(streams.holes(), 0);
    }

    #[test]
    fn lost_doubled_and_late_ones_are_told_apart() {
        let mut streams = Streams::new([(1, 2)]);
        let mut step = |reader, count| streams.step(pair(0, 0, reader), count);
        assert_eq!(step(1, 3), Step::Beyond { first: 1, last: 2 });
        assert_eq!(step(0, 1), Step::Next, "the other one has nothing to do with it");
        assert_eq!(step(1, 2), Step::Late);
        assert_eq!(step(1, 2), Step::Again);
        assert_eq!(step(1, 3), Step::Again);
        assert_eq!(step(1, 0), Step::Again, "there is none");
        assert_eq!((streams.holes(), streams.behind(pair(0, 0, 1), 4)), (1, 1));
    }

    #[test]
    fn holes_without_end_take_no_more_memory_than_their_bound() {
        let mut streams = Streams::new([(1, 1), (1, 1)]);
        streams.step(pair(0, 0, 0), u32::MAX);
        streams.step(pair(1, 0, 0), 5);
        assert_eq!(streams.missing.len(), MISSING_MAX);
        assert_eq!(streams.holes(), u64::from(u32::MAX) - 1 + 4);
        assert_eq!(streams.step(pair(0, 0, 0), 1), Step::Late);
        assert_eq!(streams.step(pair(0, 0, 0), u32::MAX), Step::Again);
    }
}
