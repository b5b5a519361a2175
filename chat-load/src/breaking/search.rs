//! Which number of users is measured next.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

/// How far, and how finely, is searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The number of users to begin with.
    pub first: usize,
    /// No more users than this.
    pub users_max: usize,
    /// Numbers of users are multiples of this, as where they come in pairs.
    pub unit: usize,
    /// The search ends where the least number that breaks is above the largest that holds by this share of it, or less.
    pub tolerance: f64,
    /// No more steps than this, so that a server without a pattern ends it too.
    pub steps_max: usize,
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The breaking point is known to within the tolerance.
    Found,
    /// The most users that were asked for did not break it.
    Unbroken,
    /// So many steps were not enough.
    Steps,
    /// So much time was not enough.
    Time,
    /// The load tool was full before the server was.
    Tool,
    /// The server did what it must not, whatever the load: see the last step.
    Failed,
}

impl Bounds {
    /// The next multiple of the unit, within the bounds.
    pub(super) fn rounded(&self, users: usize) -> usize {
        let unit = self.unit;
        let max = self.users_max / unit * unit;
        users.next_multiple_of(unit).clamp(unit, max.max(unit))
    }
}

/// Past this share of a limit the next number is a smaller step away: cost may grow with the square of the users.
const NEAR: f64 = 0.25;

/// The largest number that held and the least that broke, and what lies between.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    bounds: Bounds,
    held: Option<Held>,
    broke: Option<usize>,
    steps: usize,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    users: usize,
    used: f64,
}

impl Search {
    pub(crate) const fn new(bounds: Bounds) -> Self {
        Self { bounds, held: None, broke: None, steps: 0 }
    }

    /// The largest number that held, of those below the least that broke.
    pub(crate) fn held(&self) -> Option<usize> {
        self.held.map(|held| held.users)
    }

    /// The least number that broke.
    pub(crate) const fn broke(&self) -> Option<usize> {
        self.broke
    }

    /// The next number to measure, or why there is none.
    pub(crate) fn next(&self) -> ControlFlow<End, usize> {
        let unit = self.bounds.unit;
        let next = match (self.held, self.broke) {
            (None, None) => self.bounds.rounded(self.bounds.first),
            (None, Some(broke)) if broke <= unit => return ControlFlow::Break(End::Found),
            (None, Some(broke)) => self.bounds.rounded(broke / 2).min(broke - unit),
            (Some(held), None) if held.users + unit > self.bounds.users_max => {
                return ControlFlow::Break(End::Unbroken);
            }
            (Some(held), None) => self.bounds.rounded(grown(held)).max(held.users + unit),
            (Some(Held { users: held, .. }), Some(broke)) => {
                let gap = share(broke - held, held);
                if gap <= self.bounds.tolerance || broke - held <= unit {
                    return ControlFlow::Break(End::Found);
                }
                self.bounds.rounded(middle(held, broke)).clamp(held + unit, broke - unit)
            }
        };
        if self.steps >= self.bounds.steps_max {
            ControlFlow::Break(End::Steps)
        } else {
            ControlFlow::Continue(next)
        }
    }

    /// This number held, with this share of the limits used.
    pub(crate) fn hold(&mut self, users: usize, used: f64) {
        self.steps += 1;
        self.held = Some(Held { users, used });
    }

    /// This number broke.
    pub(crate) const fn break_at(&mut self, users: usize) {
        self.steps += 1;
        self.broke = Some(users);
    }
}

/// Twice as many, and near a limit half as many more.
fn grown(held: Held) -> usize {
    if held.used < NEAR { held.users * 2 } else { held.users + held.users.div_ceil(2) }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of users")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

/// Geometrically: costs are quotients, and so is the tolerance.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of users, and the root of two of them lies between them"
)]
fn middle(held: usize, broke: usize) -> usize {
    (held as f64 * broke as f64).sqrt().round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { first: 50, users_max: 100_000, unit: 1, tolerance: 0.05, steps_max: 40 };

    /// Searches a server that breaks at so many users, whose cost grows with their square.
    fn found(bounds: Bounds, breaks_at: usize) -> (End, Search) {
        let mut search = Search::new(bounds);
        loop {
            match search.next() {
                ControlFlow::Break(end) => return (end, search),
                ControlFlow::Continue(users) => {
                    assert!(users.is_multiple_of(bounds.unit) && users <= bounds.users_max, "{users}");
                    if users >= breaks_at {
                        search.break_at(users);
                    } else {
                        search.hold(users, share(users, breaks_at).powi(2));
                    }
                }
            }
        }
    }

    #[test]
    fn a_break_is_found_within_its_tolerance_wherever_it_is() {
        for breaks_at in [2, 3, 7, 49, 50, 51, 99, 100, 101, 777, 3_141, 27_182, 99_999] {
            let (end, search) = found(BOUNDS, breaks_at);
            assert_eq!(end, End::Found, "{breaks_at}");
            let (held, broke) = (search.held().unwrap(), search.broke().unwrap());
            assert!(held < breaks_at && breaks_at <= broke, "{breaks_at} is not within {held}..={broke}");
            assert!(share(broke - held, held) <= BOUNDS.tolerance || broke - held == 1);
            assert!(search.steps < 20, "{} steps for {breaks_at}", search.steps);
        }
    }

    #[test]
    fn what_breaks_with_the_least_users_is_found_too() {
        let (end, search) = found(BOUNDS, 1);
        assert_eq!((end, search.held(), search.broke()), (End::Found, None, Some(1)));
    }

    #[test]
    fn a_server_that_never_breaks_ends_the_search() {
        let (end, search) = found(Bounds { users_max: 3_000, ..BOUNDS }, usize::MAX);
        assert_eq!((end, search.held(), search.broke()), (End::Unbroken, Some(3_000), None));
    }

    #[test]
    fn steps_are_bounded() {
        let (end, search) = found(Bounds { steps_max: 5, ..BOUNDS }, 30_000);
        assert_eq!((end, search.steps, search.broke()), (End::Steps, 5, None));
    }

    #[test]
    fn users_come_in_units() {
        let (end, search) = found(Bounds { first: 7, unit: 2, users_max: 1_001, ..BOUNDS }, 333);
        assert_eq!(end, End::Found);
        let (held, broke) = (search.held().unwrap(), search.broke().unwrap());
        assert!(held < 333 && 333 <= broke && broke - held <= 16, "{held} {broke}");
        let (end, search) = found(Bounds { unit: 2, users_max: 1_001, ..BOUNDS }, 2_000);
        assert_eq!((end, search.held()), (End::Unbroken, Some(1_000)));
    }

    #[test]
    fn near_a_limit_the_next_number_is_not_twice_as_large() {
        assert_eq!(grown(Held { users: 100, used: 0.1 }), 200);
        assert_eq!(grown(Held { users: 101, used: 0.3 }), 152);
    }
}
