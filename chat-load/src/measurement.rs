//! What a run found.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{
    host::{Capacity, Descriptors, Figures},
    scenario::Scenario,
};

/// One run with all its figures. Unless they say otherwise they are of the measured time only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// What the users did.
    pub scenario: Scenario,
    /// How many there were.
    pub users: usize,
    /// In how many rooms.
    pub rooms: usize,
    /// `chat.v1` or `chat.v1.batch`, or that it is another's server.
    pub subprotocol: String,
    /// Whether the server acks what it is sent. Another's need not: then nothing counts as acked.
    pub has_acks: bool,
    /// Bytes of each text.
    pub text_bytes: usize,
    /// Messages a second of each user who talks at a rate.
    pub rate: f64,
    /// How long was measured.
    pub seconds: f64,
    /// Until all users were connected and had joined.
    pub opening_seconds: f64,
    /// What went over the sockets.
    pub traffic: Traffic,
    /// From a send to its delivery to somebody else, live.
    pub delivery: Latency,
    /// From a send to its ack.
    pub ack: Latency,
    /// How late the tool itself was with what it sent at a rate. Where this is not small, the tool is the limit.
    pub lateness: Latency,
    /// What the server cost, where its process is known.
    pub server: Option<ServerCost>,
    /// What the server says of itself, where it does.
    pub figures: Option<FiguresDiff>,
    /// Why there are none, where it was asked and did not answer.
    pub figures_missing: Option<String>,
    /// What the server predicts of itself at the end of the measured time, where it does.
    pub capacity: Option<Capacity>,
    /// The machine, of server and tool and everybody else.
    pub machine: MachineCost,
    /// What this process cost.
    pub tool: ToolCost,
    /// The reconnect storms, in which all connections dropped.
    pub storms: Option<Storms>,
    /// What is wrong, over the whole run.
    pub verdict: Verdict,
}

/// Counts of the measured time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Messages sent.
    pub sent: u64,
    /// Messages known to be kept.
    pub acked: u64,
    /// Events that came, those replayed included, acks not.
    pub delivered: u64,
    /// Bytes read from sockets.
    pub read_bytes: u64,
    /// Bytes written to sockets.
    pub written_bytes: u64,
    /// Reads from sockets that brought something.
    pub reads: u64,
    /// Frames that were read.
    pub frames: u64,
}

impl Traffic {
    /// What has come since `before`.
    pub(crate) const fn since(&self, before: &Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            acked: self.acked - before.acked,
            delivered: self.delivered - before.delivered,
            read_bytes: self.read_bytes - before.read_bytes,
            written_bytes: self.written_bytes - before.written_bytes,
            reads: self.reads - before.reads,
            frames: self.frames - before.frames,
        }
    }
}

/// A latency, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many were looked at.
    pub samples: u64,
    /// Their mean.
    pub mean_ms: f64,
    /// Half of them were no longer.
    pub p50_ms: f64,
    /// Nine of ten were no longer.
    pub p90_ms: f64,
    /// 99 of 100 were no longer.
    pub p99_ms: f64,
    /// 999 of 1,000 were no longer.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// Microseconds up to ten minutes, to three digits. What is longer counts as that.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are in order")
}

pub(crate) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
}

impl Latency {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| ratio(histogram.value_at_quantile(quantile), 1000);
        Self {
            samples: histogram.len(),
            mean_ms: histogram.mean() / 1000.0,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ratio(histogram.max(), 1000),
        }
    }
}

/// What the server's process cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ServerCost {
    /// Its number.
    pub pid: u32,
    /// Milliseconds of processor time a second.
    pub cpu_ms_per_s: f64,
    /// The same of the one thread that used most.
    pub busiest_thread_ms_per_s: f64,
    /// Microseconds of processor time for each event that was delivered; `None` where there was none.
    pub us_per_delivery: Option<f64>,
    /// Microseconds of processor time for each message that was acked, all its deliveries included.
    pub us_per_message: Option<f64>,
    /// Memory (resident) before the first connection.
    pub memory_before_bytes: u64,
    /// Memory once all were connected and had joined, before anything was said.
    pub memory_open_bytes: u64,
    /// The most memory that was seen while it was measured.
    pub memory_max_bytes: u64,
    /// The growth from the first to the second, for each connection.
    pub memory_per_connection_bytes: f64,
    /// Its files and sockets at the end of the measured time; `None` where the system does not tell them to this user.
    pub descriptors: Option<Descriptors>,
}

/// What everybody on the machine cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MachineCost {
    /// Processors that server and tool may use.
    pub processors: usize,
    /// Milliseconds of processor time a second. Time that a host gave to other machines counts.
    pub cpu_ms_per_s: f64,
    /// Memory that could still be had at the end of the measured time.
    pub memory_available_bytes: u64,
}

/// How the server's own figures changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FiguresDiff {
    /// At the beginning of the measured time.
    pub before: Figures,
    /// At its end.
    pub after: Figures,
    /// Transactions a second.
    pub commits_per_s: f64,
    /// What went into one, on average.
    pub mean_batch: Option<f64>,
    /// How long one took, on average, in milliseconds.
    pub mean_commit_ms: Option<f64>,
    /// Writes to sockets a second, where the server counts them.
    pub writes_per_s: Option<f64>,
    /// Bytes written to sockets a second, where the server counts them.
    pub written_bytes_per_s: Option<f64>,
}

impl FiguresDiff {
    /// The two were told so many seconds apart.
    pub(crate) fn new(before: Figures, after: Figures, seconds: f64) -> Self {
        let commits = after.commits - before.commits;
        let each = |total: f64| (commits > 0.0).then(|| total / commits);
        Self {
            before,
            after,
            commits_per_s: commits / seconds,
            mean_batch: each(after.committed_items - before.committed_items),
            mean_commit_ms: each((after.commit_seconds - before.commit_seconds) * 1000.0),
            writes_per_s: grown(before.writes, after.writes).map(|writes| writes / seconds),
            written_bytes_per_s: grown(before.written_bytes, after.written_bytes)
                .map(|bytes| bytes / seconds),
        }
    }
}

fn grown(before: Option<f64>, after: Option<f64>) -> Option<f64> {
    Some(after? - before?)
}

/// What this process cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ToolCost {
    /// Milliseconds of processor time a second.
    pub cpu_ms_per_s: f64,
}

/// All connections dropped and came back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Storms {
    /// How often.
    pub storms: u32,
    /// Over how long the users came back, in seconds.
    pub within_seconds: f64,
    /// Connections that were dropped, in all.
    pub dropped: u64,
    /// From the moment that a user knocks again until every room is caught up with.
    pub resume: Latency,
    /// The longest time from a drop until all users were back, in milliseconds; `None` where some never were.
    pub whole_ms: Option<f64>,
    /// Tries to connect that were refused or failed.
    pub refused: u64,
}

/// What is wrong. A good run has zeros everywhere, but for `refusals`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Numbers that some connection should have seen and has not, in all.
    pub lost: u64,
    /// Of `lost`, those behind which nothing came: they may have been on their way still.
    pub lost_last: u64,
    /// Numbers that came twice.
    pub doubled: u64,
    /// Numbers and acks that came after later ones.
    pub out_of_order: u64,
    /// Sends that were never acked.
    pub acks_missing: u64,
    /// Of `acks_missing`, those behind which nothing was acked: they may have been on their way still.
    pub acks_missing_last: u64,
    /// Acks for nothing.
    pub acks_doubled: u64,
    /// Numbers of rooms that are the ack of no send, or of two.
    pub numbers_unaccounted: u64,
    /// Deliveries, of those that were looked at, that are not what was sent.
    pub altered: u64,
    /// Connections that ended unasked.
    pub connections_lost: u64,
    /// Sends that were refused for good.
    pub refused: u64,
    /// Sends that the tool held back since 1,024 of their user had no ack.
    pub held_back: u64,
    /// What else the protocol forbids.
    pub protocol: u64,
    /// Errors by their code. Those after which a send is sent again are not wrong by themselves.
    pub refusals: BTreeMap<String, u64>,
    /// The first of what is wrong, for a person.
    pub faults: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub const fn is_good(&self) -> bool {
        self.lost == 0
            && self.doubled == 0
            && self.out_of_order == 0
            && self.acks_missing == 0
            && self.acks_doubled == 0
            && self.numbers_unaccounted == 0
            && self.altered == 0
            && self.connections_lost == 0
            && self.refused == 0
            && self.held_back == 0
            && self.protocol == 0
    }
}

/// A quotient for a person to read.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts are far below 2^53, and nobody reads more digits than three"
)]
pub(crate) const fn ratio(dividend: u64, divisor: u64) -> f64 {
    dividend as f64 / divisor as f64
}
