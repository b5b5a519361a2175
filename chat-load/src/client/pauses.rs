//! How long to wait before coming back: the figures of `docs/reconnect.md`.

use std::time::Duration;

/// A connection that lasted this long was a good one: the next loss is a first one again.
pub const STEADY_AFTER: Duration = Duration::from_secs(10);

/// After the first loss; it doubles with each one that follows.
const FIRST: Duration = Duration::from_secs(1);

/// It does not grow beyond this.
const LONGEST: Duration = Duration::from_secs(30);

/// After the server has said that it restarts.
const RESTART: Duration = Duration::from_secs(5);

/// The close code of a server that restarts.
const RESTARTS: u16 = 1001;

/// Counts losses, and says how long to wait after each: a random time below a bound ("full jitter"). A thousand clients
/// that lose their connections at one moment do not come back at one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pauses {
    failures: u32,
}

impl Pauses {
    /// The wait after a connection that ended with `code` (`None`: without a word, or there was none) after it had
    /// lasted so long.
    pub fn after(&mut self, code: Option<u16>, lasted: Duration) -> Duration {
        if lasted >= STEADY_AFTER {
            self.failures = 0;
        }
        let bound = if code == Some(RESTARTS) { RESTART } else { self.bound() };
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(fastrand::f64())
    }

    fn bound(self) -> Duration {
        FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(failures: u32, code: Option<u16>, lasted: Duration) -> Vec<Duration> {
        (0..1000).map(|_| Pauses { failures }.after(code, lasted)).collect()
    }

    fn assert_below(waits: &[Duration], bound_s: u64) {
        let bound = Duration::from_secs(bound_s);
        assert!(waits.iter().all(|wait| *wait <= bound), "below {bound_s} s");
        assert!(waits.iter().any(|wait| *wait > bound / 2), "spread over {bound_s} s");
    }

    #[test]
    fn waits_are_those_of_the_page() {
        for (failures, bound_s) in [(0, 1), (1, 2), (4, 16), (5, 30), (1000, 30), (u32::MAX, 30)] {
            assert_below(&waits(failures, None, Duration::ZERO), bound_s);
        }
        assert_below(&waits(3, Some(1001), Duration::ZERO), 5);
        assert_below(&waits(20, Some(1011), STEADY_AFTER), 1);
    }
}
