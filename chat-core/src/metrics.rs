//! What the engine counts, by the names of the Prometheus convention; times in seconds.
//!
//! Handles are made once, after the embedding service has installed its recorder: a cached counter costs 10 ns, a look-up
//! by name 77.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, Unit};

use crate::protocol::ErrorCode;

/// What an engine has done since it was built, for whoever reckons what it can bear.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Messages that were committed.
    pub messages: u64,
    /// Transactions of the store.
    pub commits: u64,
    /// What went into them.
    pub items: u64,
    /// How long they took, all together.
    pub commit_time: Duration,
    /// Messages handed to connections other than the sender's.
    pub deliveries: u64,
}

/// The same as it grows: figures that were recorded cannot be read back.
#[derive(Debug, Default)]
struct Sums {
    messages: AtomicU64,
    commits: AtomicU64,
    items: AtomicU64,
    commit_ns: AtomicU64,
    deliveries: AtomicU64,
}

fn add(sum: &AtomicU64, n: u64) {
    sum.fetch_add(n, Ordering::Relaxed);
}

/// Handles of everything that is counted.
pub(crate) struct Metrics {
    sums: Sums,
    received: Counter,
    committed: Counter,
    delivered: Counter,
    commit_seconds: Histogram,
    batch_size: Histogram,
    delivery_seconds: Histogram,
    ack_seconds: Histogram,
    send_failures: Vec<Counter>,
    errors: Vec<Counter>,
    rooms: Gauge,
    slow: Gauge,
    queue: Gauge,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Handles of the recorder that is installed now.
    pub(crate) fn new() -> Self {
        describe();
        let by_code = |name: &'static str, label: &'static str| {
            ErrorCode::ALL.iter().map(|code| metrics::counter!(name, label => code.as_str())).collect()
        };
        Self {
            sums: Sums::default(),
            received: metrics::counter!("chat_messages_received_total"),
            committed: metrics::counter!("chat_messages_committed_total"),
            delivered: metrics::counter!("chat_messages_delivered_total"),
            commit_seconds: metrics::histogram!("chat_commit_seconds"),
            batch_size: metrics::histogram!("chat_commit_batch_size"),
            delivery_seconds: metrics::histogram!("chat_delivery_seconds"),
            ack_seconds: metrics::histogram!("chat_ack_seconds"),
            send_failures: by_code("chat_send_failures_total", "reason"),
            errors: by_code("chat_errors_total", "code"),
            rooms: metrics::gauge!("chat_rooms_active"),
            slow: metrics::gauge!("chat_slow_consumers"),
            queue: metrics::gauge!("chat_commit_queue_depth"),
        }
    }

    /// What was counted till now.
    pub(crate) fn tally(&self) -> Tally {
        let sum = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        Tally {
            messages: sum(&self.sums.messages),
            commits: sum(&self.sums.commits),
            items: sum(&self.sums.items),
            commit_time: Duration::from_nanos(sum(&self.sums.commit_ns)),
            deliveries: sum(&self.sums.deliveries),
        }
    }

    pub(crate) fn received(&self) {
        self.received.increment(1);
    }

    pub(crate) fn committed(&self, messages: usize) {
        add(&self.sums.messages, messages as u64);
        self.committed.increment(messages as u64);
    }

    pub(crate) fn delivered(&self, messages: usize) {
        add(&self.sums.deliveries, messages as u64);
        self.delivered.increment(messages as u64);
    }

    pub(crate) fn batch(&self, items: usize, took: Duration) {
        add(&self.sums.commits, 1);
        add(&self.sums.items, items as u64);
        add(&self.sums.commit_ns, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most some thousand items")]
        self.batch_size.record(items as f64);
        self.commit_seconds.record(took);
    }

    pub(crate) fn delivered_all(&self, took: Duration) {
        self.delivery_seconds.record(took);
    }

    pub(crate) fn acked(&self, took: Duration) {
        self.ack_seconds.record(took);
    }

    pub(crate) fn send_failed(&self, code: ErrorCode) {
        count(&self.send_failures, code);
    }

    pub(crate) fn error(&self, code: ErrorCode) {
        count(&self.errors, code);
    }

    #[expect(clippy::cast_precision_loss, reason = "a process has fewer than 2^53 rooms")]
    pub(crate) fn rooms(&self, rooms: usize) {
        self.rooms.set(rooms as f64);
    }

    pub(crate) fn slow_readers(&self, change: f64) {
        self.slow.increment(change);
    }

    #[expect(clippy::cast_precision_loss, reason = "the queue has a bound far below 2^53")]
    pub(crate) fn queue(&self, depth: usize) {
        self.queue.set(depth as f64);
    }
}

fn count(counters: &[Counter], code: ErrorCode) {
    let index = ErrorCode::ALL.iter().position(|known| *known == code);
    if let Some(counter) = index.and_then(|index| counters.get(index)) {
        counter.increment(1);
    }
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!("chat_messages_received_total", "Messages that senders have handed in.");
    describe_counter!("chat_messages_committed_total", "Messages that the store has committed.");
    describe_counter!(
        "chat_messages_delivered_total",
        "Messages handed to sockets, the sender's own left out."
    );
    describe_histogram!("chat_commit_seconds", Unit::Seconds, "Time of one transaction of the store.");
    describe_histogram!("chat_commit_batch_size", "Items of one transaction.");
    describe_histogram!(
        "chat_delivery_seconds",
        Unit::Seconds,
        "From the receipt of the first of what was told to a room together, until the last of its live readers was handed it."
    );
    describe_histogram!(
        "chat_ack_seconds",
        Unit::Seconds,
        "From a command's receipt to its ack's place in the stream."
    );
    describe_counter!("chat_send_failures_total", "Sends that were not committed, by reason.");
    describe_counter!(
        "chat_shed_total",
        "What is told but not kept and was told to nobody under strain, by kind."
    );
    describe_counter!("chat_errors_total", "Error replies, by code.");
    describe_gauge!("chat_rooms_active", "Rooms in memory.");
    describe_gauge!("chat_slow_consumers", "Readers that fell off the live tail and are fed from the store.");
    describe_gauge!("chat_commit_queue_depth", "Appends that wait for a commit or are in one.");
}
