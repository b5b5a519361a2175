//! All connections drop at once, and come back.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{shared::Shared, user::User};

/// Makes so many storms, one each `gap`. In each, every user drops the connection and comes back after a random time up
/// to `within`: full jitter, as after a server that restarts. The next one waits until all are back.
///
/// Returns how long the longest took until the last user was back.
pub(super) async fn storms(
    users: Vec<Rc<User>>,
    storms: u32,
    gap: Duration,
    within: Duration,
    shared: Rc<Shared>,
) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..storms {
        sleep(gap).await;
        let begun = Instant::now();
        let wanted = shared.arrivals.get() + users.len() as u64;
        for user in &users {
            user.drop_for(within.mul_f64(fastrand::f64()));
        }
        shared.tally.borrow_mut().dropped += users.len() as u64;
        while shared.arrivals.get() < wanted {
            shared.arrived.notified().await;
        }
        longest = longest.max(begun.elapsed());
    }
    longest
}
