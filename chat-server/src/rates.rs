//! How much one user may ask for, over all connections and requests together.

use std::{
    fmt,
    num::NonZeroU32,
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use axum::http::Method;
use chat_core::{
    ids::UserId,
    protocol::{BadRequest, Command, CommandError, ErrorCode, Request, RoomCommand},
};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use crate::limits::{RATE_FACTOR, RATE_MAX, RATES_SWEEP_EVERY};

/// How many sends a second one user may make, and how many at once after a rest: `20:100` as text.
///
/// Pages of history and joins that replay count apart, each at the same rate; of the joins ten times as many may come at
/// once, as they do when a client comes back. What costs less (other joins, read marks, typing, pings) may come ten times
/// as often.
///
/// ```
/// let limit: chat_server::RateLimit = "20:100".parse()?;
/// assert_eq!((limit.per_second(), limit.burst()), (20, 100));
/// # Ok::<(), chat_server::InvalidRateLimit>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

/// Text that is no rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rate limit is N:BURST, the sends a second and those at once, both from 1 to {RATE_MAX}")]
pub struct InvalidRateLimit;

impl RateLimit {
    /// `per_second` sends a second, and `burst` of them at once.
    ///
    /// # Errors
    /// [`InvalidRateLimit`] unless both are from 1 to 1,000,000.
    pub fn new(per_second: u32, burst: u32) -> Result<Self, InvalidRateLimit> {
        let bounded = |number| NonZeroU32::new(number).filter(|number| number.get() <= RATE_MAX);
        match (bounded(per_second), bounded(burst)) {
            (Some(per_second), Some(burst)) => Ok(Self { per_second, burst }),
            _ => Err(InvalidRateLimit),
        }
    }

    /// Sends a second.
    pub const fn per_second(self) -> u32 {
        self.per_second.get()
    }

    /// Sends at once.
    pub const fn burst(self) -> u32 {
        self.burst.get()
    }

    const fn quota(self) -> Quota {
        Quota::per_second(self.per_second).allow_burst(self.burst)
    }

    const fn replay_quota(self) -> Quota {
        Quota::per_second(self.per_second).allow_burst(self.burst.saturating_mul(RATE_FACTOR))
    }

    const fn light_quota(self) -> Quota {
        Quota::per_second(self.per_second.saturating_mul(RATE_FACTOR))
            .allow_burst(self.burst.saturating_mul(RATE_FACTOR))
    }
}

impl FromStr for RateLimit {
    type Err = InvalidRateLimit;

    fn from_str(text: &str) -> Result<Self, InvalidRateLimit> {
        let number = |text: &str| text.parse().map_err(|_other| InvalidRateLimit);
        let (per_second, burst) = text.split_once(':').ok_or(InvalidRateLimit)?;
        Self::new(number(per_second)?, number(burst)?)
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.per_second, self.burst)
    }
}

/// What a command or a request costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// A transaction.
    Write,
    /// A page.
    Read,
    /// As many pages as a room has: a join that goes on after a position.
    Replay,
    /// Little.
    Light,
}

impl Effort {
    /// What a command costs; one that could not be read costs its error.
    pub(crate) const fn of_command(request: &Result<Request, BadRequest>) -> Self {
        let Ok(Request { command: Command::InRoom(_, command), .. }) = request else { return Self::Light };
        match command {
            RoomCommand::Send(_)
            | RoomCommand::Edit { .. }
            | RoomCommand::Delete { .. }
            | RoomCommand::React { .. } => Self::Write,
            RoomCommand::History(_) => Self::Read,
            RoomCommand::Join { after: Some(_), .. } => Self::Replay,
            _ => Self::Light,
        }
    }

    /// What a request of the API costs: what changes something is a transaction, everything else a page.
    pub(crate) fn of_method(method: &Method) -> Self {
        if method.is_safe() { Self::Read } else { Self::Write }
    }
}

/// The rates of all users.
pub(crate) struct Rates {
    writes: DefaultKeyedRateLimiter<UserId>,
    reads: DefaultKeyedRateLimiter<UserId>,
    replays: DefaultKeyedRateLimiter<UserId>,
    light: DefaultKeyedRateLimiter<UserId>,
    clock: DefaultClock,
    /// Arrivals so far, to sweep now and then.
    arrivals: AtomicUsize,
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").finish_non_exhaustive()
    }
}

impl Rates {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self {
            writes: RateLimiter::keyed(limit.quota()),
            reads: RateLimiter::keyed(limit.quota()),
            replays: RateLimiter::keyed(limit.replay_quota()),
            light: RateLimiter::keyed(limit.light_quota()),
            clock: DefaultClock::default(),
            arrivals: AtomicUsize::new(0),
        }
    }

    /// Somebody comes. Now and then those are forgotten who have rested so long that nothing is held against them.
    pub(crate) fn arrive(&self) {
        if self.arrivals.fetch_add(1, Ordering::Relaxed) % RATES_SWEEP_EVERY == RATES_SWEEP_EVERY - 1 {
            for limiter in [&self.writes, &self.reads, &self.replays, &self.light] {
                limiter.retain_recent();
                limiter.shrink_to_fit();
            }
        }
    }

    /// Counts one thing that a user asks for.
    ///
    /// # Errors
    /// `rate_limited`, with the time after which it would pass; then it is not counted.
    pub(crate) fn check(&self, user: &UserId, effort: Effort) -> Result<(), CommandError> {
        let limiter = match effort {
            Effort::Write => &self.writes,
            Effort::Read => &self.reads,
            Effort::Replay => &self.replays,
            Effort::Light => &self.light,
        };
        limiter.check_key(user).map_err(|refusal| limited(refusal.wait_time_from(self.clock.now())))
    }
}

fn limited(wait: Duration) -> CommandError {
    let wait_ms = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    CommandError::new(ErrorCode::RateLimited, "too often; wait a little").retry_after_ms(wait_ms.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn a_rate_limit_is_two_numbers() {
        assert_eq!("1:1000000".parse(), RateLimit::new(1, 1_000_000));
        assert_eq!("20:100".parse::<RateLimit>().unwrap().to_string(), "20:100");
        for bad in ["", "20", "20:", ":100", "0:1", "1:0", "-1:1", "1:1000001", "1:2:3", " 1:1", "1.5:2"] {
            assert_eq!(bad.parse::<RateLimit>(), Err(InvalidRateLimit), "{bad}");
        }
    }

    #[test]
    fn each_user_and_each_kind_of_effort_has_a_bucket_of_its_own() {
        let rates = Rates::new(RateLimit::new(1, 3).unwrap());
        let passed = |id, effort| (0..100).take_while(|_| rates.check(&user(id), effort).is_ok()).count();
        assert_eq!(passed("ann", Effort::Write), 3);
        assert_eq!(passed("bob", Effort::Write), 3);
        assert_eq!(passed("ann", Effort::Read), 3);
        assert_eq!(passed("ann", Effort::Replay), 30);
        assert!((30..40).contains(&passed("ann", Effort::Light)));
        let refusal = rates.check(&user("ann"), Effort::Write).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::RateLimited);
        assert!((1..=1000).contains(&refusal.retry_after_ms.unwrap()), "{refusal:?}");
    }

    #[test]
    fn who_rests_is_forgotten_and_who_does_not_is_remembered() {
        // A bucket of 1 that fills within a microsecond, and one that takes long.
        let fast = Rates::new(RateLimit::new(1_000_000, 1).unwrap());
        let slow = Rates::new(RateLimit::new(1, 1).unwrap());
        for n in 0..RATES_SWEEP_EVERY {
            for rates in [&fast, &slow] {
                rates.check(&user(&format!("u{n}")), Effort::Write).unwrap();
                rates.arrive();
            }
        }
        assert!(fast.writes.len() < RATES_SWEEP_EVERY / 2, "{}", fast.writes.len());
        assert_eq!(slow.writes.len(), RATES_SWEEP_EVERY);
    }
}
