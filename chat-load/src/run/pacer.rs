//! Messages at a rate, spread evenly.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{task::yield_now, time::sleep_until};

use super::{shared::Shared, user::User};
use crate::measurement::record;

/// Who talks, and in which of their rooms.
pub(super) type Talk = (Rc<User>, usize);

/// Coprime to any number of users that is no multiple of it.
const STEP: usize = 7919;

/// While it is late it sends for so long before others have their turn: at a rate that cannot be made it is always late.
const TURN: Duration = Duration::from_millis(1);

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
    let mut turn = round;
    loop {
        for (talk, (user, room)) in (0..count).zip(&talks) {
            let due = round + period.mul_f64(f64::from(talk) / f64::from(count));
            let mut now = Instant::now();
            if now < due {
                sleep_until(due.into()).await;
                now = Instant::now();
                turn = now;
            } else if now - turn >= TURN {
                yield_now().await;
                now = Instant::now();
                turn = now;
            }
            let late = now - due;
            user.say(*room, &shared);
            let tally = &mut *shared.tally.borrow_mut();
            if tally.is_measured(tally.now()) {
                record(&mut tally.lateness, late);
            }
        }
        round += period;
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, spawn_local};

    use super::*;
    use crate::run::scene::ann;

    #[tokio::test]
    async fn a_rate_that_cannot_be_made_leaves_others_their_turn() {
        let (user, shared) = ann(([127, 0, 0, 1], 1).into());
        let others = async {
            let pacer = spawn_local(pace(vec![(user, 0)], Duration::ZERO, Rc::clone(&shared)));
            for _ in 0..3 {
                yield_now().await;
            }
            pacer.abort();
            assert!(pacer.await.unwrap_err().is_cancelled());
        };
        LocalSet::new().run_until(others).await;
        assert!(shared.tally.borrow().traffic.sent > 0);
    }
}
