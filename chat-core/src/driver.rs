//! The one module that owns tasks, timers and clocks: it lets the state machines run.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    bell::Doorbell,
    bus::{Bus, BusEvent, Notice},
    hub::{Hub, run},
    ids::Timestamp,
    limits::{STORE_LOOK_PAUSE, STORE_READS_MAX},
    store::{Store, StoreError},
    time::Now,
};

/// Reads the clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(self) -> Now {
        // A wall clock before 1970 or after the year 292 million reads as its bound.
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX));
        Now { mono: self.start.elapsed(), wall }
    }

    fn instant(self, mono: Duration) -> Instant {
        self.start + mono
    }
}

/// The tasks of one engine; they end when it is dropped.
#[derive(Debug)]
pub(crate) struct Driver {
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What the tasks share.
#[derive(Debug, Clone)]
struct Shared {
    hub: Arc<Hub>,
    store: Arc<dyn Store>,
    bus: Option<Arc<dyn Bus>>,
    clock: Clock,
}

impl Driver {
    /// Starts the tasks on the runtime of the caller.
    pub(crate) fn spawn(
        hub: Arc<Hub>,
        store: Arc<dyn Store>,
        bus: Option<Arc<dyn Bus>>,
        clock: Clock,
    ) -> Self {
        let shared = Shared { hub, store, bus, clock };
        let mut tasks = vec![
            tokio::spawn(commits(shared.clone())),
            tokio::spawn(jobs(shared.clone())),
            tokio::spawn(timers(shared.clone())),
        ];
        if let Some(bus) = shared.bus.clone() {
            // The ear is there before the first room is: a notice that comes between would be missed.
            let subscription = bus.subscribe();
            tasks.push(tokio::spawn(notices(shared, subscription)));
        }
        Self { tasks }
    }
}

/// Waits for a bell, at most until a time.
async fn wait(bell: &Doorbell, clock: Clock, until: Option<Duration>) {
    let rung = poll_fn(|cx| bell.poll(cx));
    match until {
        // Which of the two it was does not matter: the caller looks at everything.
        Some(until) => drop(timeout_at(clock.instant(until), rung).await),
        None => rung.await,
    }
}

async fn commits(Shared { hub, store, bus, clock }: Shared) {
    loop {
        let notices = if let Some(rooms) = hub.poll_ends(clock.now()) {
            let ends = guarded(store.ends(rooms)).await.flatten();
            hub.handle_ends(clock.now(), ends)
        } else if let Some(batch) = hub.poll_batch(clock.now()) {
            let began = Instant::now();
            let outcomes = guarded(store.append(batch)).await.flatten();
            hub.handle_outcomes(clock.now(), began.elapsed(), outcomes)
        } else {
            wait(&hub.commit_bell, clock, hub.poll_commit_timeout()).await;
            continue;
        };
        for notice in notices {
            publish(bus.as_ref(), notice);
        }
    }
}

async fn jobs(Shared { hub, store, clock, .. }: Shared) {
    let permits = Arc::new(Semaphore::new(STORE_READS_MAX));
    loop {
        let Some(task) = hub.poll_task() else {
            poll_fn(|cx| hub.task_bell.poll(cx)).await;
            continue;
        };
        let permit = permits.clone().acquire_owned().await.expect("nobody closes the semaphore");
        let (hub, store) = (hub.clone(), store.clone());
        tokio::spawn(async move {
            let done = guarded(run(&*store, &hub.limits, &task, clock.now(), random())).await;
            let done = done.unwrap_or_else(|error| task.failed(error));
            hub.handle_done(clock.now(), task, done);
            drop(permit);
        });
    }
}

/// A store that panics is a store that does not answer: whoever waits for it is told so.
async fn guarded<T>(call: impl Future<Output = T>) -> Result<T, StoreError> {
    let mut call = pin!(call);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(_) => Poll::Ready(Err(StoreError::unavailable("the store panicked"))),
    })
    .await
}

async fn timers(Shared { hub, clock, .. }: Shared) {
    loop {
        hub.handle_timeout(clock.now());
        wait(&hub.timer_bell, clock, hub.poll_timeout()).await;
    }
}

async fn notices(Shared { hub, clock, .. }: Shared, mut subscription: Box<dyn crate::bus::Subscription>) {
    let mut look = Instant::now();
    loop {
        match timeout_at(look, subscription.next()).await {
            Ok(BusEvent::Notice(notice)) => hub.handle_notice(clock.now(), &notice),
            Ok(BusEvent::Lost) => hub.handle_lost(),
            Ok(BusEvent::Closed) => return,
            Err(_) => {
                // A node that died between its commit and its notice tells nobody: a removal must not wait for that.
                hub.handle_lost();
                look = Instant::now() + STORE_LOOK_PAUSE;
            }
        }
    }
}

/// Runs something to its end, whoever stops waiting for it.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    tokio::spawn(work).await.ok()
}

/// Tells the other nodes, where there are any.
pub(crate) fn publish(bus: Option<&Arc<dyn Bus>>, notice: Notice) {
    if let Some(bus) = bus {
        bus.publish(notice);
    }
}

/// Waits until `done`, looked at every few milliseconds.
pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    const LOOK: Duration = Duration::from_millis(5);
    while !done() {
        sleep_until(Instant::now() + LOOK).await;
    }
}

/// 128 random bits of the operating system.
pub(crate) fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes to give");
    u128::from_le_bytes(bytes)
}
