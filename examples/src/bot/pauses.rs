//! How long to wait before coming back.

use std::time::Duration;

/// A connection that lasted this long was a good one: the next loss is a first one again.
pub(super) const STEADY_AFTER: Duration = Duration::from_secs(10);

/// Bounds of the waits before a bot comes back. The waits themselves are drawn between zero and a bound ("full
/// jitter"): a thousand clients that all lose their connection at one moment do not all come back at another.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    /// After the first loss; it doubles with each one that follows. 1 s by default.
    pub first: Duration,
    /// It does not grow beyond this. 30 s by default.
    pub longest: Duration,
    /// After the server has said that it restarts. 5 s by default.
    pub restart: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(30));
        Self { first, longest, restart: Duration::from_secs(5) }
    }
}

impl Pauses {
    pub(super) fn after_loss(&self, failures: u32) -> Duration {
        let bound = self.first.saturating_mul(2_u32.saturating_pow(failures));
        bound.min(self.longest).mul_f64(fastrand::f64())
    }

    pub(super) fn after_restart(&self) -> Duration {
        self.restart.mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_are_never_beyond_it() {
        let pauses = Pauses::default();
        for (failures, bound) in [(0, 1), (1, 2), (4, 16), (5, 30), (1000, 30)] {
            let waits = || (0..1000).map(|_| pauses.after_loss(failures));
            assert!(waits().all(|wait| wait <= Duration::from_secs(bound)), "{failures}");
            assert!(waits().any(|wait| wait > Duration::from_secs(bound) / 2), "{failures}");
        }
    }
}
