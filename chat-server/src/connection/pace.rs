//! What a connection counts and times: what its peer does too often, its pings, its one timer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::{
    CONTROL_FRAMES_BURST, CONTROL_FRAMES_PER_S, PING_PERIOD, PINGS_MISSED_MAX, REFUSALS_BURST, REFUSALS_PER_S,
};

/// Counts what a peer may do now and then, so many at once and so many a second: a bucket that asks the clock only when
/// it is empty.
#[derive(Debug)]
pub(super) struct Pace<const BURST: u32, const PER_S: u32> {
    left: u32,
    filled_at: Instant,
}

/// A peer's pings and pongs.
pub(super) type ControlPace = Pace<CONTROL_FRAMES_BURST, CONTROL_FRAMES_PER_S>;

/// A peer's commands that were refused as too many.
pub(super) type RefusalPace = Pace<REFUSALS_BURST, REFUSALS_PER_S>;

impl<const BURST: u32, const PER_S: u32> Pace<BURST, PER_S> {
    pub(super) const fn new(now: Instant) -> Self {
        Self { left: BURST, filled_at: now }
    }

    /// Counts one; false where it is one too many.
    pub(super) fn allows(&mut self) -> bool {
        if self.left == 0 {
            let now = Instant::now();
            let earned = now.duration_since(self.filled_at).as_secs().saturating_mul(PER_S.into());
            self.left = u32::try_from(earned).unwrap_or(u32::MAX).min(BURST);
            self.filled_at = now;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

/// Our pings. Whether a peer is there shows in any byte that moves, so pongs are not counted.
#[derive(Debug)]
pub(super) struct Pings {
    next_at: Instant,
    moved_bytes: u64,
    /// Pings since a byte last moved.
    unanswered: u8,
}

/// What to do when a ping is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PingTurn {
    Send,
    GiveUp,
}

impl Pings {
    pub(super) fn new(now: Instant) -> Self {
        Self { next_at: now + PING_PERIOD, moved_bytes: 0, unanswered: 0 }
    }

    pub(super) const fn next_at(&self) -> Instant {
        self.next_at
    }

    /// A ping is due; `moved_bytes` is all that ever moved, either way.
    pub(super) fn turn(&mut self, now: Instant, moved_bytes: u64) -> PingTurn {
        if self.moved_bytes != moved_bytes {
            self.moved_bytes = moved_bytes;
            self.unanswered = 0;
        }
        if self.unanswered == PINGS_MISSED_MAX {
            return PingTurn::GiveUp;
        }
        self.unanswered += 1;
        self.next_at = now + PING_PERIOD;
        PingTurn::Send
    }

    /// Nothing is read from the peer, so its pongs could not be seen.
    pub(super) const fn excuse(&mut self) {
        self.unanswered = 0;
    }
}

/// The one timer of a connection. It is moved only when something is due earlier, or when it went off: setting it
/// on each write would cost more than the write's own bookkeeping.
#[derive(Debug)]
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(super) fn new(at: Instant) -> Self {
        Self(Box::pin(sleep_until(at)))
    }

    pub(super) fn set(&mut self, at: Instant) {
        self.0.as_mut().reset(at);
    }

    /// Whether it was moved: then it must be polled again.
    pub(super) fn no_later_than(&mut self, at: Instant) -> bool {
        let is_earlier = at < self.0.deadline();
        if is_earlier {
            self.set(at);
        }
        is_earlier
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn control_frames_pass_at_their_pace_and_no_faster() {
        let mut pace = ControlPace::new(Instant::now());
        assert_eq!((0..1000).find(|_| !pace.allows()), Some(CONTROL_FRAMES_BURST));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!((0..1000).find(|_| !pace.allows()), Some(2 * CONTROL_FRAMES_PER_S));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_given_up_after_two_pings_without_a_byte() {
        let now = Instant::now();
        let mut pings = Pings::new(now);
        let turns = [7, 7, 8, 8, 8].map(|moved_bytes| pings.turn(now, moved_bytes));
        assert_eq!(turns, [PingTurn::Send, PingTurn::Send, PingTurn::Send, PingTurn::Send, PingTurn::GiveUp]);
    }
}
