//! How many deliveries are still missing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// Counts deliveries, and wakes who waits for the last of them. A clone is the same count.
#[derive(Debug, Default, Clone)]
pub struct Tally(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    missing: AtomicUsize,
    done: Notify,
}

impl Tally {
    /// From now on so many more are missing.
    pub fn expect(&self, deliveries: usize) {
        self.0.missing.fetch_add(deliveries, Ordering::Relaxed);
    }

    /// So many have arrived.
    ///
    /// # Panics
    /// Where more arrive than were missing: then something else is counted than was sent.
    pub fn arrived(&self, deliveries: usize) {
        let missing = self.0.missing.fetch_sub(deliveries, Ordering::AcqRel);
        assert!(deliveries <= missing, "{deliveries} came where {missing} were missing");
        if deliveries > 0 && deliveries == missing {
            self.0.done.notify_one();
        }
    }

    /// Waits for the last one.
    ///
    /// # Cancel safety
    /// A dropped wait loses nothing.
    pub async fn all_arrived(&self) {
        while self.0.missing.load(Ordering::Acquire) > 0 {
            self.0.done.notified().await;
        }
    }
}
