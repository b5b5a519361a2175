//! Whether the server is there.
//!
//! Once a call has got no answer in time, or no connection, the server is *away*: calls are refused at once, instead of
//! each of them waiting for as long as the first, and one task looks for the server until it answers.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio::time::{sleep, timeout};

use super::{
    Inner,
    fault::Failure,
    limits::{CALL_MAX, PROBE_PAUSE},
};

/// What is known of the server.
#[derive(Debug, Default)]
pub(super) struct Link {
    is_away: AtomicBool,
}

impl Link {
    /// Nothing is asked of a server that is away.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.is_away.load(Ordering::Acquire) { Err(Failure::Away) } else { Ok(()) }
    }
}

impl Inner {
    /// Nobody was there. From now on one task looks for the server, and nobody else.
    pub(super) fn lost(self: &Arc<Self>, failure: &Failure) {
        if self.link.is_away.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!(database = self.shown, error = failure as &dyn std::error::Error, "postgres is away");
        // What is left in the pools may lead nowhere.
        self.forget_connections();
        tokio::spawn(look_for(Arc::downgrade(self)));
    }
}

async fn look_for(store: Weak<Inner>) {
    let since = Instant::now();
    loop {
        // Where the store is gone, nobody looks any more.
        let Some(store) = store.upgrade() else { return };
        match timeout(CALL_MAX, store.probe()).await {
            Ok(Ok(())) => {
                tracing::info!(database = store.shown, after = ?since.elapsed(), "postgres is back");
                store.link.is_away.store(false, Ordering::Release);
                // One that was under way may have been put off.
                store.sweeper.ring();
                return;
            }
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "postgres is away still");
            }
            Err(_) => tracing::debug!("postgres is away still"),
        }
        drop(store);
        sleep(PROBE_PAUSE).await;
    }
}
