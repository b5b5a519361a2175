//! Letting what is new in a busy room gather, so that it goes out in fewer and larger writes.
//!
//! A write to a socket costs 1.5 to 3 µs, and each further frame in it some 0.05: so many readers of many events cost what
//! they are written, not what they are told. Nothing here holds an event back: it is in the tail at once, and whoever
//! looks for a reason of its own, as a sender does for its ack, finds it. Only the waking of the others waits.

use std::{collections::VecDeque, time::Duration};

use crate::{
    ids::Seq,
    limits::{DELIVERIES_TIMED_MAX, GATHERED_STRAINED_MAX, GATHERING_STRAINED_MAX, Gathering},
    strain::Strain,
    time::Rate,
};

/// What is new in a room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct News {
    /// When the first of it was received.
    pub received: Duration,
    /// How many things it is.
    pub things: usize,
    /// For how many.
    pub readers: usize,
    /// How hard pressed the node is.
    pub strain: Strain,
}

/// When the readers of one room are woken.
#[derive(Debug)]
pub(crate) struct Gather {
    settings: Gathering,
    rate: Rate,
    /// What is new waits until then.
    due: Option<Duration>,
    /// When the oldest of it was received.
    received: Option<Duration>,
}

impl Gather {
    pub(crate) const fn new(settings: Gathering) -> Self {
        Self { settings, rate: Rate::new(), due: None, received: None }
    }

    /// Something is new. The wait counts from its receipt: what a commit has taken already is not waited for again.
    pub(crate) fn handle_news(&mut self, now: Duration, news: News) {
        let News { received, things, readers, strain } = news;
        let oldest = self.received.get_or_insert(received);
        *oldest = received.min(*oldest);
        // By what came before: the first after a rest leaves at once.
        let window = self.settings.strained_window(self.rate.at(now), readers, strain);
        self.rate.arrive(now, things);
        self.due.get_or_insert_with(|| received.saturating_add(window));
    }

    /// When [`Gather::take_due`] has something.
    pub(crate) const fn poll_timeout(&self) -> Option<Duration> {
        self.due
    }

    /// When the oldest of what is due was received; then its readers are to be woken.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<Duration> {
        self.due.take_if(|due| *due <= now)?;
        self.received.take()
    }
}

impl Gathering {
    /// How long the next thing waits for others: nothing where writing each by itself costs little, up to the whole window
    /// where it would cost 2.5 hundredths of a processor.
    ///
    /// ```
    /// use chat_core::limits::Gathering;
    ///
    /// let gathering = Gathering::default();
    /// assert_eq!(gathering.window(1000.0, 1000).as_millis(), 54); // 28 ms, and 26 µs for each reader
    /// assert_eq!(gathering.window(1.0, 10).as_millis(), 0);
    /// ```
    #[expect(clippy::cast_precision_loss, reason = "a room has fewer than 2^53 readers")]
    pub fn window(&self, per_second: f64, readers: usize) -> Duration {
        let share = per_second * readers as f64 * self.write_cost.as_secs_f64();
        let part = (share - Self::SHARE_MIN) / (Self::SHARE_MAX - Self::SHARE_MIN);
        let whole = self
            .first
            .saturating_add(self.per_reader.saturating_mul(u32::try_from(readers).unwrap_or(u32::MAX)));
        let whole = whole.min(self.max);
        // Out of range only where it would be about the whole.
        Duration::try_from_secs_f64(whole.as_secs_f64() * part.clamp(0.0, 1.0)).unwrap_or(whole).min(whole)
    }

    /// The same for a node under strain: some times longer, as long as that makes fewer writes cheaper ones.
    fn strained_window(&self, per_second: f64, readers: usize, strain: Strain) -> Duration {
        let window = self.window(per_second, readers);
        if window.is_zero() {
            return window;
        }
        let enough = Duration::try_from_secs_f64(f64::from(GATHERED_STRAINED_MAX) / per_second);
        let longest = enough.map_or(GATHERING_STRAINED_MAX, |enough| enough.min(GATHERING_STRAINED_MAX));
        window.saturating_mul(strain.gathering_factor()).min(longest).max(window)
    }

    /// Up to this share of a processor nothing waits.
    const SHARE_MIN: f64 = 0.01;
    /// From this share on the window is whole.
    const SHARE_MAX: f64 = 0.025;
}

/// What was told to the readers of a room and has not reached all of them: for the time that a delivery takes.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    open: VecDeque<Round>,
    /// The last event of the newest.
    told: Seq,
}

#[derive(Debug)]
struct Round {
    last: Seq,
    received: Duration,
    missing: usize,
}

impl Rounds {
    /// Begins a round with the events up to `last`, where there are new ones. Returns where the one before ended: who has
    /// everything up to there [counts](Self::count) in this one. Who has not stands still, and is waited for in that one
    /// only.
    pub(crate) fn begin(&mut self, last: Seq, received: Duration) -> Option<Seq> {
        let before = self.told;
        if last <= before {
            return None;
        }
        self.told = last;
        if self.open.len() == DELIVERIES_TIMED_MAX {
            self.open.pop_front();
        }
        self.open.push_back(Round { last, received, missing: 0 });
        Some(before)
    }

    /// One more reader counts in the newest round. Returns its last event.
    pub(crate) fn count(&mut self) -> Seq {
        if let Some(newest) = self.open.back_mut() {
            newest.missing += 1;
        }
        self.told
    }

    /// A reader that counts in a round up to `counted` had everything up to `from`. Now it has it up to `to`, or is not
    /// waited for any more. Returns the receipts of what has with this reached all.
    pub(crate) fn pass(&mut self, counted: Seq, from: Seq, to: Seq) -> Vec<Duration> {
        let first = self.open.partition_point(|round| round.last <= from);
        let passed = self.open.range_mut(first..).take_while(|round| round.last <= to.min(counted));
        let mut over = Vec::new();
        for round in passed {
            round.missing = round.missing.saturating_sub(1);
            if round.missing == 0 {
                over.push(round.received);
            }
        }
        if !over.is_empty() {
            self.open.retain(|round| round.missing > 0);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// So many events, one each so many milliseconds, for so many readers; when each was told.
    fn told(events: u32, every_ms: u32, readers: usize) -> Vec<Duration> {
        told_under(Strain::None, events, every_ms, readers)
    }

    /// The same under strain.
    fn told_under(strain: Strain, events: u32, every_ms: u32, readers: usize) -> Vec<Duration> {
        let mut gather = Gather::new(Gathering::default());
        let (mut now, mut next, mut told) = (Duration::ZERO, Duration::ZERO, Vec::new());
        let end = MS * every_ms * events;
        while now < end + Duration::from_secs(1) {
            if now >= next && now < end {
                gather.handle_news(now, News { received: now, things: 1, readers, strain });
                next += MS * every_ms;
            }
            if gather.take_due(now).is_some() {
                told.push(now);
            }
            now += MS;
        }
        told
    }

    #[test]
    fn a_quiet_or_small_room_is_told_at_once() {
        let each = |every_ms| (0..20).map(|event| MS * every_ms * event).collect::<Vec<_>>();
        assert_eq!(told(20, 500, 1000), each(500), "two a second for a thousand");
        assert_eq!(told(20, 10, 2), each(10), "a hundred a second for two");
    }

    #[test]
    fn a_busy_room_is_told_of_many_at_once() {
        let told = told(5000, 1, 1000);
        let gaps = told.windows(2).map(|two| two[1].saturating_sub(two[0]));
        // 28 ms, and 26 µs for each reader; then the next event comes.
        assert!(gaps.skip(20).all(|gap| gap == MS * 55), "{told:?}");
        assert!(told.iter().all(|at| *at < MS * 5055), "the last one is told too");
    }

    #[test]
    fn a_busy_room_is_told_later_under_strain_and_a_quiet_one_is_not() {
        let gap_ms = |strain, every_ms, readers| {
            let told = told_under(strain, 5000, every_ms, readers);
            told[told.len() - 2].saturating_sub(told[told.len() - 3]).as_millis()
        };
        // The window, and the millisecond until the next event.
        assert_eq!(Strain::ALL.map(|strain| gap_ms(strain, 1, 1000)), [55, 55, 109, 217, 217]);
        // About as long as 256 events take, but no longer than 400 ms.
        assert_eq!(Strain::ALL.map(|strain| gap_ms(strain, 1, 4000)), [133, 133, 259, 259, 259]);
        assert_eq!(Strain::ALL.map(|strain| gap_ms(strain, 5, 10_000)), [155, 155, 305, 405, 405]);
        let quiet = |strain| told_under(strain, 20, 10, 2);
        assert_eq!(quiet(Strain::RefuseSends), quiet(Strain::None));
    }

    #[test]
    fn the_wait_counts_from_the_receipt() {
        let strain = Strain::None;
        let mut gather =
            Gather::new(Gathering { write_cost: Duration::from_secs(1), ..Gathering::default() });
        gather.handle_news(MS, News { received: MS, things: 1000, readers: 1000, strain });
        assert_eq!(gather.take_due(MS), Some(MS), "the first after a rest");
        gather.handle_news(MS * 9, News { received: MS * 4, things: 1, readers: 1000, strain });
        gather.handle_news(MS * 12, News { received: MS * 2, things: 1, readers: 1000, strain });
        assert_eq!(gather.poll_timeout(), Some(MS * 58));
        assert_eq!(gather.take_due(MS * 57), None);
        assert_eq!(gather.take_due(MS * 58), Some(MS * 2), "the oldest of what is told");
        gather.handle_news(MS * 200, News { received: MS * 100, things: 1, readers: 1000, strain });
        assert_eq!(gather.take_due(MS * 200), Some(MS * 100), "the commit has taken the whole wait");
        assert_eq!(gather.take_due(MS * 900), None);
    }

    #[test]
    fn a_delivery_is_over_with_the_last_who_counts_in_it() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.begin(Seq(3), MS), Some(Seq(0)));
        let [_ann, bob] = [rounds.count(), rounds.count()];
        assert_eq!(rounds.begin(Seq(3), MS), None, "nothing new");
        assert_eq!(rounds.pass(Seq(3), Seq(0), Seq(3)), []);
        assert_eq!(rounds.begin(Seq(5), MS * 2), Some(Seq(3)));
        let ann = rounds.count();
        assert_eq!(rounds.pass(ann, Seq(3), Seq(5)), [MS * 2], "bob stands still, and is not in it");
        rounds.begin(Seq(8), MS * 3);
        let ann = rounds.count();
        assert_eq!(rounds.pass(bob, Seq(0), Seq(8)), [MS], "bob ends the one that he is in");
        assert_eq!(rounds.pass(ann, Seq(5), Seq::MAX), [MS * 3], "who goes is not waited for");
    }

    #[test]
    fn no_setting_is_too_large() {
        let settings = Gathering { first: Duration::MAX, max: Duration::MAX, ..Gathering::default() };
        let mut gather = Gather::new(settings);
        for strain in [Strain::None, Strain::RefuseSends, Strain::None] {
            gather.handle_news(MS, News { received: MS, things: 10_000, readers: 10_000, strain });
            gather.take_due(MS);
        }
        assert!(gather.poll_timeout().is_some_and(|due| due > Duration::from_hours(24)));
    }
}
