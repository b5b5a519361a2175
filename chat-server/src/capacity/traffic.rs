//! What the process writes to sockets, counted for all its servers together, as its CPU time is.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Unit, counter, describe_counter};

static WRITES: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static OPENED: AtomicU64 = AtomicU64::new(0);
static CLOSED: AtomicU64 = AtomicU64::new(0);

/// What was written till now.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Times that a socket took something.
    pub writes: u64,
    /// How much it took.
    pub bytes: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// Of these, those that have ended.
    pub closed: u64,
}

/// A socket took something.
pub(crate) fn wrote(bytes: usize) {
    WRITES.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
}

/// A connection begins.
pub(crate) fn opened() {
    OPENED.fetch_add(1, Ordering::Relaxed);
}

/// A connection is over.
pub(crate) fn closed() {
    CLOSED.fetch_add(1, Ordering::Release);
}

pub(super) fn now() -> Traffic {
    // Those that are over first: else one could seem to be over before it began.
    let closed = CLOSED.load(Ordering::Acquire);
    Traffic {
        writes: WRITES.load(Ordering::Relaxed),
        bytes: BYTES.load(Ordering::Relaxed),
        opened: OPENED.load(Ordering::Acquire),
        closed,
    }
}

/// Puts what was written into the metrics: counting it there each time would take longer.
pub(crate) fn tell() {
    let Traffic { writes, bytes, .. } = now();
    counter!("chat_writes_total").absolute(writes);
    counter!("chat_written_bytes_total").absolute(bytes);
}

/// Says what the figures mean.
pub(crate) fn describe() {
    describe_counter!("chat_writes_total", "Writes to WebSocket connections that took something.");
    describe_counter!("chat_written_bytes_total", Unit::Bytes, "What they took, before TLS.");
}
