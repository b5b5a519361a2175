//! Rooms: made, listed, changed, deleted, and made again.

use super::{
    all,
    stage::{
        Got::{New, No, Was},
        Stage, Who, add, ban, create, host, host_as, json, keyed, message, on_server, private, public,
        remove, rename, room_id, user, view,
    },
};
use crate::{
    ids::{Epoch, Seq},
    protocol::{EventBody, MemberChange, RoomPatch},
    rights::{Role, Standing, Visibility},
    store::{Change, Created, NewRoom, NoPage, ReadMark, Refused, RoomKind, RoomRecord, Store},
};

/// A new room is what was asked for, at version 0, and empty.
pub async fn a_new_room_is_as_it_was_asked(store: &dyn Store) {
    assert_eq!(view(store, "r", "ann").await, None);
    for (id, kind, visibility) in
        [("r", RoomKind::Group, Visibility::Public), ("s", RoomKind::Direct, Visibility::Private)]
    {
        let new = NewRoom { kind, visibility, topic: "a topic".into(), ..public(id) };
        let room = Stage::open(store, new.clone()).await;
        let NewRoom { id, epoch, name, topic, .. } = new;
        let no = room.no();
        let (state, version, first_seq, last_seq) = (None, 0, Seq(1), Seq::ZERO);
        let asked =
            RoomRecord { no, id, epoch, kind, visibility, name, topic, state, version, first_seq, last_seq };
        assert_eq!(room.record, asked);
        let seen = room.view("ann").await;
        assert_eq!(
            (&seen.room, seen.standing, seen.read, seen.unread),
            (&asked, Standing::Outsider, Seq::ZERO, 0)
        );
        room.check().await;
    }
}

/// Its first members are `added` events from number 1, in the order given, by the creator.
pub async fn first_members_are_its_first_events(store: &dyn Store) {
    let members = [("zoe", Role::Member), ("ann", Role::Admin), ("bob", Role::Operator)];
    let new = NewRoom { members: members.map(|(name, role)| (user(name), role)).to_vec(), ..private("r") };
    let room = Stage::open(store, new.clone()).await;
    assert_eq!((room.record.first_seq, room.record.last_seq, room.record.version), (Seq(1), Seq(3), 0));
    let events = room.read("zoe").await.events;
    for (event, (name, role)) in events.iter().zip(members) {
        let body = EventBody::Member { user: user(name), change: MemberChange::Added(role) };
        assert_eq!((&event.from, event.at, &event.body), (&new.creator, new.at, &body));
        assert_eq!(room.standing(name).await, Standing::Member(role));
    }
    room.check().await;
    assert_eq!(room.one("zoe", message("next")).await, New(4));
}

/// A second room of one id is not made; the answer is the first as it now is.
pub async fn a_room_is_made_once(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    room.make("ann", rename("another name")).await;
    let again = NewRoom { epoch: Epoch::from_text("another"), ..public("r") };
    assert_eq!(create(store, again).await, Created::Exists(room.view("ann").await.room));
    assert_eq!(room.standing("bob").await, Standing::Member(Role::Member));
    room.check().await;
}

/// Of many who make one room at the same time one makes it, and all get the same.
pub async fn rooms_made_at_the_same_time_are_one(store: &dyn Store) {
    let new = |n: u128| NewRoom { epoch: Epoch::from_random(n), ..private("r") };
    let created = all((0..8).map(|n| store.create_room(new(n), 1)).collect()).await;
    let created: Vec<Created> = created.into_iter().map(Result::unwrap).collect();
    let mut made =
        created.iter().filter_map(|created| if let Created::New(room) = created { Some(room) } else { None });
    let room = made.next().unwrap();
    assert_eq!(made.count(), 0, "{created:?}");
    assert_eq!(
        created.iter().filter(|created| **created == Created::Exists(room.clone())).count(),
        7,
        "{created:?}"
    );
    assert_eq!(view(store, "r", "ann").await.unwrap().room, *room);
}

/// At the bound no room is made; those that are there are found all the same, and a deleted one makes place.
pub async fn a_store_is_full_at_the_bound(store: &dyn Store) {
    let create = async |id: &str, max| store.create_room(public(id), max).await.unwrap();
    assert_eq!(create("none", 0).await, Created::Full);
    let Created::New(one) = create("one", 2).await else { panic!("there is place for two") };
    assert!(matches!(create("two", 2).await, Created::New(_)));
    assert_eq!(create("three", 2).await, Created::Full);
    assert_eq!(view(store, "three", "ann").await, None);
    assert_eq!(create("one", 2).await, Created::Exists(one.clone()));
    store.delete_room(one.no, host()).await.unwrap().unwrap();
    assert!(matches!(create("three", 2).await, Created::New(_)));
    assert_eq!(create("four", 2).await, Created::Full);
}

/// An event says what is new about a room, and its version counts such events.
pub async fn a_patch_changes_what_is_new_and_counts(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let was = room.view("ann").await.room;
    let nothing = RoomPatch::default();
    let name = RoomPatch { name: Some("Name".into()), ..nothing.clone() };
    let more =
        RoomPatch { topic: Some("Topic".into()), visibility: Some(Visibility::Public), ..name.clone() };
    let state = RoomPatch { state: Some(json("{\"a\": 1}")), ..more.clone() };
    assert_eq!(room.one(host(), Change::Room(nothing)).await, Was(2));
    for (patch, said) in [
        (&name, name.clone()),
        (&more, RoomPatch { name: None, ..more.clone() }),
        (&state, RoomPatch { state: state.state.clone(), ..RoomPatch::default() }),
    ] {
        let seq = room.make(host(), Change::Room(patch.clone())).await;
        assert_eq!(room.timeline().last().unwrap().body, EventBody::Room(said));
        assert_eq!(room.one(host(), Change::Room(patch.clone())).await, Was(seq));
    }
    let empty = RoomPatch { topic: Some("".into()), ..RoomPatch::default() };
    room.make("ann", Change::Room(empty)).await;
    let now = room.view("ann").await.room;
    let (name, topic) = ("Name".into(), "".into());
    let visibility = Visibility::Public;
    assert_eq!(
        now,
        RoomRecord { name, topic, visibility, state: state.state, version: 4, last_seq: Seq(6), ..was }
    );
    room.check().await;
}

/// A room is deleted by its managers and by the host.
pub async fn a_room_is_deleted_by_managers(store: &dyn Store) {
    for (who, may) in [
        ("bob".actor(), false),
        (on_server("bob", Role::Operator), false),
        ("ann".actor(), true),
        (on_server("bob", Role::Admin), true),
        (host(), true),
    ] {
        let room = match view(store, "r", "ann").await {
            Some(view) => view.room.no,
            None => Stage::open(store, private("r")).await.no(),
        };
        let expected = if may { Ok(()) } else { Err(Refused::Forbidden) };
        assert_eq!(store.delete_room(room, who.clone()).await.unwrap(), expected, "{who:?}");
        assert_eq!(view(store, "r", "ann").await.is_none(), may);
        if may {
            assert_eq!(store.delete_room(room, who).await.unwrap(), Err(Refused::NoRoom));
        }
    }
}

async fn delete(store: &dyn Store, room: &Stage<'_>) {
    assert_eq!(store.delete_room(room.no(), host()).await.unwrap(), Ok(()));
}

/// A deleted room is in no read, and nothing is committed to its number.
pub async fn nothing_of_a_deleted_room_comes_back(store: &dyn Store) {
    let (room, other) = (Stage::open(store, private("r")).await, Stage::open(store, private("other")).await);
    room.make("ann", message("secret")).await;
    other.make("ann", message("kept")).await;
    delete(store, &room).await;
    assert_eq!(view(store, "r", "ann").await, None);
    assert_eq!(store.rooms(user("ann"), None, 10).await.unwrap(), [other.view("ann").await]);
    assert_eq!(store.members(room.no(), None, 10).await.unwrap(), []);
    assert_eq!(store.ends(vec![room.no(), other.no()]).await.unwrap(), [None, Some(Seq(3))]);
    assert_eq!(store.trim(room.no(), Seq(2)).await.unwrap(), None);
    store.save_read_marks(vec![ReadMark { room: room.no(), user: user("ann"), seq: Seq(1) }]).await.unwrap();
    for reader in [None, Some("ann".actor()), Some("eve".actor()), Some(host())] {
        assert_eq!(room.page(room.query(reader)).await, Err(NoPage::Gone));
    }
    for who in ["ann".actor(), host()] {
        assert_eq!(room.one(who, message("late")).await, No(Refused::NoRoom));
    }
    other.check().await;
}

/// A room made again under a deleted one's id has another number and nothing of the old one, whose number is dead.
pub async fn a_room_made_again_is_another_room(store: &dyn Store) {
    let old = Stage::open(store, private("r")).await;
    old.make("bob", keyed("k", "secret")).await;
    old.make("ann", ban("cat")).await;
    old.make("ann", rename("Old")).await;
    store.save_read_marks(vec![ReadMark { room: old.no(), user: user("ann"), seq: Seq(4) }]).await.unwrap();
    delete(store, &old).await;

    let epoch = Epoch::from_text("another epoch");
    let new = Stage::open(store, NewRoom { epoch: epoch.clone(), ..public("r") }).await;
    assert_ne!(new.no(), old.no());
    let seen = new.view("ann").await;
    let read = (&seen.room.epoch, &*seen.room.name, seen.room.version, seen.read, seen.standing);
    assert_eq!(read, (&epoch, "A room", 0, Seq::ZERO, Standing::Outsider));
    assert_eq!(store.members(new.no(), None, 10).await.unwrap(), []);
    assert_eq!(new.standing("cat").await, Standing::Outsider);
    assert_eq!(new.one("bob", keyed("k", "new")).await, New(1), "the key is free");
    assert_eq!(old.one("bob", message("late")).await, No(Refused::NoRoom));
    assert_eq!(old.page(old.query(Some(host_as("ann")))).await, Err(NoPage::Gone));
    assert_eq!(store.ends(vec![old.no(), new.no()]).await.unwrap(), [None, Some(Seq(1))]);
    new.check().await;
}

/// Sends that race with the deletion of their room are committed before it or find no room; nothing of them is left.
pub async fn a_deletion_amid_sends_leaves_nothing(store: &dyn Store) {
    let (room, other) = (Stage::open(store, private("r")).await, Stage::open(store, private("other")).await);
    let send = async || {
        let batch = vec![room.by("ann", keyed("k", "racing")), other.by("ann", message("racing"))];
        let outcomes = store.append(batch.clone()).await.unwrap();
        assert!(matches!(room.got(&batch[0], outcomes[0].clone()), New(_) | Was(_) | No(Refused::NoRoom)));
        assert!(matches!(other.got(&batch[1], outcomes[1].clone()), New(_)));
    };
    let delete = async || delete(store, &room).await;
    all(vec![Box::pin(send()), Box::pin(send()), Box::pin(delete()), Box::pin(send()), Box::pin(send())])
        .await;
    assert_eq!(store.ends(vec![room.no()]).await.unwrap(), [None]);
    assert_eq!(other.timeline().len(), 6);
    other.check().await;
    let again = Stage::open(store, private("r")).await;
    again.check().await;
}

/// A user's list has the public rooms and those of which they are a member, but none that banned them.
pub async fn the_list_has_public_rooms_and_ones_own(store: &dyn Store) {
    let open = Stage::open(store, public("open")).await;
    let hidden = Stage::open(store, private("hidden")).await;
    Stage::open(store, NewRoom { members: vec![], ..private("empty") }).await;
    let list = async |name: &str| {
        let rooms = store.rooms(user(name), None, 100).await.unwrap();
        rooms.iter().map(|view| view.room.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list("bob").await, ["hidden", "open"]);
    assert_eq!(list("cat").await, ["open"]);
    open.make(host(), ban("bob")).await;
    hidden.make("ann", add("cat")).await;
    assert_eq!(
        (list("bob").await, list("cat").await),
        (vec!["hidden".into()], vec!["hidden".into(), "open".into()])
    );
    hidden.make("ann", remove("bob")).await;
    hidden.make("ann", ban("cat")).await;
    assert_eq!((list("bob").await, list("cat").await), (vec![], vec!["open".into()]));
    open.make(host(), remove("bob")).await;
    assert_eq!(store.rooms(user("bob"), None, 100).await.unwrap(), [open.view("bob").await]);
}

/// Rooms are sorted by id, and each page goes on after an id, whether a room of that id is there or not.
pub async fn the_list_comes_in_pages_in_order_of_ids(store: &dyn Store) {
    for id in ["zoo", "a-b", "a.b", "a_b", "ab", "b", "10", "9", "abc"] {
        create(store, public(id)).await;
    }
    create(store, private("aa-not-in-the-list")).await;
    let sorted = ["10", "9", "a-b", "a.b", "a_b", "ab", "abc", "b", "zoo"].map(room_id);
    for limit in 1..=sorted.len() + 1 {
        let (mut pages, mut after) = (Vec::new(), None);
        while pages.len() <= sorted.len() {
            let page = store.rooms(user("cat"), after, limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(last.room.id.clone());
            pages.extend(page.into_iter().map(|view| view.room.id));
        }
        assert_eq!(pages, sorted, "in pages of {limit}");
    }
    let after = store.rooms(user("cat"), Some(room_id("a9")), usize::MAX).await.unwrap();
    assert_eq!(after.into_iter().map(|view| view.room.id).collect::<Vec<_>>(), sorted[4..]);
}
