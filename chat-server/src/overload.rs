//! How hard pressed the server is, from what can be seen of it, and what follows: it leaves off in the order of [`Strain`].

use std::time::Duration;

use chat_core::Strain;

use crate::limits::{OVERLOAD_FALL, OVERLOAD_OWN_SHARE_MIN, OVERLOAD_RISE};

/// What is seen of a server.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Signs {
    /// The share of the processors that it may use which it uses.
    pub own_cpu: f64,
    /// The share of the machine's processors that are busy, the server's work among it, where the system tells.
    pub machine_cpu: Option<f64>,
    /// How late the runtime is with what is due.
    pub timer_late: Duration,
    /// How long sends wait until their commit begins.
    pub commit_wait: Duration,
}

/// When a level is reached.
#[derive(Debug, Clone, Copy)]
struct Threshold {
    /// Below it, lateness and full processors are others' work.
    own_cpu_min: f64,
    own_cpu: f64,
    machine_cpu: f64,
    /// Late enough to say of full processors that the server is among those who go short.
    pressed: Duration,
    /// By level from the first on, in milliseconds.
    late_ms: [u64; 4],
}

/// Full processors alone shed what has no number, and no more: latencies may still be fine. Beyond that a server is really
/// late. The gathering of busy rooms is some 150 ms at most, so 300 ms are not of its own making.
const REACHED: Threshold = Threshold {
    own_cpu_min: OVERLOAD_OWN_SHARE_MIN,
    own_cpu: 0.95,
    machine_cpu: 0.97,
    pressed: Duration::from_millis(20),
    late_ms: [100, 300, 500, 2000],
};

/// When a level is kept that was reached: less would have it come and go.
const KEPT: Threshold = Threshold {
    own_cpu_min: OVERLOAD_OWN_SHARE_MIN / 2.0,
    own_cpu: 0.85,
    machine_cpu: 0.9,
    pressed: Duration::from_millis(5),
    late_ms: [50, 150, 250, 1000],
};

impl Signs {
    /// The level that these are signs of.
    fn strain(&self, threshold: &Threshold) -> Strain {
        let has_part = self.own_cpu >= threshold.own_cpu_min;
        let late = if has_part { self.timer_late.max(self.commit_wait) } else { self.commit_wait };
        let is_full = self.own_cpu >= threshold.own_cpu
            || (has_part
                && self.machine_cpu.is_some_and(|busy| busy >= threshold.machine_cpu)
                && late >= threshold.pressed);
        let mut strain = if is_full { Strain::ShedEphemeral } else { Strain::None };
        for (level, reached) in Strain::ALL.into_iter().skip(1).zip(threshold.late_ms) {
            if late >= Duration::from_millis(reached) {
                strain = strain.max(level);
            }
        }
        strain
    }
}

/// Goes up a level where the signs have been of a higher one for a while, and down where they have not been of this one for
/// a longer while: one step at a time, so that each has its effect before the next is tried.
#[derive(Debug, Default)]
pub(crate) struct Governor {
    strain: Strain,
    /// Since when all signs were of a higher level.
    higher_since: Option<Duration>,
    /// Since when all were of a lower one.
    lower_since: Option<Duration>,
}

impl Governor {
    /// Takes what is seen now, and says how hard pressed the server is.
    pub(crate) fn handle_signs(&mut self, now: Duration, signs: &Signs) -> Strain {
        let since = |since: Option<Duration>, is_so: bool| is_so.then(|| since.unwrap_or(now));
        self.higher_since = since(self.higher_since, signs.strain(&REACHED) > self.strain);
        self.lower_since = since(self.lower_since, signs.strain(&KEPT) < self.strain);
        let for_long = |since: Option<Duration>, wait| since.is_some_and(|since| now >= since + wait);
        let next = if for_long(self.higher_since, OVERLOAD_RISE) {
            self.strain.next()
        } else if for_long(self.lower_since, OVERLOAD_FALL) {
            self.strain.prev()
        } else {
            return self.strain;
        };
        (self.higher_since, self.lower_since) = (None, None);
        self.strain = next;
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(250);

    fn late(ms: u64) -> Signs {
        Signs { own_cpu: 0.5, timer_late: Duration::from_millis(ms), ..Signs::default() }
    }

    /// The levels, one after the other, where the signs are these for so many looks each.
    fn levels(course: &[(Signs, u32)]) -> Vec<Strain> {
        let mut governor = Governor::default();
        let looks = course.iter().flat_map(|(signs, looks)| (0..*looks).map(move |_| signs));
        let mut levels: Vec<_> =
            (1..).zip(looks).map(|(look, signs)| governor.handle_signs(LOOK * look, signs)).collect();
        levels.dedup();
        levels
    }

    #[test]
    fn it_goes_up_one_by_one_and_comes_down_by_itself() {
        let up_and_down = levels(&[(late(5000), 100), (late(0), 100)]);
        let down = Strain::ALL.into_iter().rev().skip(1);
        assert_eq!(up_and_down, Strain::ALL.into_iter().chain(down).collect::<Vec<_>>());
    }

    #[test]
    fn full_processors_shed_what_has_no_number_and_refuse_nothing() {
        let own = Signs { own_cpu: 1.0, ..late(80) };
        let all = Signs { machine_cpu: Some(1.0), ..late(80) };
        for signs in [own, all] {
            assert_eq!(levels(&[(signs, 1000)]), [Strain::None, Strain::ShedEphemeral]);
        }
        let idle_priority = Signs { machine_cpu: Some(1.0), ..late(1) };
        assert_eq!(levels(&[(idle_priority, 1000)]), [Strain::None], "others' work that does not hold it up");
    }

    #[test]
    fn the_lateness_says_how_far_it_goes() {
        for (ms, highest) in [(99, 0), (100, 1), (300, 2), (500, 3), (1999, 3), (2000, 4)] {
            let by_timer = levels(&[(late(ms), 100)]);
            assert_eq!(by_timer.last(), Some(&Strain::ALL[highest]), "{ms} ms");
            let by_commits = Signs { commit_wait: Duration::from_millis(ms), ..Signs::default() };
            assert_eq!(levels(&[(by_commits, 100)]), by_timer);
        }
    }

    #[test]
    fn what_others_do_to_an_idle_server_is_no_overload_of_it() {
        let idle = |own_cpu| Signs { own_cpu, machine_cpu: Some(1.0), ..late(9000) };
        assert_eq!(levels(&[(idle(0.09), 1000)]), [Strain::None]);
        assert_eq!(levels(&[(idle(0.1), 1000)]), Strain::ALL);
        let around: Vec<_> = (0..200).flat_map(|_| [(idle(0.11), 8), (idle(0.06), 8)]).collect();
        assert_eq!(levels(&around), Strain::ALL, "and it does not come and go");
        let behind = Signs { commit_wait: Duration::from_secs(9), ..idle(0.0) };
        assert_eq!(levels(&[(behind, 100)]), Strain::ALL, "commits are its own");
        let down = levels(&[(idle(0.5), 100), (idle(0.01), 100)]);
        assert_eq!(down.last(), Some(&Strain::None));
    }

    #[test]
    fn a_machine_that_slept_is_not_late() {
        let mut governor = Governor::default();
        assert_eq!(governor.handle_signs(LOOK, &late(200)), Strain::None);
        let asleep = Duration::from_hours(9);
        // One look sees all of it, and the next none.
        let mut levels: Vec<_> = (1..100)
            .map(|look| {
                governor.handle_signs(asleep + LOOK * look, &late(if look == 1 { 32_400_000 } else { 0 }))
            })
            .collect();
        levels.dedup();
        assert_eq!(levels, [Strain::ShedEphemeral, Strain::None]);
    }

    #[test]
    fn a_moment_is_no_reason() {
        let moments: Vec<_> = (0..50).flat_map(|_| [(late(9000), 2), (late(0), 2)]).collect();
        assert_eq!(levels(&moments), [Strain::None]);
    }

    #[test]
    fn around_a_threshold_it_stays() {
        let around: Vec<_> = (0..200).flat_map(|_| [(late(520), 8), (late(480), 8)]).collect();
        let up = &Strain::ALL[..=3];
        assert_eq!(levels(&around), up);
        let all: Vec<_> = (0..200).flat_map(|_| [(late(2100), 8), (late(1100), 8)]).collect();
        assert_eq!(levels(&all), Strain::ALL);
    }
}
