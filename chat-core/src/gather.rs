//! Letting what is new in a busy room gather, so that it goes out in fewer and larger writes.
//!
//! A write to a socket costs 1.5 to 3 µs, and each further frame in it some 0.05: so many readers of many events cost what
//! they are written, not what they are told. Nothing here holds an event back: it is in the tail at once, and whoever
//! looks for a reason of its own, as a sender does for its ack, finds it. Only the waking of the others waits.

use std::{collections::VecDeque, time::Duration};

use crate::{ids::Seq, limits::Gathering, time::Rate};

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

    /// So many things are new for so many readers; the first of them was received at `received`. The wait counts from
    /// there, so what a commit has taken already is not waited for again.
    pub(crate) fn handle_news(
        &mut self,
        now: Duration,
        received: Duration,
        (things, readers): (usize, usize),
    ) {
        let oldest = self.received.get_or_insert(received);
        *oldest = received.min(*oldest);
        // By what came before: the first after a rest leaves at once.
        let window = self.settings.window(self.rate.at(now), readers);
        self.rate.arrive(now, things);
        self.due.get_or_insert(received + window);
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
    /// where it would cost [`Gathering::SHARE_MAX`] of a processor.
    #[expect(clippy::cast_precision_loss, reason = "a room has fewer than 2^53 readers")]
    fn window(&self, per_second: f64, readers: usize) -> Duration {
        let share = per_second * readers as f64 * self.write_cost.as_secs_f64();
        let part = (share - Self::SHARE_MIN) / (Self::SHARE_MAX - Self::SHARE_MIN);
        let whole = self
            .first
            .saturating_add(self.per_reader.saturating_mul(u32::try_from(readers).unwrap_or(u32::MAX)));
        whole.min(self.max).mul_f64(part.clamp(0.0, 1.0))
    }

    /// Up to this share of a processor nothing waits.
    const SHARE_MIN: f64 = 0.01;
    /// From this share on the window is whole.
    const SHARE_MAX: f64 = 0.025;
}

/// What was told to the readers of a room and has not reached all of them: for the time that a delivery takes.
#[derive(Debug, Default)]
pub(crate) struct Rounds(VecDeque<Round>);

#[derive(Debug)]
struct Round {
    last: Seq,
    received: Duration,
    missing: usize,
}

impl Rounds {
    /// Rounds that are kept. Who is further behind is as good as fed from the store.
    const MAX: usize = 64;

    /// Events up to `last` are told to so many readers.
    pub(crate) fn begin(&mut self, last: Seq, received: Duration, readers: usize) {
        if readers == 0 {
            return;
        }
        if self.0.len() == Self::MAX {
            self.0.pop_front();
        }
        self.0.push_back(Round { last, received, missing: readers });
    }

    /// A reader that had everything up to `from` now has it up to `to`, or is not waited for any more. Returns since when
    /// the rounds that are over with this were under way.
    pub(crate) fn pass(&mut self, from: Seq, to: Seq) -> Vec<Duration> {
        let first = self.0.partition_point(|round| round.last <= from);
        let passed = self.0.range_mut(first..).take_while(|round| round.last <= to);
        passed.for_each(|round| round.missing = round.missing.saturating_sub(1));
        // A reader passes rounds in their order: where a later one is over, so are those before it.
        let over = self.0.iter().take_while(|round| round.missing == 0).count();
        self.0.drain(..over).map(|round| round.received).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// So many events, one each so many milliseconds, for so many readers; when each was told.
    fn told(events: u32, every_ms: u32, readers: usize) -> Vec<Duration> {
        let mut gather = Gather::new(Gathering::default());
        let (mut now, mut next, mut told) = (Duration::ZERO, Duration::ZERO, Vec::new());
        let end = MS * every_ms * events;
        while now < end + Duration::from_secs(1) {
            if now >= next && now < end {
                gather.handle_news(now, now, (1, readers));
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
    fn the_wait_counts_from_the_receipt() {
        let mut gather =
            Gather::new(Gathering { write_cost: Duration::from_secs(1), ..Gathering::default() });
        gather.handle_news(MS, MS, (1000, 1000));
        assert_eq!(gather.take_due(MS), Some(MS), "the first after a rest");
        gather.handle_news(MS * 9, MS * 4, (1, 1000));
        gather.handle_news(MS * 12, MS * 2, (1, 1000));
        assert_eq!(gather.poll_timeout(), Some(MS * 58));
        assert_eq!(gather.take_due(MS * 57), None);
        assert_eq!(gather.take_due(MS * 58), Some(MS * 2), "the oldest of what is told");
        gather.handle_news(MS * 200, MS * 100, (1, 1000));
        assert_eq!(gather.take_due(MS * 200), Some(MS * 100), "the commit has taken the whole wait");
        assert_eq!(gather.take_due(MS * 900), None);
    }

    #[test]
    fn a_delivery_is_over_with_its_last_reader() {
        let mut rounds = Rounds::default();
        rounds.begin(Seq(3), MS, 2);
        rounds.begin(Seq(5), MS * 2, 3);
        rounds.begin(Seq(6), MS * 3, 0);
        assert_eq!(rounds.pass(Seq(0), Seq(4)), []);
        assert_eq!(rounds.pass(Seq(3), Seq(5)), [], "somebody who came after the first");
        assert_eq!(rounds.pass(Seq(2), Seq(5)), [MS]);
        assert_eq!(rounds.pass(Seq(4), Seq::MAX), [MS * 2], "a reader who goes is not waited for");
        assert_eq!(rounds.pass(Seq(0), Seq::MAX), []);
    }
}
