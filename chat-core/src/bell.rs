//! How a connection is told that there is something for it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;

/// Wakes one task, however often it is rung before that task looks.
#[derive(Debug, Default)]
pub(crate) struct Doorbell {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl Doorbell {
    /// Rings.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether it was rung since the last look.
    pub(crate) fn take(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }

    /// Waits for a ring. One task at a time.
    ///
    /// # Cancel safety
    /// A ring that no look has taken is kept.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.take() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        // A ring between the look and the registration would wake nobody.
        if self.take() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The number of a lane within its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneNo(pub(crate) u32);

/// What the task of one session waits for: its bell, and which of its rooms have something new.
#[derive(Debug, Default)]
pub(crate) struct Attention {
    bell: Doorbell,
    /// Whether somebody has left a letter: so nobody looks for one where there is none.
    letters: AtomicBool,
    stirred: Mutex<Stirred>,
}

/// Lanes in a line. Most sessions are in one room: its lane needs no memory elsewhere.
#[derive(Debug, Default)]
struct Stirred {
    first: Option<LaneNo>,
    others: VecDeque<LaneNo>,
}

impl Attention {
    /// What the session's task waits on.
    pub(crate) const fn bell(&self) -> &Doorbell {
        &self.bell
    }

    /// Says that there is a letter.
    pub(crate) fn announce_letter(&self) {
        self.letters.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Whether letters were announced since the last look.
    pub(crate) fn take_letters(&self) -> bool {
        self.letters.load(Ordering::Relaxed) && self.letters.swap(false, Ordering::AcqRel)
    }

    /// Takes the next lane whose room has something new, and whether there is another: each is listed once until it
    /// looks.
    pub(crate) fn take_stirred(&self) -> Option<(LaneNo, bool)> {
        let mut stirred = self.stirred();
        let lane = stirred.first.take().or_else(|| stirred.others.pop_front())?;
        Some((lane, !stirred.others.is_empty()))
    }

    fn stirred(&self) -> MutexGuard<'_, Stirred> {
        // A list of numbers cannot be left half done by a panic.
        self.stirred.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a room holds of a connection in it: says once, until the connection looks, that there is something new.
#[derive(Debug)]
pub(crate) struct Stir {
    attention: Arc<Attention>,
    lane: LaneNo,
    stirred: bool,
}

impl Stir {
    /// For the lane `lane` of the session behind `attention`.
    pub(crate) const fn new(attention: Arc<Attention>, lane: LaneNo) -> Self {
        Self { attention, lane, stirred: false }
    }

    /// Says that there is something new.
    pub(crate) fn stir(&mut self) {
        if !std::mem::replace(&mut self.stirred, true) {
            let mut stirred = self.attention.stirred();
            if stirred.first.is_none() && stirred.others.is_empty() {
                stirred.first = Some(self.lane);
            } else {
                stirred.others.push_back(self.lane);
            }
            drop(stirred);
            self.attention.bell.ring();
        }
    }

    /// The connection looks now: what comes later stirs again.
    pub(crate) const fn settle(&mut self) {
        self.stirred = false;
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_ring_before_the_look_is_kept() {
        let bell = Doorbell::default();
        let cx = Context::from_waker(Waker::noop());
        assert_eq!(bell.poll(&cx), Poll::Pending);
        bell.ring();
        bell.ring();
        assert_eq!(bell.poll(&cx), Poll::Ready(()));
        assert_eq!(bell.poll(&cx), Poll::Pending);
    }

    #[test]
    fn a_lane_is_listed_once_until_it_looks() {
        let attention = Arc::new(Attention::default());
        let [mut three, mut five, mut four] =
            [3, 5, 4].map(|lane| Stir::new(attention.clone(), LaneNo(lane)));
        three.stir();
        three.stir();
        assert_eq!(attention.take_stirred(), Some((LaneNo(3), false)));
        three.stir();
        assert_eq!(attention.take_stirred(), None, "it has not looked yet");
        three.settle();
        for stir in [&mut five, &mut three, &mut four] {
            stir.stir();
        }
        let lanes = std::iter::from_fn(|| attention.take_stirred()).collect::<Vec<_>>();
        assert_eq!(lanes, [(LaneNo(5), true), (LaneNo(3), true), (LaneNo(4), false)]);
    }

    #[test]
    fn a_letter_is_announced_until_somebody_looks() {
        let attention = Attention::default();
        assert!(!attention.take_letters());
        attention.announce_letter();
        assert!(attention.bell().take() && attention.take_letters() && !attention.take_letters());
    }
}
