//! The server's look at itself: what it can bear, and whether that is too much now.

use std::{pin::pin, sync::atomic::Ordering};

use chat_core::Strain;
use metrics::{describe_gauge, gauge};
use tokio::time::{Instant, timeout_at};

use crate::{
    Server,
    capacity::{Business, Capacity},
    limits::{LOOK_PERIOD, LOOKS_PER_RECKONING},
    overload::{Governor, Signs},
};

/// What a server does where it has more to do than it can.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnderOverload {
    /// It leaves off in the order of [`Strain`].
    #[default]
    LeaveOff,
    /// Nothing: everybody waits.
    Endure,
}

/// One looks at a server at a time. Where the looking ends, by a drain, a panic, or as nobody polls it, nothing is left
/// off any more: nobody would take that back.
struct Turn<'a>(&'a Server);

impl<'a> Turn<'a> {
    /// `None` where another one looks.
    fn take(server: &'a Server) -> Option<Self> {
        (!server.watched().swap(true, Ordering::AcqRel)).then_some(Self(server))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.0.under_overload() == UnderOverload::LeaveOff {
            self.0.engine().set_strain(Strain::None);
            show(Strain::None);
        }
        self.0.watched().store(false, Ordering::Release);
    }
}

/// Looks again and again until a drain begins. Then nothing is refused any more that was let in.
pub(crate) async fn keep(server: &Server) {
    let Some(_turn) = Turn::take(server) else { return };
    describe_gauge!("chat_overload_level", "What the server leaves off: 0 nothing, to 4 new sends.");
    let mut drain = pin!(server.lifecycle().drain_begins());
    let (began, engine) = (Instant::now(), server.engine());
    let connections_max = server.admission().connections_max;
    let gathering = engine.limits().gathering;
    let mut capacity = Capacity::begin(began.elapsed(), engine.tally(), connections_max, gathering);
    let mut business = Business::begin(began.elapsed());
    let mut governor = Governor::default();
    let (mut due, mut looks) = (began, 0);
    show(Strain::None);
    while timeout_at(next(&mut due), &mut drain).await.is_err() {
        let (now, timer_late) = (began.elapsed(), due.elapsed());
        looks += 1;
        if looks % LOOKS_PER_RECKONING == 0 {
            capacity.reckon(now, engine.tally());
        }
        if server.under_overload() == UnderOverload::LeaveOff {
            let (own_cpu, machine_cpu) = business.look(now);
            let signs = Signs { own_cpu, machine_cpu, timer_late, commit_wait: engine.commit_wait() };
            let before = engine.strain();
            let strain = governor.handle_signs(now, &signs);
            if strain != before {
                engine.set_strain(strain);
                tell(before, strain, &signs);
            }
        }
    }
}

/// When the next look is due. What came late is not made up for.
fn next(due: &mut Instant) -> Instant {
    *due = Instant::now().max(*due) + LOOK_PERIOD;
    *due
}

fn show(strain: Strain) {
    gauge!("chat_overload_level").set(f64::from(strain as u8));
}

/// Twice a second at most, as levels last that long.
fn tell(before: Strain, strain: Strain, signs: &Signs) {
    show(strain);
    let Signs { own_cpu, machine_cpu, timer_late, commit_wait } = signs;
    if strain > before && strain >= Strain::RefuseConnections {
        tracing::warn!(?strain, own_cpu, machine_cpu, ?timer_late, ?commit_wait, "the server is overloaded");
    } else {
        tracing::info!(?strain, own_cpu, machine_cpu, ?timer_late, ?commit_wait, "the strain changes");
    }
}
