//! What is counted while a run goes on.

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::{
    foreign::Board,
    said::{Said, stamp_of},
};
use crate::{
    client::{Fault, Kind, Settled, Watch},
    measurement::{Traffic, Verdict, latencies, record},
};

/// So many faults are kept in words; the others are only counted.
const FAULTS_MAX: usize = 20;

/// The numbers of one room: each is the ack of exactly one send.
#[derive(Debug, Default, Clone)]
pub(super) struct Ledger {
    /// The number behind which the run began.
    base: Option<u64>,
    settled: u64,
    /// The sum of what [`mix`] makes of the numbers that were acked: it tells two of one number from one each of two.
    digest: u64,
    top: u64,
}

impl Ledger {
    /// The highest number that is known to be kept.
    pub(super) const fn top(&self) -> u64 {
        self.top
    }

    fn settle(&mut self, seq: u64) {
        self.settled += 1;
        self.digest = self.digest.wrapping_add(mix(seq));
        self.top = self.top.max(seq);
    }

    /// How far the acks are from one for each number up to `end`; at least 1 where they are not the same numbers.
    pub(super) fn unaccounted(&self, end: u64) -> u64 {
        let Some(base) = self.base else { return 0 };
        let off = end.saturating_sub(base).abs_diff(self.settled);
        if off > 0 {
            // As many numbers as a server likes to say would take for ever.
            return off;
        }
        let digest = (base..end).fold(0_u64, |sum, seq| sum.wrapping_add(mix(seq + 1)));
        u64::from(digest != self.digest)
    }
}

/// The finalizer of `SplitMix64` (<https://prng.di.unimi.it/splitmix64.c>): neighbouring numbers come out unlike.
const fn mix(seq: u64) -> u64 {
    let mixed = seq.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Everything that is counted.
#[derive(Debug)]
pub(super) struct Tally {
    /// When the run began: moments are counted from here.
    pub(super) begun: Instant,
    pub(super) traffic: Traffic,
    /// A latency counts where its message was sent within these moments, whenever it came: what is under way when the
    /// measuring ends may be what took longest.
    window: Range<Duration>,
    /// One of so many deliveries is looked at, on average.
    pub(super) stride: u64,
    until_sample: u64,
    pub(super) delivery: Histogram<u64>,
    pub(super) ack: Histogram<u64>,
    pub(super) lateness: Histogram<u64>,
    pub(super) resume: Histogram<u64>,
    pub(super) dropped: u64,
    pub(super) knocks_refused: u64,
    pub(super) ledgers: Vec<Ledger>,
    pub(super) said: Said,
    /// Who has heard what at another's server; at ours the numbers tell.
    pub(super) board: Board,
    text_bytes: usize,
    pub(super) verdict: Verdict,
}

impl Tally {
    pub(super) fn new(rooms: usize, text_bytes: usize) -> Self {
        Self {
            begun: Instant::now(),
            traffic: Traffic::default(),
            window: Duration::MAX..Duration::MAX,
            stride: 1,
            until_sample: 1,
            delivery: latencies(),
            ack: latencies(),
            lateness: latencies(),
            resume: latencies(),
            dropped: 0,
            knocks_refused: 0,
            said: Said::default(),
            board: Board::default(),
            text_bytes,
            ledgers: vec![Ledger::default(); rooms],
            verdict: Verdict::default(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What is sent from now on is measured.
    pub(super) fn begin_window(&mut self) {
        self.window.start = self.now();
    }

    /// What is sent from now on is not, and what was sent still is.
    pub(super) fn end_window(&mut self) {
        self.window.end = self.now();
    }

    /// Whether the latency of what was sent at this moment counts.
    pub(super) fn is_measured(&self, sent: Duration) -> bool {
        self.window.contains(&sent)
    }

    #[cold]
    pub(super) fn fault(&mut self, who: &str, fault: &Fault) {
        let verdict = &mut self.verdict;
        match fault.kind {
            // How many are missing still is counted at the end.
            Kind::Lost | Kind::AckMissing => {}
            Kind::Doubled => verdict.doubled += 1,
            Kind::OutOfOrder => verdict.out_of_order += 1,
            Kind::AckDoubled => verdict.acks_doubled += 1,
            Kind::Protocol => verdict.protocol += 1,
            Kind::Altered => verdict.altered += 1,
            Kind::Refused => verdict.refused += 1,
        }
        self.note(who, &fault.text);
    }

    /// Keeps in words what is counted elsewhere.
    pub(super) fn note(&mut self, who: &str, text: &str) {
        if self.verdict.faults.len() < FAULTS_MAX {
            self.verdict.faults.push(format!("{who}: {text}"));
        }
    }

    pub(super) fn refused(&mut self, code: &str) {
        let refusals: &mut BTreeMap<_, _> = &mut self.verdict.refusals;
        *refusals.entry(code.to_owned()).or_default() += 1;
    }
}

/// Hears what one user's client hears from one read.
pub(super) struct Hearing<'a> {
    pub(super) tally: &'a mut Tally,
    pub(super) who: &'a str,
    /// The plan's rooms that the client's are.
    pub(super) rooms: &'a [usize],
    /// When the read was done: looked at only where it matters.
    pub(super) now: Option<Duration>,
}

impl Hearing<'_> {
    fn now(&mut self) -> Duration {
        *self.now.get_or_insert_with(|| self.tally.begun.elapsed())
    }

    /// Counts a delivery. Returns whether it is one of those that are looked at.
    #[inline]
    fn count(&mut self) -> bool {
        self.tally.traffic.delivered += 1;
        self.tally.until_sample -= 1;
        self.tally.until_sample == 0
    }

    fn begin_sample(&mut self) {
        // Not at fixed distances: those would fit the number of connections.
        self.tally.until_sample = fastrand::u64(1..self.tally.stride * 2);
    }

    fn sample(&mut self, room: usize, event: &[u8], is_live: bool) {
        self.begin_sample();
        let tally = &mut *self.tally;
        if let Some(why) = tally.said.difference(event, self.rooms[room], tally.text_bytes) {
            self.fault(Fault::altered(event, why));
        } else if is_live && let Some(sent) = stamp_of(event) {
            self.took(sent);
        }
    }

    /// It took so long from a send to a delivery.
    fn took(&mut self, sent: Duration) {
        if self.tally.is_measured(sent) {
            let now = self.now();
            record(&mut self.tally.delivery, now.saturating_sub(sent));
        }
    }

    /// At another's server a message has come that is the right one by its mark.
    #[inline]
    pub(super) fn delivered_at(&mut self, sent: Duration, author: usize, room: usize, frame: &[u8]) {
        if self.count() {
            self.begin_sample();
            match self.tally.said.difference_of(sent, author, room) {
                Some(why) => self.fault(Fault::altered(frame, why)),
                None => self.took(sent),
            }
        }
    }

    /// What was sent at this moment is kept, as far as the server says.
    pub(super) fn acked_at(&mut self, sent: Duration) {
        self.tally.traffic.acked += 1;
        if self.tally.is_measured(sent) {
            let now = self.now();
            record(&mut self.tally.ack, now.saturating_sub(sent));
        }
    }
}

impl Watch for Hearing<'_> {
    #[inline]
    fn delivered(&mut self, room: usize, event: &[u8], is_live: bool) {
        if self.count() {
            self.sample(room, event, is_live);
        }
    }

    fn settled(&mut self, room: usize, settled: Settled<'_>) {
        self.tally.ledgers[self.rooms[room]].settle(settled.seq);
        self.acked_at(settled.sent_at);
    }

    fn began(&mut self, room: usize, last_seq: u64) {
        let ledger = &mut self.tally.ledgers[self.rooms[room]];
        match ledger.base {
            None => (ledger.base, ledger.top) = (Some(last_seq), last_seq),
            Some(base) if base != last_seq => {
                let text = format!("it joined at {last_seq}, others at {base}: somebody else writes there");
                self.fault(Fault::new(Kind::Protocol, text));
            }
            Some(_) => {}
        }
    }

    fn refused(&mut self, code: &str) {
        self.tally.refused(code);
    }

    fn fault(&mut self, fault: Fault) {
        self.tally.fault(self.who, &fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measurement::Latency, run::said::stamped, scenario::TEXT_BYTES_MIN};

    #[test]
    fn a_latency_counts_by_the_moment_of_its_sending_whenever_it_ends() {
        let mut tally = Tally::new(1, TEXT_BYTES_MIN);
        let second = Duration::from_secs(1);
        tally.window = second * 10..second * 20;
        let heard = |tally: &mut Tally, sent: Duration, now: Duration| {
            let mut hearing = Hearing { tally, who: "ann", rooms: &[0], now: Some(now) };
            let text = stamped(sent, TEXT_BYTES_MIN);
            let event = format!(r#"{{"type":"message","from":"u1","text":"{text}"}}"#);
            hearing.tally.said.remember(sent, Some(1), 0);
            hearing.delivered(0, event.as_bytes(), true);
            hearing.settled(0, Settled { key: "k.1", seq: 1, sent_at: sent });
            (tally.delivery.len(), tally.ack.len())
        };
        assert_eq!(heard(&mut tally, second * 9, second * 15), (0, 0), "it was sent before");
        assert_eq!(heard(&mut tally, second * 10, second * 15), (1, 1));
        assert_eq!(heard(&mut tally, second * 19, second * 45), (2, 2), "it was under way at the end");
        assert_eq!(heard(&mut tally, second * 20, second * 45), (2, 2), "it was sent after the end");
        assert!(Latency::of(&tally.ack).max_ms > 25_000.0);
    }

    #[test]
    fn acks_must_be_one_for_each_number() {
        let ledger = |seqs: &[u64]| {
            let mut ledger = Ledger { base: Some(4), ..Ledger::default() };
            for seq in seqs {
                ledger.settle(*seq);
            }
            ledger
        };
        assert_eq!(ledger(&[6, 5, 7]).unaccounted(7), 0);
        assert_eq!(ledger(&[6, 6, 7]).unaccounted(7), 1, "one was acked twice, and another not at all");
        assert_eq!(ledger(&[5, 6]).unaccounted(9), 3);
        assert_eq!(ledger(&[5, 6, 7]).unaccounted(6), 1);
        assert_eq!(Ledger::default().unaccounted(7), 0, "nobody is there");
    }
}
