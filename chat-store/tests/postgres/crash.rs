//! Processes that are killed: ours, and all of Postgres.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use chat_core::{
    Draft,
    ids::{RoomNo, Seq},
    store::{Appended, Change, Store, StoreError},
};
use chat_store::{
    PostgresStore,
    testing::{PostgresServer, postgres_database},
};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    child::{Sender, assert_kept, sender},
    support::{change, keys, open, room, timeline, until},
};

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let database = postgres_database();
    for round in 1..=3 {
        let sender = Sender::start(sender(database.url(), 100_000, 2000));
        let said =
            tokio::task::spawn_blocking(move || sender.kill_once(|said| said.acked.len() >= round * 50));
        let said = said.await.unwrap();
        let store = open(database.url()).await;
        let room = room(&store, "r").await;
        assert_kept(&timeline(&store, room).await, &said);
    }
}

/// A room into which one task sends one key after the other, each until it is acknowledged.
struct Sending {
    store: Arc<PostgresStore>,
    room: RoomNo,
    /// The number of each key that was acknowledged.
    acked: Mutex<BTreeMap<String, u64>>,
    unavailable: AtomicUsize,
    stop: AtomicBool,
}

impl Sending {
    async fn send_on(&self) {
        let mut end = None;
        while !self.stop.load(Relaxed) {
            let key = format!("k{}", self.acked.lock().unwrap().len());
            let batch = vec![change(self.room, Change::Message(Draft::text("text").key(key.as_str())))];
            match self.store.append(batch).await {
                Ok(outcomes) => {
                    let seq = match outcomes[0].as_ref().unwrap() {
                        Appended::New(committed) => {
                            let seq = committed.event().seq;
                            assert!(
                                end.is_none_or(|end: Seq| seq == end.next()),
                                "{seq:?} after {end:?} was told"
                            );
                            seq
                        }
                        Appended::Duplicate { seq, .. } => {
                            assert!(end.is_some_and(|end| *seq == end), "{seq:?} and {end:?} was told");
                            *seq
                        }
                    };
                    end = Some(seq);
                    self.acked.lock().unwrap().insert(key, seq.0);
                }
                Err(StoreError::Unavailable(_)) => {
                    self.unavailable.fetch_add(1, Relaxed);
                    end = Some(self.told_end().await);
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    /// Where the room ends, as soon as that is told. Nobody else sends into it: so the next number is the one after it.
    async fn told_end(&self) -> Seq {
        loop {
            match self.store.ends(vec![self.room]).await {
                Ok(ends) => return ends[0].unwrap(),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn until_sent(&self, more: usize) {
        let enough = self.acked.lock().unwrap().len() + more;
        until("enough is sent", async || self.acked.lock().unwrap().len() >= enough).await;
    }

    async fn until_unavailable(&self) {
        let before = self.unavailable.load(Relaxed);
        until("nothing is sent any more", async || self.unavailable.load(Relaxed) > before).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_dies_or_stands_still_in_the_midst_loses_nothing_and_every_end_that_is_told_is_true()
{
    let server = PostgresServer::start();
    let database = server.fresh_database();
    let store = Arc::new(open(database.url()).await);
    let (mut sendings, mut tasks) = (Vec::new(), JoinSet::new());
    for id in ["a", "b", "c", "d"] {
        let sending = Arc::new(Sending {
            room: room(&*store, id).await,
            store: Arc::clone(&store),
            acked: Mutex::default(),
            unavailable: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        sendings.push(Arc::clone(&sending));
        tasks.spawn(async move { sending.send_on().await });
    }
    for (round, sending) in sendings.iter().enumerate() {
        sending.until_sent(30).await;
        if round.is_multiple_of(2) {
            server.kill();
            server.start_again();
        } else {
            server.stop_answering();
            sending.until_unavailable().await;
            server.answer_again();
        }
    }
    for sending in &sendings {
        sending.until_sent(20).await;
        sending.stop.store(true, Relaxed);
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    for sending in &sendings {
        let events = timeline(&*store, sending.room).await;
        let kept = keys(&events);
        assert_eq!(kept.len(), events.len() - 1, "each key is there once");
        assert_eq!(kept.into_iter().collect::<BTreeMap<_, _>>(), *sending.acked.lock().unwrap());
    }
}
