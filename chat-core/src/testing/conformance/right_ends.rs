//! Where a reader's right ended: nothing after it, on any path.

use super::{
    pages::starts,
    stage::{
        Stage, Who, add, ban, delete, edit, host, message, on_server, private, public, remove, turn, user,
    },
};
use crate::{
    ids::Seq,
    protocol::{EventKind, HistoryFrom},
    rights::{Role, Visibility},
    store::{NewRoom, NoPage, PageQuery, Store},
};

const OPEN: Visibility = Visibility::Public;
const CLOSED: Visibility = Visibility::Private;

/// A public room with the members of a private one.
fn public_with_members(id: &str) -> NewRoom {
    NewRoom { visibility: OPEN, ..private(id) }
}

/// The reader sees everything up to this event, and learns that this is the end.
async fn reads_up_to(room: &Stage<'_>, who: impl Who, end: u64) {
    room.check_page(&room.query(Some(who.actor())), Seq(1), Some(Seq(end))).await;
}

/// The reader sees everything.
async fn reads_on(room: &Stage<'_>, who: impl Who) {
    room.check_page(&room.query(Some(who.actor())), Seq(1), None).await;
}

/// The removal itself is the last event that a removed member sees; a role on the server opens nothing.
pub async fn a_removed_member_reads_up_to_the_removal(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    room.make("bob", message("before")).await;
    let end = room.make("ann", remove("bob")).await;
    room.make("ann", message("after")).await;
    reads_up_to(&room, "bob", end).await;
    reads_up_to(&room, on_server("bob", Role::Admin), end).await;
    reads_on(&room, "ann").await;
    let end = room.make("ann", remove("ann")).await;
    reads_up_to(&room, "ann", end).await;
}

/// A ban ends the right in public and in private rooms.
pub async fn a_banned_user_reads_up_to_the_ban(store: &dyn Store) {
    for (new, visitor) in [(public("public"), "cat"), (private("private"), "bob")] {
        let room = Stage::open(store, new).await;
        room.make(visitor, message("before")).await;
        let end = room.make(host(), ban(visitor)).await;
        room.make(host(), message("after")).await;
        reads_up_to(&room, visitor, end).await;
    }
}

/// Who read a public room as no member reads it up to the event that closed it.
pub async fn a_room_turned_private_is_read_up_to_there(store: &dyn Store) {
    let room = Stage::open(store, public_with_members("r")).await;
    room.make("cat", message("before")).await;
    reads_on(&room, "cat").await;
    let end = room.make("ann", turn(CLOSED)).await;
    room.make("ann", message("after")).await;
    reads_up_to(&room, "cat", end).await;
    reads_up_to(&room, "never-seen", end).await;
    reads_on(&room, "bob").await;
    let end = room.make("ann", remove("bob")).await;
    reads_up_to(&room, "bob", end).await;
}

/// Who never had the right gets nothing, banned or not.
pub async fn who_never_might_read_gets_no_page(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    room.make("ann", ban("eve")).await;
    for who in
        [on_server("cat", Role::Member), on_server("root", Role::Admin), on_server("eve", Role::Member)]
    {
        assert_eq!(room.page(room.query(Some(who))).await, Err(NoPage::Unreadable));
    }
    room.make("ann", remove("eve")).await;
    assert_eq!(room.page(room.query(Some("eve".actor()))).await, Err(NoPage::Unreadable));
}

/// In a public room a removed member is one of the public.
pub async fn a_removed_member_of_a_public_room_reads_on(store: &dyn Store) {
    let room = Stage::open(store, public_with_members("r")).await;
    room.make("ann", remove("bob")).await;
    room.make("ann", message("after")).await;
    reads_on(&room, "bob").await;
    let end = room.make("ann", turn(CLOSED)).await;
    room.make("ann", message("after that")).await;
    reads_up_to(&room, "bob", end).await;
}

/// Who gets the right again reads what was said meanwhile, too.
pub async fn who_comes_back_reads_everything(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    for end in [remove("bob"), ban("bob")] {
        let end = room.make("ann", end).await;
        room.make("ann", message("meanwhile")).await;
        reads_up_to(&room, "bob", end).await;
        room.make("ann", add("bob")).await;
        reads_on(&room, "bob").await;
    }
    let end = room.make("ann", remove("bob")).await;
    reads_up_to(&room, "bob", end).await;
    room.make("ann", turn(OPEN)).await;
    reads_on(&room, "bob").await;
    reads_on(&room, "cat").await;
}

/// Nothing that follows, neither a ban nor its end, moves the end of a right that had ended before.
pub async fn only_the_first_loss_counts(store: &dyn Store) {
    let room = Stage::open(store, private("one")).await;
    let end = room.make("ann", remove("bob")).await;
    for after in [ban("bob"), remove("bob")] {
        room.make("ann", after).await;
        reads_up_to(&room, "bob", end).await;
    }
    let room = Stage::open(store, public_with_members("two")).await;
    let banned = room.make("ann", ban("dan")).await;
    let closed = room.make("ann", turn(CLOSED)).await;
    for after in [ban("cat"), remove("cat"), remove("dan")] {
        room.make("ann", after).await;
    }
    reads_up_to(&room, "cat", closed).await;
    reads_up_to(&room, "dan", banned).await;
}

/// Each time a room is opened and closed again its visitors' right ends anew.
pub async fn the_last_time_a_room_closed_counts(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    room.make("ann", remove("bob")).await;
    for _ in 0..2 {
        room.make("ann", turn(OPEN)).await;
        room.make("cat", message("open")).await;
        let end = room.make("ann", turn(CLOSED)).await;
        room.make("ann", message("closed")).await;
        reads_up_to(&room, "cat", end).await;
        reads_up_to(&room, "bob", end).await;
    }
    reads_on(&room, "ann").await;
}

/// No standing stands in the way of the host, nor of the live tail that everybody shares.
pub async fn the_host_and_the_tail_read_everything(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    room.make("ann", ban("bob")).await;
    room.make("ann", message("after")).await;
    let host = crate::rights::Actor { user: user("bob"), ..host() };
    reads_on(&room, host).await;
    room.check_page(&room.query(None), Seq(1), None).await;
}

/// Every way to read stops at the end, and says there that there is no more.
pub async fn every_page_stops_where_the_right_ended(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    for n in 0..3 {
        room.make("bob", message(&format!("message {n}"))).await;
    }
    room.make("bob", edit(4, "edited")).await;
    let end = Seq(room.make("ann", remove("bob")).await);
    room.make("ann", message("after")).await;
    room.make("ann", message("after that")).await;
    room.make("ann", delete(4)).await;
    for from in starts(10) {
        for limit in [1, 2, 6, 7, 8, usize::MAX] {
            for kinds in [vec![], vec![EventKind::Message]] {
                let query = PageQuery { from, limit, kinds, ..room.query(Some("bob".actor())) };
                room.check_page(&query, Seq(1), Some(end)).await;
            }
        }
    }
}

/// What was before the end may be trimmed; what is after it stays out of reach.
pub async fn a_right_that_ended_before_the_oldest_event_shows_nothing(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let end = Seq(room.make("ann", remove("bob")).await);
    for _ in 0..3 {
        room.make("ann", message("after")).await;
    }
    for first in [Seq(3), Seq(4), Seq(6), Seq(7)] {
        assert_eq!(store.trim(room.no(), first).await.unwrap(), Some(first));
        for from in starts(6) {
            let query = PageQuery { from, ..room.query(Some("bob".actor())) };
            room.check_page(&query, first, Some(end)).await;
        }
    }
    let newest = PageQuery { from: HistoryFrom::Newest, ..room.query(Some("bob".actor())) };
    assert!(room.page(newest).await.unwrap().events.is_empty());
}
