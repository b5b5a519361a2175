//! How fast a client that heals says what waits.

use std::time::Duration;

/// So many sends of a connection may be without an answer at once. A server that limits rates closes a connection that it
/// has to refuse 256 times at once; and where the way there and back takes 100 ms these are 640 messages a second.
pub(super) const UNANSWERED_MAX: usize = 64;

/// What was too fast goes on with steps of at least, and at most, this length.
const STEP_MIN: Duration = Duration::from_millis(1);
const STEP_MAX: Duration = Duration::from_secs(30);

/// Whether something may be sent now. After a refusal nothing is for as long as it says; after one for the rate what waits
/// then goes out one by one, a step of that length for each, until nothing waits.
#[derive(Debug, Default)]
pub(super) struct Pace {
    is_held: bool,
    /// Since something was refused for the rate.
    step: Option<Duration>,
    /// Whether something was since the last step.
    is_too_fast: bool,
}

impl Pace {
    pub(super) const fn is_held(&self) -> bool {
        self.is_held
    }

    /// Nothing is sent until the wait is over.
    pub(super) const fn hold(&mut self) {
        self.is_held = true;
    }

    /// The same, after a refusal for the rate.
    pub(super) fn slow_down(&mut self, wait: Duration) {
        self.hold();
        self.is_too_fast = true;
        self.step = Some(self.step.unwrap_or(STEP_MIN).max(wait.min(STEP_MAX)));
    }

    /// The wait is over. Whether one message may be sent, or as many as there are.
    pub(super) const fn release(&mut self) -> Release {
        self.is_held = false;
        if self.step.is_some() { Release::One } else { Release::All }
    }

    /// One was sent, and others wait: after this time the next may be. A server says how long it is until there is room
    /// for one; where part of that time had passed already the step is too short, and has to grow.
    pub(super) fn step(&mut self) -> Duration {
        let step = self.step.unwrap_or(STEP_MIN);
        let step = if std::mem::take(&mut self.is_too_fast) { step + step / 4 } else { step }.min(STEP_MAX);
        self.step = Some(step);
        self.hold();
        step
    }
}

/// How much may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Release {
    One,
    All,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_as_long_as_the_longest_wait_and_grow_only_where_they_are_too_short() {
        let mut pace = Pace::default();
        assert_eq!(pace.release(), Release::All);
        let millis = Duration::from_millis;
        pace.slow_down(millis(40));
        pace.slow_down(millis(10));
        assert_eq!((pace.is_held(), pace.release(), pace.is_held()), (true, Release::One, false));
        assert_eq!((pace.step(), pace.step()), (millis(50), millis(50)), "once for both refusals");
        pace.slow_down(Duration::MAX);
        assert_eq!(pace.step(), STEP_MAX);
    }
}
