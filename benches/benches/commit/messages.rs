//! What is written: messages with keys, as clients send them, no two with the same key.

use std::time::SystemTime;

use chat_benches::TEXT_BYTES;
use chat_core::{
    Draft, Identity,
    ids::{Epoch, RoomId, RoomNo, Timestamp, UserId},
    rights::{Actor, Role, Visibility},
    store::{Append, Change, Created, NewRoom, Require, RoomKind, Store},
};

/// Rooms of two users each, for the group `commit/rooms`.
pub(crate) const PAIRS: usize = 2500;

pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap())
}

pub(crate) fn text() -> String {
    "x".repeat(TEXT_BYTES)
}

/// A room, and whoever writes there.
pub(crate) struct Room {
    pub(crate) no: RoomNo,
    /// Its newest event.
    pub(crate) last_seq: i64,
    authors: Vec<Actor>,
}

/// One room, one author.
pub(crate) async fn lobby(store: &dyn Store) -> Vec<Room> {
    vec![new_room(store, "lobby", Visibility::Public, &["ann".to_owned()], Vec::new()).await]
}

/// Users who talk in pairs.
pub(crate) async fn pairs(store: &dyn Store) -> Vec<Room> {
    let mut rooms = Vec::new();
    for pair in 0..PAIRS {
        let names = [0, 1].map(|one| format!("user-{:05}", 2 * pair + one));
        let users = [0, 1].map(|one| Identity::new(&names[one]).unwrap().user);
        let members = users.into_iter().zip([Role::Manager, Role::Member]).collect();
        rooms.push(new_room(store, &format!("pair-{pair:05}"), Visibility::Private, &names, members).await);
    }
    rooms
}

async fn new_room(
    store: &dyn Store,
    id: &str,
    visibility: Visibility,
    authors: &[String],
    members: Vec<(UserId, Role)>,
) -> Room {
    let authors: Vec<_> = authors.iter().map(|author| Identity::new(author).unwrap().actor()).collect();
    let last_seq = i64::try_from(members.len()).unwrap();
    let room = NewRoom {
        id: RoomId::new(id).unwrap(),
        epoch: Epoch::from_random(1),
        kind: RoomKind::Group,
        visibility,
        name: id.into(),
        topic: "".into(),
        creator: authors[0].user.clone(),
        members,
        at: now(),
    };
    match store.create_room(room, PAIRS as u64).await.unwrap() {
        Created::New(room) => Room { no: room.no, last_seq, authors },
        Created::Exists(_) | Created::Full => unreachable!("each is made once, and all are allowed"),
    }
}

/// A message as a floor writes it.
pub(crate) struct Row {
    /// Which of the rooms.
    pub(crate) room: usize,
    pub(crate) author: UserId,
    pub(crate) key: String,
}

/// Messages to rooms and from their authors, by chance.
pub(crate) struct Messages {
    rooms: Vec<Room>,
    next_key: u64,
    /// State of a generator of random numbers (xorshift64; Marsaglia, "Xorshift RNGs", 2003).
    random: u64,
}

impl Messages {
    pub(crate) const fn to(rooms: Vec<Room>) -> Self {
        Self { rooms, next_key: 0, random: 0x9E37_79B9_7F4A_7C15 }
    }

    fn random_below(&mut self, end: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % end as u64).unwrap()
    }

    fn next(&mut self) -> (usize, Actor, String) {
        let room = self.random_below(self.rooms.len());
        let author = self.random_below(self.rooms[room].authors.len());
        let key = format!("{:016x}", self.next_key);
        self.next_key += 1;
        (room, self.rooms[room].authors[author].clone(), key)
    }

    pub(crate) fn rows(&mut self, count: usize) -> Vec<Row> {
        let row = |(room, author, key): (usize, Actor, String)| Row { room, author: author.user, key };
        (0..count).map(|_| row(self.next())).collect()
    }

    pub(crate) fn batch(&mut self, count: usize) -> Vec<Append> {
        let text = text();
        let append = |_| {
            let (room, actor, key) = self.next();
            Append {
                room: self.rooms[room].no,
                actor,
                at: now(),
                change: Change::Message(Draft::text(text.as_str()).key(key)),
                require: Require::default(),
            }
        };
        (0..count).map(append).collect()
    }
}
