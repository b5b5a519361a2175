//! Work that waits for a thread with a connection.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
    mpsc::{Receiver, SyncSender, sync_channel},
};

use chat_core::store::StoreError;
use rusqlite::Connection;
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    oneshot::{self, error::RecvError},
};

use super::fault::{Failure, Health};

/// Pieces of work that wait for one kind of thread. Past it callers wait for a place: the engine hands in one batch at
/// a time and reads at most 16 pages at once, so that this is only a bound.
const QUEUE_MAX: usize = 64;

/// Why nobody did the work.
#[derive(Debug, thiserror::Error)]
enum Down {
    #[error("the database is being opened again after a failure")]
    Recovering,
    #[error("the work was dropped before it was done")]
    Dropped(#[source] RecvError),
}

/// A piece of work that answers by itself. Dropped undone, it answers [`StoreError::Unavailable`].
pub(super) struct Job {
    work: Box<dyn FnOnce(&mut Connection) -> Health + Send>,
    _place: OwnedSemaphorePermit,
}

impl Job {
    /// Does the work and answers.
    pub(super) fn run(self, conn: &mut Connection) -> Health {
        (self.work)(conn)
    }
}

/// The callers' end of a queue; its threads end when it is dropped.
pub(super) struct Queue {
    jobs: SyncSender<Job>,
    places: Arc<Semaphore>,
    serving: Arc<AtomicBool>,
}

impl Queue {
    /// A queue, and the end where its threads take the work from. While `serving` is false it takes none.
    pub(super) fn new(serving: Arc<AtomicBool>) -> (Self, Receiver<Job>) {
        let (jobs, taken) = sync_channel(QUEUE_MAX);
        (Self { jobs, places: Arc::new(Semaphore::new(QUEUE_MAX)), serving }, taken)
    }

    /// Has `work` done, after all that was handed in before.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(StoreError::unavailable)?;
        if !self.serving.load(Ordering::Acquire) {
            return Err(StoreError::unavailable(Down::Recovering));
        }
        let (answer, answered) = oneshot::channel();
        let work = Box::new(move |conn: &mut Connection| {
            let done = work(conn);
            let health = done.as_ref().err().map_or(Health::Sound, Failure::health);
            // Nobody waits any more where the caller's future was dropped.
            let _ = answer.send(done);
            health
        });
        // There is room for as many as there are places; a closed queue drops the job.
        let _ = self.jobs.try_send(Job { work, _place: place });
        let done = answered.await.map_err(|error| StoreError::unavailable(Down::Dropped(error)))?;
        done.map_err(StoreError::from)
    }
}
