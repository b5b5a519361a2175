//! What is written: messages with keys, as clients send them, no two with the same key.

use std::time::SystemTime;

use chat_benches::TEXT_BYTES;
use chat_core::{
    Draft, Identity,
    ids::{Epoch, RoomId, RoomNo, Timestamp},
    rights::{Actor, Visibility},
    store::{Append, Change, Created, NewRoom, Require, RoomKind, Store},
};

/// Whoever writes them.
pub(crate) const AUTHOR: &str = "ann";

pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap())
}

pub(crate) fn text() -> String {
    "x".repeat(TEXT_BYTES)
}

pub(crate) async fn new_room(store: &dyn Store) -> RoomNo {
    let room = NewRoom {
        id: RoomId::new("lobby").unwrap(),
        epoch: Epoch::from_random(1),
        kind: RoomKind::Group,
        visibility: Visibility::Public,
        name: "The lobby".into(),
        topic: "".into(),
        creator: Identity::new(AUTHOR).unwrap().user,
        members: Vec::new(),
        at: now(),
    };
    match store.create_room(room, 1).await.unwrap() {
        Created::New(room) | Created::Exists(room) => room.no,
        Created::Full => unreachable!("it is the first room"),
    }
}

/// Messages to one room.
pub(crate) struct Messages {
    room: RoomNo,
    author: Actor,
    next_key: u64,
}

impl Messages {
    pub(crate) fn to(room: RoomNo) -> Self {
        Self { room, author: Identity::new(AUTHOR).unwrap().actor(), next_key: 0 }
    }

    pub(crate) fn keys(&mut self, count: usize) -> Vec<String> {
        let first = self.next_key;
        self.next_key += count as u64;
        (first..self.next_key).map(|key| format!("{key:016x}")).collect()
    }

    pub(crate) fn batch(&mut self, count: usize) -> Vec<Append> {
        let (text, room, actor) = (text(), self.room, self.author.clone());
        let append = |key: String| Append {
            room,
            actor: actor.clone(),
            at: now(),
            change: Change::Message(Draft::text(text.as_str()).key(key)),
            require: Require::default(),
        };
        self.keys(count).into_iter().map(append).collect()
    }
}
