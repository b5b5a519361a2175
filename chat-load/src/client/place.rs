//! Where a connection is in the stream of a room, and what is wrong with that stream.

use std::collections::BTreeSet;

/// Holes are remembered up to so many numbers, so that one that comes later is told from one that comes twice. Beyond
/// that they are only counted, and count as lost.
pub const MISSING_MAX: usize = 10_000;

/// What a number is to a stream that must be dense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The next one.
    Next,
    /// Beyond the next one: those from `first` to `last` are not there, or not yet.
    Beyond {
        /// The first that is missing.
        first: u64,
        /// The last that is missing.
        last: u64,
    },
    /// One that was missing: it comes too late.
    Late,
    /// It was there already.
    Again,
}

/// A position, and the numbers below it that have not come.
#[derive(Debug, Default)]
pub struct Place {
    position: u64,
    missing: BTreeSet<u64>,
    uncounted: u64,
}

impl Place {
    /// Begins behind `position`: nothing up to there is expected. What was lost before stays lost.
    pub fn begin_anew(&mut self, position: u64) {
        let uncounted = self.lost();
        *self = Self { position, missing: BTreeSet::new(), uncounted };
    }

    /// The highest number that came.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// How many numbers up to the position have not come.
    pub fn lost(&self) -> u64 {
        self.uncounted.saturating_add(self.missing.len() as u64)
    }

    /// Takes the next number of the stream.
    #[inline]
    pub fn step(&mut self, seq: u64) -> Step {
        if self.position.checked_add(1) == Some(seq) {
            self.position = seq;
            return Step::Next;
        }
        self.misstep(seq)
    }

    #[cold]
    fn misstep(&mut self, seq: u64) -> Step {
        if seq <= self.position {
            return if self.missing.remove(&seq) { Step::Late } else { Step::Again };
        }
        let (first, last) = (self.position + 1, seq - 1);
        let room = (MISSING_MAX - self.missing.len()) as u64;
        let remembered = last.min(self.position + room);
        self.missing.extend(first..=remembered);
        self.uncounted = self.uncounted.saturating_add(last - remembered);
        self.position = seq;
        Step::Beyond { first, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(place: &mut Place, seqs: &[u64]) -> Vec<Step> {
        seqs.iter().map(|seq| place.step(*seq)).collect()
    }

    #[test]
    fn lost_doubled_and_late_numbers_are_told_apart() {
        let mut place = Place::default();
        place.begin_anew(7);
        assert_eq!(steps(&mut place, &[8, 9]), [Step::Next, Step::Next]);
        assert_eq!(steps(&mut place, &[12, 11]), [Step::Beyond { first: 10, last: 11 }, Step::Late]);
        assert_eq!(place.lost(), 1, "10 is missing still");
        assert_eq!(steps(&mut place, &[11, 12, 3, 13]), [Step::Again, Step::Again, Step::Again, Step::Next]);
        assert_eq!((place.lost(), place.position()), (1, 13));
    }

    #[test]
    fn a_hole_without_end_takes_no_more_memory_than_its_bound() {
        let mut place = Place::default();
        place.step(u64::MAX);
        assert_eq!(place.missing.len(), MISSING_MAX);
        assert_eq!(place.lost(), u64::MAX - 1);
        assert_eq!(place.step(MISSING_MAX as u64), Step::Late);
        place.begin_anew(0);
        place.step(u64::MAX);
        assert_eq!(place.lost(), u64::MAX, "it does not go round");
    }
}
