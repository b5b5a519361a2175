//! Takes away what deleted rooms leave behind.

use std::sync::{Arc, Weak};

use tokio::{sync::Notify, time::timeout};

use super::{
    Inner,
    fault::Failure,
    limits::SWEEP_PAUSE,
    rows::Columns,
    session::{Begin, Client, Question, begin, commit, execute_all, rollback},
};

/// One deleted room that nobody else is at.
const NEXT: &str = "SELECT room FROM tombstones ORDER BY room LIMIT 1 FOR UPDATE SKIP LOCKED";

/// Most rows of each table in one transaction: some 50 ms, so that a sweep holds up nobody's disk for long.
macro_rules! delete_some {
    ($table:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE ctid = ANY(ARRAY(SELECT ctid FROM ",
            $table,
            " WHERE room = $1 LIMIT 5000))"
        )
    };
}

/// The tables in which rows hang on a room's number.
const DELETE_SOME: [&str; 5] = [
    delete_some!("events"),
    delete_some!("room_changes"),
    delete_some!("reactions"),
    delete_some!("members"),
    delete_some!("read_marks"),
];

/// Whether there is more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swept {
    Some,
    /// Nothing is left, or others are at it.
    All,
}

/// The bell of the one task of a store that sweeps; the task ends with it.
#[derive(Debug, Default)]
pub(super) struct Sweeper(Arc<Notify>);

impl Sweeper {
    /// Starts the task, for its first round.
    pub(super) fn start(&self, store: Weak<Inner>) {
        tokio::spawn(sweep(store, Arc::clone(&self.0)));
        self.ring();
    }

    /// There may be something to do.
    pub(super) fn ring(&self) {
        self.0.notify_one();
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.ring();
    }
}

/// Where a step fails, the next attempt comes after a pause, or when the bell rings.
async fn sweep(store: Weak<Inner>, bell: Arc<Notify>) {
    loop {
        bell.notified().await;
        loop {
            let Some(store) = store.upgrade() else { return };
            match store.change(|client, _| Box::pin(step(client))).await {
                Ok(Swept::Some) => {}
                Ok(Swept::All) => break,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a sweep is put off");
                    drop(store);
                    // Late or not, it is tried again.
                    drop(timeout(SWEEP_PAUSE, bell.notified()).await);
                }
            }
        }
    }
}

/// Takes some rows away.
async fn step(client: &Client) -> Result<Swept, Failure> {
    let next = Question { sql: NEXT, values: Vec::new() };
    let answers = begin(client, Begin::Write, &[next]).await?;
    let Some(room) = answers.iter().flatten().next() else {
        rollback(client).await?;
        return Ok(Swept::All);
    };
    let room: i64 = Columns::of(room).get()?;
    let question = |sql| Question { sql, values: vec![Box::new(room)] };
    let deleted = execute_all(client, &DELETE_SOME.map(question)).await?;
    if deleted.iter().all(|rows| *rows == 0) {
        execute_all(client, &[question("DELETE FROM tombstones WHERE room = $1")]).await?;
    }
    commit(client).await?;
    Ok(Swept::Some)
}
