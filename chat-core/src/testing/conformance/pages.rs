//! Pages: every direction, every boundary.

use super::stage::{
    ALL, Stage, add, ban, delete, edit, host, host_as, json, message, numbers, public, react, unreact,
};
use crate::{
    ids::{RoomNo, Seq},
    protocol::{Draft, EventKind, HistoryFrom},
    store::{Change, NoPage, PageQuery, Store},
};

/// A small room with everything in it: 14 events.
pub(super) async fn small_room<'a>(store: &'a dyn Store, id: &str) -> Stage<'a> {
    let room = Stage::open(store, public(id)).await;
    room.make("ann", message("one")).await;
    room.make("bob", Change::Message(Draft::text("two").meta(json("{\"some\":\"meta\"}")).key("k"))).await;
    room.make("ann", edit(1, "uno, but longer")).await;
    room.make("bob", react(1, "x")).await;
    room.make("ann", react(1, "y")).await;
    room.make("ann", Change::Message(Draft::text("three").reply_to(Seq(2)))).await;
    room.make("bob", edit(2, "gone as well")).await;
    room.make("bob", delete(2)).await;
    room.make(host(), add("cat")).await;
    room.make("bob", unreact(1, "x")).await;
    room.make("cat", message(&"long ".repeat(20))).await;
    room.make("cat", edit(11, "short")).await;
    room.make(host(), ban("eve")).await;
    room.make("ann", message("last")).await;
    room
}

/// Every place to start, below the first event and past the last one too.
pub(super) fn starts(last: u64) -> Vec<HistoryFrom> {
    let places = || (0..=last + 2).map(Seq).chain([Seq(1 << 53), Seq::MAX]);
    let (up, down) = (places().map(HistoryFrom::After), places().map(HistoryFrom::Before));
    up.chain(down).chain([HistoryFrom::Newest]).collect()
}

/// Every start with some limits, bounds in bytes, kinds and readers, against a naive reading.
pub async fn a_page_holds_what_a_naive_reading_finds(store: &dyn Store) {
    let room = small_room(store, "r").await;
    let last = room.timeline().len() as u64;
    let kinds = [vec![], vec![EventKind::Message], vec![EventKind::Edited, EventKind::Member]];
    for from in starts(last) {
        for limit in [1, 2, 5, 13, 14, usize::MAX] {
            for bytes in [0, 20, usize::MAX] {
                for kinds in &kinds {
                    let query = PageQuery {
                        from,
                        limit,
                        bytes,
                        kinds: kinds.clone(),
                        ..room.query(Some(host_as("ann")))
                    };
                    room.check_page(&query, Seq(1), None).await;
                }
            }
        }
        let query = PageQuery { from, limit: 3, ..room.query(None) };
        room.check_page(&query, Seq(1), None).await;
    }
}

/// A page holds no more bytes of text and meta than asked for, but always one event.
pub async fn a_page_ends_at_its_bytes(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    for length in [10, 20, 30, 40] {
        room.make("ann", message(&"x".repeat(length))).await;
    }
    room.make("ann", Change::Message(Draft::text("é").meta(json("{\"n\":12345}")))).await;
    for from in [ALL, HistoryFrom::Newest, HistoryFrom::Before(Seq(5)), HistoryFrom::After(Seq(2))] {
        for bytes in 0..120 {
            let query = PageQuery { from, bytes, ..room.query(Some(host())) };
            room.check_page(&query, Seq(1), None).await;
        }
    }
}

/// Whoever reads on where a page ended reads everything once, upwards and downwards, whatever ends the pages.
pub async fn pages_in_a_row_miss_nothing(store: &dyn Store) {
    let room = small_room(store, "r").await;
    let timeline = numbers(&room.timeline());
    for (limit, bytes) in [(1, usize::MAX), (3, usize::MAX), (usize::MAX, 1), (4, 30)] {
        let query = PageQuery { limit, bytes, ..room.query(Some(host())) };
        let (mut read, mut from, mut more) = (Vec::new(), ALL, true);
        while more && read.len() <= timeline.len() {
            let page = room.page(PageQuery { from, ..query.clone() }).await.unwrap();
            from = HistoryFrom::After(page.events.last().unwrap().seq);
            more = page.more;
            read.extend(numbers(&page.events));
        }
        assert_eq!(read, timeline, "upwards by {limit} and {bytes} bytes");

        (read, from, more) = (Vec::new(), HistoryFrom::Newest, true);
        while more && read.len() <= timeline.len() {
            let page = room.page(PageQuery { from, ..query.clone() }).await.unwrap();
            from = HistoryFrom::Before(page.events.first().unwrap().seq);
            more = page.more;
            read.splice(0..0, numbers(&page.events));
        }
        assert_eq!(read, timeline, "downwards by {limit} and {bytes} bytes");
    }
}

/// There is more only where another event of the kinds asked for would come.
pub async fn more_speaks_of_the_kinds_asked_for(store: &dyn Store) {
    let room = small_room(store, "r").await;
    for kind in EventKind::ALL {
        let query = PageQuery { kinds: vec![kind], ..room.query(Some(host())) };
        let of_kind = room.page(query.clone()).await.unwrap().events;
        assert!(of_kind.iter().all(|event| event.body.kind() == kind));
        for limit in 1..=of_kind.len() + 1 {
            for from in [ALL, HistoryFrom::Newest] {
                let page = room.page(PageQuery { from, limit, ..query.clone() }).await.unwrap();
                assert_eq!(page.events.len(), limit.min(of_kind.len()));
                assert_eq!(page.more, limit < of_kind.len(), "{limit} of {kind:?}");
            }
        }
    }
    let every = PageQuery { kinds: EventKind::ALL.to_vec(), ..room.query(Some(host())) };
    room.check_page(&every, Seq(1), None).await;
}

/// The engine's own reading, for everybody, shows messages as they now are, but nobody's reactions.
pub async fn a_page_without_a_reader_has_no_reactions(store: &dyn Store) {
    let room = small_room(store, "r").await;
    let with = room.page(room.query(Some(host_as("ann")))).await.unwrap();
    let without = room.page(room.query(None)).await.unwrap();
    assert!(format!("{with:?}").contains("Reactions {"));
    assert!(!format!("{without:?}").contains("Reactions {"));
    room.check().await;
}

/// Nobody gets a page of a room that is not there.
pub async fn a_room_that_is_not_there_has_no_page(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    for reader in [None, Some(host())] {
        let query = PageQuery { room: RoomNo(room.no().0 + 1), ..room.query(reader) };
        assert_eq!(room.page(query).await, Err(NoPage::Gone));
    }
    let empty = room.read("ann").await;
    assert_eq!(
        (empty.events, empty.more, empty.first_seq, empty.last_seq),
        (vec![], false, Seq(1), Seq::ZERO)
    );
}

/// The newest numbers of many rooms at once.
pub async fn ends_come_in_the_order_asked(store: &dyn Store) {
    let (one, two) = (small_room(store, "one").await, Stage::open(store, public("two")).await);
    let nowhere = RoomNo(two.no().0 + 1);
    let asked = vec![two.no(), nowhere, one.no(), two.no()];
    let last = Seq(one.timeline().len() as u64);
    assert_eq!(store.ends(asked).await.unwrap(), [Some(Seq::ZERO), None, Some(last), Some(Seq::ZERO)]);
    assert_eq!(store.ends(Vec::new()).await.unwrap(), []);
}

/// A store that is there says so.
pub async fn the_store_answers(store: &dyn Store) {
    store.ping().await.unwrap();
    Stage::open(store, public("r")).await;
    store.ping().await.unwrap();
}
