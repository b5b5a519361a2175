//! Time as an argument: the state machines never ask a clock.

use std::time::Duration;

use crate::ids::Timestamp;

/// One reading of the clocks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since the engine started: for waits and timers.
    pub mono: Duration,
    /// The wall clock: what stands in events and replies.
    pub wall: Timestamp,
}
