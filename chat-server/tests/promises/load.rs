//! Clients that keep a room busy.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::{task::JoinHandle, time::Instant};

use super::{
    checker::Log,
    peer::{Peer, Wire},
    program::{DEADLINE, Program},
};

/// Senders at work on one room. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Load {
    acked: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
}

impl Load {
    /// Has so many users join a room and send, until they are told to stop or their connections end.
    pub(crate) async fn start(program: &Program, room: &str, users: usize) -> (Self, Vec<JoinHandle<Log>>) {
        let load = Self::default();
        let mut senders = Vec::new();
        for n in 0..users {
            let mut peer = Peer::connect(program.address, &format!("sender{n}"), Wire::nth(n)).await;
            peer.join(room).await;
            let (load, room) = (load.clone(), room.to_owned());
            senders.push(tokio::spawn(async move {
                load.pour(&mut peer, &room, &Pour::default()).await;
                peer.log()
            }));
        }
        (load, senders)
    }

    /// Sends without a pause, a few at a time without an answer, and hears what comes: until all is answered, or the
    /// connection ends.
    pub(crate) async fn pour(&self, peer: &mut Peer, room: &str, pour: &Pour) {
        let mut left = pour.most;
        loop {
            let is_over = left == 0 || self.stopped.load(Ordering::Relaxed);
            if is_over && peer.unanswered() == 0 {
                return;
            }
            while !is_over && left > 0 && peer.unanswered() < pour.unanswered_max {
                left -= 1;
                if peer.say(room, &pour.text).await.is_none() {
                    break; // what came before the end is still to be heard
                }
            }
            match peer.hear().await {
                None => return,
                Some(frame) if frame["type"] == "ack" => {
                    self.acked.fetch_add(1, Ordering::Relaxed);
                }
                Some(_) => {}
            }
        }
    }

    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Waits until so many sends were acked.
    pub(crate) async fn reach(&self, acked: u64) {
        let begun = Instant::now();
        while self.acked() < acked {
            assert!(begun.elapsed() < DEADLINE, "only {} of {acked} are acked", self.acked());
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }

    /// Has the senders stop, once all that they sent is answered.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// How a sender sends.
#[derive(Debug, Clone)]
pub(crate) struct Pour {
    /// How many in all.
    pub(crate) most: u64,
    /// How many at a time.
    pub(crate) unanswered_max: usize,
    pub(crate) text: String,
}

impl Default for Pour {
    fn default() -> Self {
        Self { most: u64::MAX, unanswered_max: 32, text: "hello".to_owned() }
    }
}

/// The logs of clients that are through, in one.
pub(crate) async fn gather(clients: impl IntoIterator<Item = JoinHandle<Log>>) -> Log {
    let mut all = Log::default();
    for client in clients {
        all.extend(tokio::time::timeout(DEADLINE, client).await.expect("clients come to an end").unwrap());
    }
    all
}
