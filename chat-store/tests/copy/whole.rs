//! A copy answers every question as the original does.

use std::collections::BTreeSet;

use chat_core::{
    Draft,
    ids::{Epoch, RoomId, RoomNo, Seq},
    protocol::{EventKind, HistoryFrom, Json, RoomPatch},
    rights::{Actor, Authority, Role, Standing, Visibility},
    store::{Append, Appended, Change, NoPage, Page, PageQuery, ReadMark, RoomRecord, RoomView, Store},
};
use chat_store::{SqliteStore, maintenance, testing::postgres_database};
use tempfile::tempdir;
use tokio::sync::oneshot;

use crate::support::{actor, address, by, commit, make_room, message, open, user};

/// Everybody whom a room knows, one whom none knows, and an admin.
const USERS: [&str; 7] = ["ann", "ben", "cid", "dan", "eve", "fay", "nobody"];

/// Texts that not everything can keep.
const TEXTS: [&str; 6] = [
    "plain",
    "a\0b\0",
    "\u{202e}\u{2067}turned\u{2069} \u{feff}and e\u{301} \u{1f469}\u{200d}\u{1f680}",
    "'); DROP TABLE events; -- \\.\t\r\n\\N",
    "\u{10ffff}\u{fffd}\u{7f}",
    "",
];

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

fn react(target: Seq, emoji: &str, remove: bool) -> Change {
    Change::React { target, emoji: emoji.into(), remove }
}

fn standing(id: &str, standing: Standing) -> Change {
    Change::Member { user: user(id), standing }
}

/// By the embedding service, which alone may change a room's state.
fn by_host(room: RoomNo, patch: RoomPatch) -> Append {
    let actor = Actor { user: user("ann"), authority: Authority::Host };
    Append { actor, ..by("ann", room, Change::Room(patch)) }
}

/// A database with everything in it. The number of a room that was deleted last.
pub(crate) async fn fill(store: &dyn Store) -> RoomNo {
    let busy = make_room(store, "busy", Visibility::Public).await.no;
    for (index, text) in TEXTS.into_iter().enumerate() {
        let mut draft = Draft::text(text).key(format!("key {index} \u{202e}"));
        draft.meta = Some(json(&format!("{{\"a\" : [1,  2],\"nul\":\"\\u0000\",\"n\":{index}.50}}")));
        commit(store, by(if index % 2 == 0 { "ann" } else { "ben" }, busy, Change::Message(draft))).await;
    }
    let edited = commit(store, message(busy, "first words")).await;
    commit(store, by("ann", busy, Change::Edit { target: edited, text: "second\0words".into() })).await;
    commit(store, by("ann", busy, Change::Edit { target: edited, text: "last words".into() })).await;
    let gone = commit(store, message(busy, "to be regretted")).await;
    commit(store, by("ann", busy, Change::Edit { target: gone, text: "regretted".into() })).await;
    commit(store, by("ben", busy, react(gone, "\u{1f44d}", false))).await;
    commit(store, by("ann", busy, Change::Delete { target: gone })).await;
    for (id, emoji) in [("ann", "\u{1f44d}"), ("ben", "\u{1f44d}"), ("ben", "\u{2764}\u{fe0f}")] {
        commit(store, by(id, busy, react(edited, emoji, false))).await;
    }
    commit(store, by("ben", busy, react(edited, "\u{1f44d}", true))).await;
    let mut answer = Draft::text("an answer");
    answer.reply_to = Some(edited);
    commit(store, by("ben", busy, Change::Message(answer))).await;

    let people = make_room(store, "people", Visibility::Private).await.no;
    for (id, role) in [("cid", Role::Operator), ("dan", Role::Member), ("eve", Role::Member)] {
        commit(store, by("ann", people, standing(id, Standing::Member(role)))).await;
    }
    commit(store, message(people, "read by all")).await;
    commit(store, by("ann", people, standing("dan", Standing::Banned))).await;
    commit(store, by("ann", people, standing("eve", Standing::Outsider))).await;
    commit(store, message(people, "read by those who are left")).await;
    let patch = |visibility| RoomPatch {
        name: Some("a\0name".into()),
        visibility: Some(visibility),
        state: Some(json("{\"state\" :\"\\u0000 waiting\"}")),
        ..RoomPatch::default()
    };
    commit(store, by_host(people, patch(Visibility::Public))).await;
    commit(store, by("fay", people, Change::Message(Draft::text("from outside")))).await;
    commit(store, by_host(people, patch(Visibility::Private))).await;
    let topic = RoomPatch { topic: Some("\u{2066}t\0".into()), ..RoomPatch::default() };
    commit(store, by("ann", people, Change::Room(topic))).await;

    let secret = make_room(store, "secret", Visibility::Private).await.no;
    commit(store, message(secret, "for members only")).await;
    let deleted = make_room(store, "deleted", Visibility::Public).await.no;
    commit(store, message(deleted, "nobody has this any more")).await;
    let trimmed = make_room(store, "trimmed", Visibility::Public).await.no;
    for text in ["one", "two", "three"] {
        let seq = commit(store, message(trimmed, text)).await;
        commit(store, by("ben", trimmed, react(seq, "x", false))).await;
    }
    store.trim(trimmed, Seq(5)).await.unwrap();
    let empty = make_room(store, "emptied", Visibility::Public).await.no;
    store.trim(empty, Seq(3)).await.unwrap();
    let marks =
        [("ann", busy, 4), ("ben", busy, 9), ("cid", people, 7), ("eve", people, 6), ("ann", trimmed, 1)];
    let marks = marks.map(|(id, room, seq)| ReadMark { room, user: user(id), seq: Seq(seq) });
    store.save_read_marks(marks.into()).await.unwrap();
    let last = make_room(store, "last", Visibility::Public).await.no;
    for room in [deleted, last] {
        store.delete_room(room, actor("ann")).await.unwrap().unwrap();
    }
    last
}

/// Answers of a store, without the epochs of rooms.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    views: Vec<Option<RoomView>>,
    lists: Vec<Vec<RoomView>>,
    members: Vec<(String, String)>,
    pages: Vec<Result<Page, NoPage>>,
    ends: Vec<Option<Seq>>,
}

const ROOMS: [&str; 7] = ["busy", "people", "secret", "trimmed", "emptied", "deleted", "last"];

fn without_epoch(mut view: RoomView) -> RoomView {
    view.room.epoch = Epoch::from_random(0);
    view
}

async fn ask(store: &dyn Store) -> Answers {
    let numbers: Vec<_> = (1..=ROOMS.len() as u64 + 1).map(RoomNo).collect();
    let mut answers = Answers {
        views: Vec::new(),
        lists: Vec::new(),
        members: Vec::new(),
        pages: Vec::new(),
        ends: store.ends(numbers.clone()).await.unwrap(),
    };
    for id in USERS {
        for room in ROOMS {
            let view = store.room(RoomId::new(room).unwrap(), user(id)).await.unwrap();
            answers.views.push(view.map(without_epoch));
        }
        let list = store.rooms(user(id), None, 100).await.unwrap();
        answers.lists.push(list.into_iter().map(without_epoch).collect());
    }
    for no in numbers {
        for member in store.members(no, None, 100).await.unwrap() {
            answers.members.push((format!("{no:?}"), format!("{member:?}")));
        }
        let admin = Actor { user: user("root"), authority: Authority::User(Role::Admin) };
        let readers = USERS.map(|id| Some(actor(id))).into_iter().chain([None, Some(admin)]);
        for reader in readers {
            answers.pages.append(&mut pages(store, no, reader).await);
        }
    }
    answers
}

/// The whole timeline in small pages from below, the newest page, one from the middle, and each kind by itself.
async fn pages(store: &dyn Store, room: RoomNo, reader: Option<Actor>) -> Vec<Result<Page, NoPage>> {
    let query = |from, limit, kinds: &[EventKind]| {
        let (reader, kinds) = (reader.clone(), kinds.to_vec());
        store.page(PageQuery { room, reader, from, limit, bytes: 1 << 20, kinds })
    };
    let mut pages = Vec::new();
    let mut after = Seq::ZERO;
    loop {
        let page = query(HistoryFrom::After(after), 4, &[]).await.unwrap();
        let last = page.as_ref().ok().filter(|page| page.more).and_then(|page| page.events.last());
        let next = last.map(|event| event.seq);
        pages.push(page);
        let Some(next) = next else { break };
        after = next;
    }
    pages.push(query(HistoryFrom::Newest, 5, &[]).await.unwrap());
    pages.push(query(HistoryFrom::Before(Seq(8)), 3, &[]).await.unwrap());
    for kind in EventKind::ALL {
        pages.push(query(HistoryFrom::After(Seq::ZERO), 100, &[kind]).await.unwrap());
    }
    pages
}

async fn epochs(store: &dyn Store) -> Vec<Epoch> {
    let mut epochs = Vec::new();
    for room in ROOMS {
        let view = store.room(RoomId::new(room).unwrap(), user("ann")).await.unwrap();
        epochs.extend(view.map(|view| view.room.epoch));
    }
    epochs
}

#[tokio::test]
async fn a_copy_answers_as_the_original_does_and_goes_on_as_it_does() {
    let dir = tempdir().unwrap();
    let original = SqliteStore::open(dir.path().join("chat.db")).await.unwrap();
    let deleted = fill(&original).await;
    let database = postgres_database();
    let (path, to) = (original.path().to_owned(), address(&database));
    let counts = tokio::spawn(async move { maintenance::copy(path, &to).await }).await.unwrap().unwrap();
    let copy = open(&database).await;
    let (read, copied) = (ask(&original).await, ask(&copy).await);
    assert_eq!(read, copied);
    // The questions were some.
    assert!(read.views.iter().flatten().count() > 20, "{:?}", read.views);
    let texts = read.pages.iter().flatten().flat_map(|page| &page.events).count();
    assert!(texts > 200 && read.pages.contains(&Err(NoPage::Unreadable)), "{texts} events were read");
    let (before, after) = (epochs(&original).await, epochs(&copy).await);
    let distinct: BTreeSet<_> = before.iter().chain(&after).map(Epoch::as_str).collect();
    // In the original every room began with the same one.
    assert_eq!((before.len(), after.len(), distinct.len()), (5, 5, 6), "{before:?} {after:?}");
    assert!(after.iter().all(|epoch| epoch.as_str().len() == 32), "{after:?}");
    assert_eq!((counts.rooms, counts.messages, counts.room_changes, counts.reactions), (5, 15, 3, 5));
    assert_eq!((counts.members, counts.read_marks), (13, 5));

    let mut outcomes = Vec::new();
    for store in [&original as &dyn Store, &copy] {
        let again = by("ann", RoomNo(1), Change::Message(Draft::text("a duplicate").key("key 0 \u{202e}")));
        let edit = by("ann", RoomNo(1), Change::Edit { target: Seq(9), text: "once more".into() });
        let banned = by("dan", RoomNo(2), Change::Message(Draft::text("let me in")));
        let trimmed = by("ben", RoomNo(5), react(Seq(3), "y", false));
        let batch =
            vec![again, edit, banned, trimmed, message(RoomNo(1), "next"), message(RoomNo(2), "next")];
        outcomes.push(store.append(batch).await.unwrap());
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert!(matches!(outcomes[0][0], Ok(Appended::Duplicate { seq: Seq(3), .. })), "{:?}", outcomes[0]);
    assert!(
        outcomes[0][2].is_err() && outcomes[0][3].is_err() && outcomes[0][5].is_ok(),
        "{:?}",
        outcomes[0]
    );
    assert_eq!(ask(&original).await, ask(&copy).await);
    let made = [
        make_room(&original, "new", Visibility::Public).await,
        make_room(&copy, "new", Visibility::Public).await,
    ];
    let [one, other] = made.map(|room: RoomRecord| room.no);
    assert!(one == other && one > deleted, "{one:?} {other:?} {deleted:?}");
}

#[tokio::test]
async fn a_database_without_rooms_is_copied_too_and_its_numbers_are_not_given_again() {
    let dir = tempdir().unwrap();
    let original = SqliteStore::open(dir.path().join("chat.db")).await.unwrap();
    let database = postgres_database();
    let counts = maintenance::copy(original.path(), &address(&database)).await.unwrap();
    assert_eq!(counts, maintenance::Counts::default());
    let room = make_room(&original, "r", Visibility::Public).await.no;
    original.delete_room(room, actor("ann")).await.unwrap().unwrap();
    // What holds no rooms can be copied into again.
    maintenance::copy(original.path(), &address(&database)).await.unwrap();
    let made = make_room(&open(&database).await, "r", Visibility::Public).await.no;
    assert_eq!(made, RoomNo(room.0 + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_of_one_moment_while_a_server_goes_on_writing() {
    let dir = tempdir().unwrap();
    let store = SqliteStore::open(dir.path().join("chat.db")).await.unwrap();
    let path = store.path().to_owned();
    let rooms = [
        make_room(&store, "a", Visibility::Public).await.no,
        make_room(&store, "b", Visibility::Public).await.no,
    ];
    let (enough, mut is_enough) = oneshot::channel::<()>();
    let writing = tokio::spawn(async move {
        let mut sent = 0;
        while is_enough.try_recv().is_err() {
            // Both rooms in one transaction: at no moment has one of them more than the other.
            let batch = rooms.map(|room| message(room, &format!("{sent} {}", "x".repeat(500))));
            assert!(store.append(batch.into()).await.unwrap().iter().all(Result::is_ok));
            sent += 1;
            tokio::task::yield_now().await;
        }
        store.ends(rooms.into()).await.unwrap()
    });
    let (first, mut last) = (Seq(2), Seq(2));
    for _ in 0..3 {
        let database = postgres_database();
        maintenance::copy(&path, &address(&database)).await.unwrap();
        let copy = open(&database).await;
        let ends = copy.ends(rooms.into()).await.unwrap();
        assert_eq!(ends[0], ends[1]);
        let end = ends[0].unwrap();
        assert!(end >= last, "{end:?} is before {last:?}");
        let newest = pages(&copy, rooms[1], None).await;
        let events: Vec<_> =
            newest.iter().flatten().flat_map(|page| &page.events).map(|event| event.seq).collect();
        assert!(events.contains(&end), "{end:?}");
        last = end;
    }
    assert!(last > first, "nobody wrote meanwhile");
    enough.send(()).unwrap();
    assert!(writing.await.unwrap()[0].unwrap() >= last);
}
