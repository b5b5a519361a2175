//! An engine with one room, and another node over the same store.

use chat_core::{
    Draft, Engine, Identity, Limits, NewRoomOutcome, RoomDraft, RoomId,
    bus::{Bus, LocalBus, Notice},
    ids::{RoomNo, Timestamp},
    rights::{Actor, Visibility},
    store::{Append, Appended, Change, MemoryStore, Require, Store},
};

use crate::{ROOM, TEXT_BYTES, limits};

/// An engine with one room, and what another node over the same store would do.
///
/// Events come as those of another node do: committed to the store in memory, and told over the bus, as many as there
/// are in one notice. A `send` would wait for the commit's pace, some milliseconds in which nothing is done.
#[derive(Debug)]
pub struct House {
    /// The engine whose sessions get the events.
    pub engine: Engine,
    store: MemoryStore,
    bus: LocalBus,
    room: RoomNo,
    ann: Actor,
}

impl House {
    /// A house with a room in which nobody is.
    pub async fn build() -> Self {
        Self::with_limits(limits()).await
    }

    /// The same under other limits.
    pub async fn with_limits(limits: Limits) -> Self {
        let (store, bus, ann) = (MemoryStore::new(), LocalBus::new(), Identity::new("ann").unwrap());
        let engine = Engine::builder(store.clone()).bus(bus.clone()).limits(limits).build().await.unwrap();
        let lobby = RoomDraft::group(Visibility::Public).id(ROOM.parse().unwrap());
        let NewRoomOutcome::New(view) = engine.create_room(&ann, lobby).await.unwrap() else {
            unreachable!("the store is new")
        };
        Self { engine, store, bus, room: view.room.no, ann: ann.actor() }
    }

    /// Commits so many events in one transaction, and tells the engine.
    pub async fn commit(&self, events: usize) {
        let append = || Append {
            room: self.room,
            actor: self.ann.clone(),
            at: Timestamp(1_764_000_000_000),
            change: Change::Message(Draft::text("x".repeat(TEXT_BYTES))),
            require: Require::default(),
        };
        let batch = (0..events).map(|_| append()).collect();
        let outcomes = self.store.append(batch).await.unwrap().into_iter();
        let committed = outcomes.map(|outcome| match outcome {
            Ok(Appended::New(committed)) => committed,
            other => unreachable!("a message without a key is always new: {other:?}"),
        });
        self.bus.publish(Notice::Committed(committed.collect()));
    }

    /// Drops what was committed, so that a long run needs no more memory than a short one. Everybody must have it.
    pub async fn forget(&self) {
        let ends = self.store.ends(vec![self.room]).await.unwrap();
        if let [Some(last)] = *ends {
            self.engine.trim(&ROOM.parse::<RoomId>().unwrap(), last).await.unwrap();
        }
    }
}
