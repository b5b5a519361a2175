//! Rooms and messages for the tests of every store.

use chat_core::{
    Draft,
    ids::{Epoch, RoomId, RoomNo, Seq, Timestamp, UserId},
    protocol::{Event, EventBody, HistoryFrom},
    rights::{Actor, Authority, Role, Visibility},
    store::{Append, Appended, Change, Created, NewRoom, Page, PageQuery, Require, RoomKind, Store},
};

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn ann() -> Actor {
    Actor { user: user("ann"), authority: Authority::User(Role::Member) }
}

/// A public room of this id, which ann manages.
pub(crate) fn new_room(id: &str) -> NewRoom {
    NewRoom {
        id: RoomId::new(id).unwrap(),
        epoch: Epoch::from_random(7),
        kind: RoomKind::Group,
        visibility: Visibility::Public,
        name: "a room".into(),
        topic: "".into(),
        creator: user("ann"),
        members: vec![(user("ann"), Role::Manager)],
        at: Timestamp(1),
    }
}

/// The same, made where there is none.
pub(crate) async fn room(store: &impl Store, id: &str) -> RoomNo {
    match store.create_room(new_room(id), 1000).await.unwrap() {
        Created::New(room) | Created::Exists(room) => room.no,
        Created::Full => panic!("the store is full"),
    }
}

pub(crate) fn change(room: RoomNo, change: Change) -> Append {
    Append { room, actor: ann(), at: Timestamp(2), change, require: Require::default() }
}

pub(crate) fn message(room: RoomNo, text: &str) -> Append {
    change(room, Change::Message(Draft::text(text)))
}

/// Commits one change; its number.
pub(crate) async fn commit(store: &impl Store, item: Append) -> Seq {
    let outcomes = store.append(vec![item]).await.unwrap();
    match outcomes.into_iter().next().unwrap().unwrap() {
        Appended::New(committed) => committed.event().seq,
        Appended::Duplicate { seq, .. } => seq,
    }
}

pub(crate) async fn page(store: &impl Store, room: RoomNo, from: HistoryFrom) -> Page {
    let query = PageQuery { room, reader: Some(ann()), from, limit: 500, bytes: 1 << 30, kinds: Vec::new() };
    store.page(query).await.unwrap().unwrap()
}

/// Every event of a room. The numbers are dense, or it panics.
pub(crate) async fn timeline(store: &impl Store, room: RoomNo) -> Vec<Event> {
    let mut events = Vec::<Event>::new();
    loop {
        let last = events.last().map_or(Seq::ZERO, |event| event.seq);
        let page = page(store, room, HistoryFrom::After(last)).await;
        events.extend(page.events);
        if !page.more {
            break;
        }
    }
    let numbers = events.iter().map(|event| event.seq.0);
    assert!(numbers.eq(1..=events.len() as u64), "the numbers have a hole");
    events
}

/// The key and the number of every message.
pub(crate) fn keys(events: &[Event]) -> Vec<(String, u64)> {
    let key = |event: &Event| match &event.body {
        EventBody::Message(message) => Some((message.key.as_deref()?.to_owned(), event.seq.0)),
        _ => None,
    };
    events.iter().filter_map(key).collect()
}
