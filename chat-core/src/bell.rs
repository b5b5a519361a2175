//! How a connection is told that there is something for it.

use std::{
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
    stirred: Mutex<Vec<LaneNo>>,
}

impl Attention {
    /// What the session's task waits on.
    pub(crate) const fn bell(&self) -> &Doorbell {
        &self.bell
    }

    /// Takes the lanes whose rooms have something new, and keeps the memory for the next: each is listed once until it
    /// looks.
    pub(crate) fn take_stirred(&self, lanes: &mut Vec<LaneNo>) {
        lanes.append(&mut self.stirred());
    }

    fn stirred(&self) -> MutexGuard<'_, Vec<LaneNo>> {
        // A list of numbers cannot be left half done by a panic.
        self.stirred.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a room holds of a connection in it: says once, until the connection looks, that there is something new.
#[derive(Debug)]
pub(crate) struct Stir {
    attention: Arc<Attention>,
    lane: LaneNo,
    stirred: AtomicBool,
}

impl Stir {
    /// For the lane `lane` of the session behind `attention`.
    pub(crate) const fn new(attention: Arc<Attention>, lane: LaneNo) -> Self {
        Self { attention, lane, stirred: AtomicBool::new(false) }
    }

    /// Says that there is something new.
    pub(crate) fn stir(&self) {
        if !self.stirred.swap(true, Ordering::AcqRel) {
            self.attention.stirred().push(self.lane);
            self.attention.bell.ring();
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
        let stir = Stir::new(attention.clone(), LaneNo(3));
        let stirred = || {
            let mut lanes = Vec::new();
            attention.take_stirred(&mut lanes);
            lanes
        };
        stir.stir();
        stir.stir();
        assert_eq!(stirred(), [LaneNo(3)]);
        stir.stir();
        assert!(stirred().is_empty(), "it has not looked yet");
        stir.settle();
        stir.stir();
        assert_eq!(stirred(), [LaneNo(3)]);
    }
}
