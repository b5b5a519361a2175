//! What a server does a second, and what it takes for that.

use std::{collections::VecDeque, time::Duration};

use chat_core::Tally;

use super::{
    machine::{self, Link, Look},
    traffic::{self, Traffic},
};

/// Everything counted till now.
#[derive(Debug, Clone)]
pub(super) struct Totals {
    /// Since the looking began.
    at: Duration,
    look: Look,
    tally: Tally,
    traffic: Traffic,
}

impl Totals {
    pub(super) fn now(at: Duration, tally: Tally) -> Self {
        Self { at, look: machine::look(), tally, traffic: traffic::now() }
    }
}

/// The mean of some time; processor time in milliseconds a second, whatever else has a rate a second.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Load {
    /// Connections at its end.
    pub connections: f64,
    /// Connections that began or ended.
    pub turnover: f64,
    pub messages: f64,
    /// Messages handed to others than their senders.
    pub deliveries: f64,
    pub commits: f64,
    /// What went into them.
    pub items: f64,
    /// The share of the time in which a commit was under way.
    pub commit_share: f64,
    pub writes: f64,
    pub bytes: f64,
    pub own_cpu: f64,
    /// What else runs on the machine.
    pub others_cpu: Option<f64>,
    /// What all processors of the machine have to give.
    pub machine_cpu: Option<f64>,
    pub resident_bytes: Option<f64>,
    pub descriptors: Option<f64>,
    /// How much of the fullest link is used, of those whose speed is known.
    pub link_share: Option<f64>,
}

impl Load {
    /// What happened between two looks; `None` where there is no time between them.
    #[expect(clippy::cast_precision_loss, reason = "nothing is counted to 2^53 within one look and the next")]
    pub(super) fn between(before: &Totals, after: &Totals) -> Option<Self> {
        let seconds = after.at.saturating_sub(before.at).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        let (was, is) = (&before.tally, &after.tally);
        let (sent, sends) = (&before.traffic, &after.traffic);
        let busy = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() / seconds;
        let own_cpu = 1e3 * busy(before.look.own_cpu, after.look.own_cpu);
        let machine = before.look.processors.zip(after.look.processors).and_then(|(before, after)| {
            let all = after.all_ticks - before.all_ticks;
            let share = (after.busy_ticks - before.busy_ticks) / all;
            (all > 0.0).then_some((1e3 * after.count, 1e3 * after.count * share.clamp(0.0, 1.0)))
        });
        Some(Self {
            connections: sends.opened.saturating_sub(sends.closed) as f64,
            turnover: rate(sent.opened, sends.opened) + rate(sent.closed, sends.closed),
            messages: rate(was.messages, is.messages),
            deliveries: rate(was.deliveries, is.deliveries),
            commits: rate(was.commits, is.commits),
            items: rate(was.items, is.items),
            commit_share: busy(was.commit_time, is.commit_time),
            writes: rate(sent.writes, sends.writes),
            bytes: rate(sent.bytes, sends.bytes),
            own_cpu,
            others_cpu: machine.map(|(_, busy)| (busy - own_cpu).max(0.0)),
            machine_cpu: machine.map(|(all, _)| all),
            resident_bytes: after.look.resident_bytes,
            descriptors: after.look.descriptors,
            link_share: link_share(&before.look.links, &after.look.links, seconds),
        })
    }

    /// The mean of some.
    pub(super) fn mean(loads: &VecDeque<Self>) -> Self {
        let of = |value: fn(&Self) -> f64| mean(loads.iter().map(value)).unwrap_or_default();
        let of_known = |value: fn(&Self) -> Option<f64>| mean(loads.iter().filter_map(value));
        Self {
            connections: of(|load| load.connections),
            turnover: of(|load| load.turnover),
            messages: of(|load| load.messages),
            deliveries: of(|load| load.deliveries),
            commits: of(|load| load.commits),
            items: of(|load| load.items),
            commit_share: of(|load| load.commit_share),
            writes: of(|load| load.writes),
            bytes: of(|load| load.bytes),
            own_cpu: of(|load| load.own_cpu),
            others_cpu: of_known(|load| load.others_cpu),
            machine_cpu: of_known(|load| load.machine_cpu),
            resident_bytes: of_known(|load| load.resident_bytes),
            descriptors: of_known(|load| load.descriptors),
            link_share: of_known(|load| load.link_share),
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / f64::from(count))
}

fn link_share(before: &[Link], after: &[Link], seconds: f64) -> Option<f64> {
    let share = |link: &Link| {
        let was = before.iter().find(|was| was.name == link.name)?;
        Some((link.sent_bytes - was.sent_bytes).max(0.0) / seconds / link.bytes_per_s)
    };
    after.iter().filter_map(share).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::machine::Processors;

    const fn processors(busy_ticks: f64, all_ticks: f64) -> Processors {
        Processors { count: 4.0, busy_ticks, all_ticks }
    }

    #[test]
    fn what_others_use_is_what_the_machine_does_beside_the_server() {
        let mut before = Totals {
            at: Duration::from_secs(1),
            look: Look { processors: Some(processors(100.0, 1000.0)), ..Look::default() },
            tally: Tally::default(),
            traffic: Traffic { writes: 10, bytes: 1000, opened: 5, closed: 1 },
        };
        let mut after = before.clone();
        after.at = Duration::from_secs(3);
        after.look.own_cpu = Duration::from_secs(2);
        after.look.processors = Some(processors(600.0, 1800.0));
        after.traffic = Traffic { writes: 30, bytes: 5000, opened: 9, closed: 2 };
        let load = Load::between(&before, &after).unwrap();
        assert_eq!((load.own_cpu, load.others_cpu, load.machine_cpu), (1e3, Some(1500.0), Some(4e3)));
        assert_eq!((load.writes, load.bytes, load.connections, load.turnover), (10.0, 2000.0, 7.0, 2.5));
        assert_eq!(load.link_share, None);
        before.at = after.at;
        assert_eq!(Load::between(&before, &after), None);
    }

    #[test]
    fn the_fullest_link_counts() {
        let link = |name: &str, sent_bytes| Link { name: name.to_owned(), sent_bytes, bytes_per_s: 1e6 };
        let before = [link("a", 0.0), link("b", 5e6), link("gone", 0.0)];
        let after = [link("a", 1e6), link("b", 6.5e6), link("new", 9e9)];
        assert_eq!(link_share(&before, &after, 2.0), Some(0.75));
    }
}
