//! A room under test, and short words for what is done to it.

use std::sync::{
    Mutex,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use super::model::Timeline;
use crate::{
    ids::{Epoch, RoomId, RoomNo, Seq, Timestamp, UserId},
    protocol::{Draft, Event, EventBody, EventKind, HistoryFrom, Json, MemberChange, Message, RoomPatch},
    rights::{Actor, Authority, Role, Standing, Visibility},
    store::{
        Append, Appended, Change, Created, NewRoom, NoPage, Page, PageQuery, Refused, Require, RoomKind,
        RoomRecord, RoomView, Store,
    },
};

/// What became of an item, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    /// Committed under this number.
    New(u64),
    /// A duplicate of this one.
    Was(u64),
    /// Refused.
    No(Refused),
}

/// Somebody who acts: an [`Actor`], or the name of a user who is nothing particular on the server.
pub(super) trait Who {
    fn actor(self) -> Actor;
}

impl Who for Actor {
    fn actor(self) -> Actor {
        self
    }
}

impl Who for &str {
    fn actor(self) -> Actor {
        on_server(self, Role::Member)
    }
}

pub(super) fn on_server(name: &str, role: Role) -> Actor {
    Actor { user: user(name), authority: Authority::User(role) }
}

pub(super) fn host() -> Actor {
    host_as("host")
}

/// The host in a user's name: reads everything, with that user's eyes.
pub(super) fn host_as(name: &str) -> Actor {
    Actor { user: user(name), authority: Authority::Host }
}

pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(super) fn room_id(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

/// A public room without members.
pub(super) fn public(id: &str) -> NewRoom {
    NewRoom {
        id: room_id(id),
        epoch: Epoch::from_text(&format!("epoch of {id}")),
        kind: RoomKind::Group,
        visibility: Visibility::Public,
        name: "A room".into(),
        topic: "".into(),
        creator: user("host"),
        members: Vec::new(),
        at: Timestamp(1_700_000_000_000),
    }
}

/// A private room with a manager `ann` and a member `bob`, who are its events 1 and 2.
pub(super) fn private(id: &str) -> NewRoom {
    let members = vec![(user("ann"), Role::Manager), (user("bob"), Role::Member)];
    NewRoom { visibility: Visibility::Private, members, ..public(id) }
}

pub(super) fn message(text: &str) -> Change {
    Change::Message(Draft::text(text))
}

pub(super) fn keyed(key: &str, text: &str) -> Change {
    Change::Message(Draft::text(text).key(key))
}

pub(super) fn edit(target: u64, text: &str) -> Change {
    Change::Edit { target: Seq(target), text: text.into() }
}

pub(super) const fn delete(target: u64) -> Change {
    Change::Delete { target: Seq(target) }
}

pub(super) fn react(target: u64, emoji: &str) -> Change {
    Change::React { target: Seq(target), emoji: emoji.into(), remove: false }
}

pub(super) fn unreact(target: u64, emoji: &str) -> Change {
    Change::React { target: Seq(target), emoji: emoji.into(), remove: true }
}

pub(super) fn stand(name: &str, standing: Standing) -> Change {
    Change::Member { user: user(name), standing }
}

pub(super) fn add(name: &str) -> Change {
    stand(name, Standing::Member(Role::Member))
}

pub(super) fn remove(name: &str) -> Change {
    stand(name, Standing::Outsider)
}

pub(super) fn ban(name: &str) -> Change {
    stand(name, Standing::Banned)
}

pub(super) fn rename(name: &str) -> Change {
    Change::Room(RoomPatch { name: Some(name.into()), ..RoomPatch::default() })
}

pub(super) fn turn(visibility: Visibility) -> Change {
    Change::Room(RoomPatch { visibility: Some(visibility), ..RoomPatch::default() })
}

pub(super) fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

pub(super) fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq.0).collect()
}

/// Everything after the start, read upwards.
pub(super) const ALL: HistoryFrom = HistoryFrom::After(Seq::ZERO);

pub(super) async fn earlier(store: &dyn Store, item: Append) -> (u64, Timestamp) {
    let outcomes = store.append(vec![item]).await.unwrap();
    match outcomes[0] {
        Ok(Appended::Duplicate { seq, at }) => (seq.0, at),
        _ => panic!("it is no duplicate: {outcomes:?}"),
    }
}

pub(super) async fn create(store: &dyn Store, new: NewRoom) -> Created {
    store.create_room(new, u64::MAX).await.unwrap()
}

pub(super) async fn view(store: &dyn Store, id: &str, name: &str) -> Option<RoomView> {
    store.room(room_id(id), user(name)).await.unwrap()
}

/// A room under test, with all that the store said to have committed to it.
pub(super) struct Stage<'a> {
    store: &'a dyn Store,
    pub(super) record: RoomRecord,
    clock: AtomicI64,
    committed: Mutex<Vec<Event>>,
}

impl<'a> Stage<'a> {
    /// Makes the room. Its first events are those that it was asked for.
    pub(super) async fn open(store: &'a dyn Store, new: NewRoom) -> Self {
        let members = (1..).map(Seq).zip(new.members.clone());
        let first = members.map(|(seq, (user, role))| Event {
            room: new.id.clone(),
            seq,
            at: new.at,
            from: new.creator.clone(),
            body: EventBody::Member { user, change: MemberChange::Added(role) },
        });
        let (committed, clock) = (Mutex::new(first.collect()), AtomicI64::new(new.at.0));
        match create(store, new).await {
            Created::New(record) => Self { store, record, clock, committed },
            other => panic!("the room is not new: {other:?}"),
        }
    }

    pub(super) const fn no(&self) -> RoomNo {
        self.record.no
    }

    /// An item, a second after the one before it.
    pub(super) fn by(&self, who: impl Who, change: Change) -> Append {
        let at = Timestamp(self.clock.fetch_add(1000, Relaxed) + 1000);
        Append { room: self.no(), actor: who.actor(), at, change, require: Require::default() }
    }

    /// Hands in a batch.
    pub(super) async fn append<const N: usize>(&self, batch: [Append; N]) -> [Got; N] {
        self.append_all(batch.to_vec()).await.try_into().unwrap()
    }

    pub(super) async fn append_all(&self, batch: Vec<Append>) -> Vec<Got> {
        let outcomes = self.store.append(batch.clone()).await.unwrap();
        assert_eq!(outcomes.len(), batch.len(), "one outcome an item");
        batch.iter().zip(outcomes).map(|(item, outcome)| self.got(item, outcome)).collect()
    }

    /// Hands in a batch of one.
    pub(super) async fn one(&self, who: impl Who, change: Change) -> Got {
        let [got] = self.append([self.by(who, change)]).await;
        got
    }

    /// Changes something that must be accepted: its number.
    pub(super) async fn make(&self, who: impl Who, change: Change) -> u64 {
        match self.one(who, change.clone()).await {
            Got::New(seq) => seq,
            got => panic!("{change:?} was not accepted: {got:?}"),
        }
    }

    /// Remembers what was committed; an event must say what was asked.
    pub(super) fn got(&self, item: &Append, outcome: Result<Appended, Refused>) -> Got {
        let committed = match outcome {
            Err(refused) => return Got::No(refused),
            Ok(Appended::Duplicate { seq, .. }) => return Got::Was(seq.0),
            Ok(Appended::New(committed)) => committed,
        };
        let event = &**committed.event();
        assert_eq!(committed.room(), self.no(), "{event:?}");
        assert_eq!((&event.room, event.at, &event.from), (&self.record.id, item.at, &item.actor.user));
        assert!(says(&event.body, &item.change), "{event:?} is not what was asked: {:?}", item.change);
        self.committed.lock().unwrap().push(event.clone());
        Got::New(event.seq.0)
    }

    /// Everything committed so far, in order of numbers, which must be dense.
    pub(super) fn timeline(&self) -> Vec<Event> {
        let mut events = self.committed.lock().unwrap().clone();
        events.sort_by_key(|event| event.seq);
        assert_eq!(numbers(&events), (1..=events.len() as u64).collect::<Vec<_>>(), "numbers are dense");
        events
    }

    /// The whole room, as far as one may read it.
    pub(super) fn query(&self, reader: Option<Actor>) -> PageQuery {
        let (limit, bytes) = (usize::MAX, usize::MAX);
        PageQuery { room: self.no(), reader, from: ALL, limit, bytes, kinds: Vec::new() }
    }

    /// Reads a page.
    pub(super) async fn page(&self, query: PageQuery) -> Result<Page, NoPage> {
        self.store.page(query).await.unwrap()
    }

    /// Reads the whole room as this reader.
    pub(super) async fn read(&self, who: impl Who) -> Page {
        self.page(self.query(Some(who.actor()))).await.unwrap()
    }

    /// The events of these kinds that are kept, as they now are for `name`.
    pub(super) async fn kinds(&self, name: &str, kinds: &[EventKind]) -> Vec<Event> {
        let query = PageQuery { kinds: kinds.to_vec(), ..self.query(Some(host_as(name))) };
        self.page(query).await.unwrap().events
    }

    /// One message as it now is for `name`.
    pub(super) async fn message(&self, name: &str, seq: u64) -> Message {
        let events = self.kinds(name, &[EventKind::Message]).await;
        match events.into_iter().find(|event| event.seq == Seq(seq)).map(|event| event.body) {
            Some(EventBody::Message(message)) => message,
            other => panic!("{seq} is no message: {other:?}"),
        }
    }

    /// Holds a page against the naive reading.
    pub(super) async fn check_page(&self, query: &PageQuery, first: Seq, end: Option<Seq>) {
        let timeline = self.timeline();
        let mut page = self.page(query.clone()).await.unwrap();
        page.events.iter_mut().for_each(forget_edits_of_deleted);
        let (events, more) = Timeline(&timeline).page(query, first, end);
        let last_seq = timeline.last().map_or(Seq::ZERO, |event| event.seq);
        assert_eq!(page, Page { events, more, first_seq: first, last_seq, end }, "{query:?}");
    }

    /// Holds all that the store has of the room against what it said to have committed.
    pub(super) async fn check(&self) {
        let last_seq = self.timeline().last().map_or(Seq::ZERO, |event| event.seq);
        assert_eq!(self.store.ends(vec![self.no()]).await.unwrap(), [Some(last_seq)]);
        for reader in [None, Some(host_as("ann")), Some(host_as("bob"))] {
            self.check_page(&self.query(reader), Seq(1), None).await;
        }
    }

    /// The room as `name` sees it.
    pub(super) async fn view(&self, name: &str) -> RoomView {
        view(self.store, self.record.id.as_str(), name).await.unwrap()
    }

    pub(super) async fn standing(&self, name: &str) -> Standing {
        self.view(name).await.standing
    }
}

/// Whether the event is what the change asked for. What is new of a patch is for the cases of patches to look at.
fn says(body: &EventBody, change: &Change) -> bool {
    match (change, body) {
        (Change::Message(draft), EventBody::Message(message)) => {
            let Draft { text, key, reply_to, meta } = draft.clone();
            *message == Message { text: Some(text), key, reply_to, meta, ..Message::default() }
        }
        (Change::Edit { target, text }, EventBody::Edited { target: of, text: now }) => {
            target == of && now.as_ref() == Some(text)
        }
        (Change::Delete { target }, EventBody::Deleted { target: of }) => target == of,
        (Change::React { .. }, EventBody::Reaction { target, emoji, remove }) => {
            *change == Change::React { target: *target, emoji: emoji.clone(), remove: *remove }
        }
        (Change::Member { user, standing }, EventBody::Member { user: of, change }) => {
            let now = match change {
                MemberChange::Added(role) | MemberChange::Role(role) => Standing::Member(*role),
                MemberChange::Removed => Standing::Outsider,
                MemberChange::Banned => Standing::Banned,
            };
            (user, *standing) == (of, now)
        }
        (Change::Room(_), EventBody::Room(_)) => true,
        _ => false,
    }
}

fn forget_edits_of_deleted(event: &mut Event) {
    if let EventBody::Message(message) = &mut event.body
        && message.is_deleted()
    {
        message.edited_at = None;
    }
}
