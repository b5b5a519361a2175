//! Messages at a rate, spread evenly.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

use super::{shared::Shared, user::User};
use crate::measurement::record;

/// Who talks, and in which of their rooms.
pub(super) type Talk = (Rc<User>, usize);

/// Coprime to any number of users that is no multiple of it.
const STEP: usize = 7919;

/// Puts those apart who stand side by side: users of one room do not talk one right after the other.
pub(super) fn scatter(talks: Vec<Talk>) -> Vec<Talk> {
    let count = talks.len();
    let mut numbered: Vec<_> = talks.into_iter().enumerate().collect();
    numbered.sort_by_key(|(at, _)| (at * STEP) % count);
    numbered.into_iter().map(|(_, talk)| talk).collect()
}

/// Has each one talk once a period, for ever. Where the server is slow it goes on all the same: users do not wait for
/// each other's messages either.
pub(super) async fn pace(talks: Vec<Talk>, period: Duration, shared: Rc<Shared>) {
    let Some(count) = u32::try_from(talks.len()).ok().filter(|count| *count > 0) else { return };
    let mut round = Instant::now();
    loop {
        for (talk, (user, room)) in (0..count).zip(&talks) {
            let due = round + period.mul_f64(f64::from(talk) / f64::from(count));
            let mut late = due.elapsed();
            if late.is_zero() {
                sleep_until(due.into()).await;
                late = due.elapsed();
            }
            user.say(*room, &shared);
            let tally = &mut *shared.tally.borrow_mut();
            if tally.is_measured(tally.now()) {
                record(&mut tally.lateness, late);
            }
        }
        round += period;
    }
}
