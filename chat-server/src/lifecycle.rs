//! The end of a server, known to all its tasks.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::Context,
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

    /// What wakes a task of many when a drain begins.
    pub(crate) fn drain_signal(&self) -> DrainSignal {
        DrainSignal { begins: Box::pin(self.drain_begins()), registered: false }
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

/// Wakes one task when a drain begins. Whether one has begun is seen in [`Lifecycle::drain_times`].
pub(crate) struct DrainSignal {
    begins: Pin<Box<WaitForCancellationFutureOwned>>,
    registered: bool,
}

impl DrainSignal {
    /// Registers the task, the first time that it is called.
    ///
    /// Polling takes a lock that all connections share, and the waker of a spawned task stays the same: so once is
    /// enough, and each time would be too much.
    pub(crate) fn register(&mut self, cx: &mut Context<'_>) {
        if !self.registered {
            self.registered = true;
            let _ = self.begins.as_mut().poll(cx);
        }
    }
}

impl fmt::Debug for DrainSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainSignal").field("registered", &self.registered).finish_non_exhaustive()
    }
}
