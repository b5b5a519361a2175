//! The end of a server, known to all its tasks.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::TaskTracker,
};

/// All tasks of one server, and the one thing that they must hear of: the drain. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lifecycle(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tasks: TaskTracker,
    /// Set before `drain` goes off: whoever is woken by it finds the times.
    times: OnceLock<DrainTimes>,
    drain: CancellationToken,
}

/// When a drain must be through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DrainTimes {
    /// Until here a connection may take to answer what it was asked; then it is closed all the same.
    pub(crate) answer_by: Instant,
    /// Until here everything must be over.
    pub(crate) end_by: Instant,
}

impl Lifecycle {
    /// Runs a task that a drain waits for. The task sees to it that it ends by [`DrainTimes::end_by`].
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(task);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain_times().is_some()
    }

    /// The times of the drain; `None` while there is none.
    pub(crate) fn drain_times(&self) -> Option<DrainTimes> {
        self.0.times.get().copied()
    }

    /// Ready once a drain begins.
    pub(crate) fn drain_begins(&self) -> WaitForCancellationFutureOwned {
        self.0.drain.clone().cancelled_owned()
    }

    /// Goes on with a task until the end of the drain that has begun; `None` where it takes longer.
    pub(crate) async fn within_drain<T>(&self, task: impl Future<Output = T>) -> Option<T> {
        let drain = self.drain_times()?;
        tokio::time::timeout_at(drain.end_by, task).await.ok()
    }

    /// Tells all tasks to come to their end within `limit`, and waits for them.
    pub(crate) async fn drain(&self, limit: Duration) {
        let now = Instant::now();
        let times = DrainTimes { answer_by: now + limit * 4 / 5, end_by: now + limit };
        let times = self.0.times.get_or_init(|| times);
        self.0.drain.cancel();
        self.0.tasks.close();
        if tokio::time::timeout_at(times.end_by, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.0.tasks.len(), "the drain took too long");
        }
    }
}
