//! Read marks, and what is unread after them.

use super::{
    all,
    stage::{Stage, add, delete, edit, host, message, private, public, react, user},
};
use crate::{
    ids::{RoomNo, Seq},
    limits::BATCH_ITEMS_MAX,
    store::{ReadMark, Store, UNREAD_MAX},
};

fn mark(room: &Stage<'_>, name: &str, seq: u64) -> ReadMark {
    ReadMark { room: room.no(), user: user(name), seq: Seq(seq) }
}

async fn save<const N: usize>(store: &dyn Store, marks: [ReadMark; N]) {
    store.save_read_marks(marks.to_vec()).await.unwrap();
}

/// A mark never goes back, within one call neither.
pub async fn a_read_mark_moves_only_forward(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    for _ in 0..5 {
        room.make("ann", message("x")).await;
    }
    assert_eq!(room.view("bob").await.read, Seq::ZERO);
    save(store, []).await;
    for (saved, read) in [(2, 2), (1, 2), (0, 2), (4, 4), (4, 4), (3, 4)] {
        save(store, [mark(&room, "bob", saved)]).await;
        assert_eq!(room.view("bob").await.read, Seq(read));
    }
    save(store, [mark(&room, "cat", 3), mark(&room, "cat", 1), mark(&room, "cat", 2)]).await;
    assert_eq!(room.view("cat").await.read, Seq(3));
    let at_once = [2, 5, 1, 4, 3].map(|seq| store.save_read_marks(vec![mark(&room, "dan", seq)]));
    all(at_once.into()).await.into_iter().for_each(Result::unwrap);
    assert_eq!(room.view("dan").await.read, Seq(5));
    room.check().await;
}

/// A mark in a room that is not there disturbs no other one.
pub async fn read_marks_of_unknown_rooms_are_passed_over(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    room.make("ann", message("x")).await;
    let lost = || ReadMark { room: RoomNo(room.no().0 + 1), user: user("bob"), seq: Seq(1) };
    save(store, [lost(), mark(&room, "bob", 1), lost()]).await;
    assert_eq!(room.view("bob").await.read, Seq(1));
    let next = Stage::open(store, public("next")).await;
    assert_eq!(next.view("bob").await.read, Seq::ZERO);
}

/// Nobody reads for another, nor in another room.
pub async fn read_marks_belong_to_one_user_and_room(store: &dyn Store) {
    let (one, two) = (Stage::open(store, private("one")).await, Stage::open(store, private("two")).await);
    save(store, [mark(&one, "ann", 1), mark(&two, "ann", 2), mark(&one, "bob", 2)]).await;
    let read = async |room: &str, name: &str| super::stage::view(store, room, name).await.unwrap().read.0;
    assert_eq!([read("one", "ann").await, read("two", "ann").await], [1, 2]);
    assert_eq!([read("one", "bob").await, read("two", "bob").await, read("one", "cat").await], [2, 0, 0]);
}

/// Unread are messages of others that are there: no own, no deleted ones, no other events.
pub async fn unread_are_others_messages_after_the_mark(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let unread = async || (room.view("ann").await.unread, room.view("bob").await.unread);
    assert_eq!(unread().await, (0, 0));
    room.make("ann", message("3")).await;
    room.make("bob", message("4")).await;
    room.make("ann", message("5")).await;
    assert_eq!(unread().await, (1, 2));
    room.make("ann", edit(5, "5, edited")).await;
    room.make("bob", react(5, "x")).await;
    room.make("ann", add("cat")).await;
    room.make(host(), message("9")).await;
    assert_eq!(unread().await, (2, 3));
    room.make("ann", delete(5)).await;
    assert_eq!(unread().await, (2, 2));
    save(store, [mark(&room, "bob", 8), mark(&room, "ann", 9)]).await;
    assert_eq!(unread().await, (0, 1));
    save(store, [mark(&room, "bob", 9)]).await;
    assert_eq!(unread().await, (0, 0));
    let listed = store.rooms(user("bob"), None, 10).await.unwrap();
    assert_eq!(listed, [room.view("bob").await]);
}

/// A count that nobody reads to its end is not made to its end.
pub async fn unread_are_counted_up_to_a_bound(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let batch = |n| (0..n).map(|_| room.by("ann", message("x"))).collect();
    room.append_all(batch(BATCH_ITEMS_MAX)).await;
    room.append_all(batch(10)).await;
    assert_eq!(room.view("bob").await.unread, UNREAD_MAX);
    save(store, [mark(&room, "bob", 11)]).await;
    assert_eq!(room.view("bob").await.unread, UNREAD_MAX - 1);
}
