//! How a connection is told that there is something for it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;

use crate::session::Letter;

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
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
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
pub(crate) struct LaneNo(pub u32);

/// What waits for one session: answers of the store, and rooms that have something new.
///
/// The session's task empties it; the committer, the jobs and the rooms fill it. Letters are bounded by what the
/// session has asked for, the list of rooms by its lanes.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    bell: Doorbell,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    letters: VecDeque<Letter>,
    stirred: Vec<LaneNo>,
}

impl Mailbox {
    /// What the session's task waits on.
    pub(crate) const fn bell(&self) -> &Doorbell {
        &self.bell
    }

    /// Brings an answer.
    pub(crate) fn post(&self, letter: Letter) {
        self.lock().letters.push_back(letter);
        self.bell.ring();
    }

    /// Takes the oldest answer.
    pub(crate) fn take_letter(&self) -> Option<Letter> {
        self.lock().letters.pop_front()
    }

    /// Takes the lanes whose rooms have something new.
    pub(crate) fn take_stirred(&self) -> Vec<LaneNo> {
        std::mem::take(&mut self.lock().stirred)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inside> {
        // Nothing in here can be left half done by a panic.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a room holds of a connection in it: says once, until the connection looks, that there is something new.
#[derive(Debug)]
pub(crate) struct Stir {
    mailbox: Arc<Mailbox>,
    lane: LaneNo,
    stirred: AtomicBool,
}

impl Stir {
    /// For the lane `lane` of the session with this mailbox.
    pub(crate) const fn new(mailbox: Arc<Mailbox>, lane: LaneNo) -> Self {
        Self { mailbox, lane, stirred: AtomicBool::new(false) }
    }

    /// Says that there is something new.
    pub(crate) fn stir(&self) {
        if !self.stirred.swap(true, Ordering::AcqRel) {
            self.mailbox.lock().stirred.push(self.lane);
            self.mailbox.bell.ring();
        }
    }

    /// The connection looks now: what comes later stirs again.
    pub(crate) fn settle(&self) {
        self.stirred.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_ring_before_the_look_is_kept() {
        let bell = Doorbell::default();
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(bell.poll(&mut cx), Poll::Pending);
        bell.ring();
        bell.ring();
        assert_eq!(bell.poll(&mut cx), Poll::Ready(()));
        assert_eq!(bell.poll(&mut cx), Poll::Pending);
    }

    #[test]
    fn a_lane_is_listed_once_until_it_looks() {
        let mailbox = Arc::new(Mailbox::default());
        let stir = Stir::new(mailbox.clone(), LaneNo(3));
        stir.stir();
        stir.stir();
        assert_eq!(mailbox.take_stirred(), [LaneNo(3)]);
        stir.stir();
        assert!(mailbox.take_stirred().is_empty(), "it has not looked yet");
        stir.settle();
        stir.stir();
        assert_eq!(mailbox.take_stirred(), [LaneNo(3)]);
    }
}
