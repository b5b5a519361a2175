//! How long to wait before coming back: the figures of `docs/reconnect.md`.

use std::time::Duration;

/// A connection that lasted this long was a good one: the next loss is a first one again.
pub const STEADY_AFTER: Duration = Duration::from_secs(10);

/// The close code of a server that restarts.
const RESTARTS: u16 = 1001;

/// The close code of a server that was flooded.
const FLOODED: u16 = 4029;

/// Bounds of the waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// After the first loss; it doubles with each one that follows. 1 s by default.
    pub first: Duration,
    /// It does not grow beyond this. 30 s by default.
    pub longest: Duration,
    /// After the server has said that it restarts. 5 s by default.
    pub restart: Duration,
    /// The least wait of one that was closed for flooding. 5 s by default.
    pub flooding: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { first: seconds(1), longest: seconds(30), restart: seconds(5), flooding: seconds(5) }
    }
}

/// Counts losses, and says how long to wait after each: a random time below a bound ("full jitter"). A thousand clients
/// that lose their connections at one moment do not come back at one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pauses {
    bounds: Bounds,
    failures: u32,
}

impl Pauses {
    /// Waits within these bounds.
    pub const fn within(bounds: Bounds) -> Self {
        Self { bounds, failures: 0 }
    }

    /// The wait after a connection that ended with `code` (`None`: without a word, or there was none) after it had
    /// lasted so long.
    pub fn after(&mut self, code: Option<u16>, lasted: Duration) -> Duration {
        if lasted >= STEADY_AFTER {
            self.failures = 0;
        }
        if code == Some(RESTARTS) {
            return self.bounds.restart.mul_f64(fastrand::f64());
        }
        let bound = self.bounds.first.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        let least = if code == Some(FLOODED) { self.bounds.flooding } else { Duration::ZERO };
        least + bound.min(self.bounds.longest).mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(failures: u32, code: Option<u16>, lasted: Duration) -> Vec<Duration> {
        let pauses = Pauses { failures, ..Pauses::default() };
        (0..1000).map(|_| pauses.clone().after(code, lasted)).collect()
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
        let flooding = waits(1, Some(4029), Duration::ZERO);
        assert!(flooding.iter().all(|wait| *wait >= Duration::from_secs(5)));
        assert_below(&flooding, 7);
    }

    #[test]
    fn a_restart_is_no_failure_of_the_network() {
        let mut pauses = Pauses::default();
        for _ in 0..100 {
            pauses.after(Some(1001), Duration::ZERO);
        }
        assert!(pauses.after(None, Duration::ZERO) <= Duration::from_secs(1));
    }
}
