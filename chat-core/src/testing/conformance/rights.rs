//! Rights: for whom a room exists, and what each change asks for.

use super::{
    all,
    stage::{
        Got::{self, New, No, Was},
        Stage, Who, add, ban, delete, edit, host, json, message, on_server, private, public, react, remove,
        rename, stand, turn, unreact,
    },
};
use crate::{
    ids::Seq,
    protocol::{Draft, RoomPatch},
    rights::{Actor, Role, Standing, Visibility},
    store::{Append, Change, NewRoom, Outcomes, Refused, Require, Store},
};

const NO_ROOM: Refused = Refused::NoRoom;
const NO_TARGET: Refused = Refused::NoTarget;
const FORBIDDEN: Refused = Refused::Forbidden;

/// One of every kind of change, all on message 3.
fn every_change() -> [Change; 10] {
    [
        message("x"),
        edit(3, "x"),
        delete(3),
        react(3, "x"),
        unreact(3, "x"),
        add("cat"),
        remove("bob"),
        ban("cat"),
        rename("x"),
        turn(Visibility::Public),
    ]
}

async fn nothing_exists_for(room: &Stage<'_>, who: &Actor) {
    for change in every_change() {
        assert_eq!(room.one(who.clone(), change.clone()).await, No(NO_ROOM), "{who:?} {change:?}");
    }
    let require = Require { role: Role::Admin, version: Some(99) };
    let demanding = Append { require, ..room.by(who.clone(), message("x")) };
    assert_eq!(room.append([demanding]).await, [No(NO_ROOM)], "it would tell that there is a room");
}

/// For all but its members a private room answers as one that is not there, for administrators of the server too.
pub async fn a_private_room_does_not_exist_for_outsiders(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    room.make("ann", message("3")).await;
    for who in [on_server("eve", Role::Member), on_server("root", Role::Admin)] {
        nothing_exists_for(&room, &who).await;
        assert_eq!(store.delete_room(room.no(), who).await.unwrap(), Err(NO_ROOM));
    }
    room.check().await;
}

/// For those it banned a public room answers as one that is not there.
pub async fn a_public_room_does_not_exist_for_the_banned(store: &dyn Store) {
    let room = Stage::open(store, NewRoom { members: private("r").members, ..public("r") }).await;
    room.make("eve", message("3")).await;
    room.make("ann", ban("eve")).await;
    for who in [on_server("eve", Role::Member), on_server("eve", Role::Admin)] {
        nothing_exists_for(&room, &who).await;
        assert_eq!(store.delete_room(room.no(), who).await.unwrap(), Err(NO_ROOM));
    }
    room.check().await;
}

/// No membership is needed to write in a public room.
pub async fn everybody_writes_in_a_public_room(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let batch = [room.by("ann", message("a")), room.by("bob", react(1, "x")), room.by("cat", message("c"))];
    assert_eq!(room.append(batch).await, [New(1), New(2), New(3)]);
    assert_eq!(room.standing("ann").await, Standing::Outsider);
    room.check().await;
}

/// The embedding service needs no membership and has every role.
pub async fn the_host_may_do_everything(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    room.make("ann", ban("host")).await;
    let require = Require { role: Role::Admin, version: Some(0) };
    let item = Append { require, ..room.by(host(), message("x")) };
    assert_eq!(room.append([item]).await, [New(4)]);
    for change in
        [message("x"), stand("bob", Standing::Member(Role::Admin)), remove("bob"), delete(4), rename("x")]
    {
        room.make(host(), change).await;
    }
    room.check().await;
}

/// Who may edit, delete and react: the author, another member, a manager of the room, one of the server.
pub async fn each_change_has_its_rights(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    room.make(host(), stand("op", Standing::Member(Role::Operator))).await;
    room.make(host(), add("cat")).await;
    let admin = || on_server("cat", Role::Admin);
    let mut text = 0;
    for (who, may_edit, may_delete) in [
        ("bob".actor(), true, true),
        ("op".actor(), false, false),
        ("cat".actor(), false, false),
        ("ann".actor(), false, true),
        (admin(), false, true),
    ] {
        let sent = room.make("bob", message("hello")).await;
        text += 1;
        let edited = room.one(who.clone(), edit(sent, &format!("text {text}"))).await;
        assert_eq!(matches!(edited, New(_)), may_edit, "{who:?}");
        assert!(may_edit || edited == No(FORBIDDEN), "{who:?} {edited:?}");
        assert!(matches!(room.one(who.clone(), react(sent, "x")).await, New(_)), "{who:?}");
        let deleted = room.one(who.clone(), delete(sent)).await;
        assert_eq!(matches!(deleted, New(_)), may_delete, "{who:?}");
        assert!(may_delete || deleted == No(FORBIDDEN), "{who:?} {deleted:?}");
    }
    room.check().await;
}

/// What is not there, not a message, deleted, or in another room, is no target, whoever asks.
pub async fn what_is_no_message_is_no_target(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let other = Stage::open(store, public("other")).await;
    for _ in 0..20 {
        other.make("ann", message("elsewhere")).await;
    }
    room.make("ann", message("3")).await;
    room.make("ann", edit(3, "3, edited")).await;
    room.make("ann", message("5")).await;
    room.make("ann", delete(5)).await;
    for target in [0, 1, 4, 5, 6, 7, 20, 1 << 53] {
        for change in [edit(target, "x"), delete(target), react(target, "x"), unreact(target, "x")] {
            assert_eq!(room.one("ann", change.clone()).await, No(NO_TARGET), "{change:?}");
        }
    }
    let answer = |target| Change::Message(Draft::text("answer").reply_to(Seq(target)));
    for target in [0, 1, 4, 6, 7, 20, 1 << 53] {
        assert_eq!(room.one("bob", answer(target)).await, No(NO_TARGET), "{target}");
    }
    assert_eq!(room.one("bob", answer(3)).await, New(7));
    assert_eq!(room.one("bob", answer(5)).await, New(8), "a deleted message is kept");
    room.check().await;
}

/// An item may ask for a role beyond what its change asks for: the higher of those in the room and on the server.
pub async fn a_required_role_is_judged(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let needs = |role, who: Actor| {
        let require = Require { role, ..Require::default() };
        Append { require, ..room.by(who, message("x")) }
    };
    let batch = [
        needs(Role::Manager, "bob".actor()),
        needs(Role::Member, "bob".actor()),
        needs(Role::Manager, "ann".actor()),
        needs(Role::Admin, "ann".actor()),
        needs(Role::Admin, on_server("bob", Role::Admin)),
        needs(Role::Operator, on_server("bob", Role::Member)),
        needs(Role::Operator, on_server("eve", Role::Admin)),
    ];
    let expected = [No(FORBIDDEN), New(3), New(4), No(FORBIDDEN), New(5), No(FORBIDDEN), No(NO_ROOM)];
    assert_eq!(room.append(batch).await, expected);
    room.check().await;
}

/// An item may ask for the room's version; the answer tells the one that it has.
pub async fn a_required_version_is_judged(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let at_version = |version, change| {
        let require = Require { version: Some(version), ..Require::default() };
        Append { require, ..room.by("ann", change) }
    };
    assert_eq!(room.append([at_version(1, rename("x"))]).await, [No(Refused::Conflict(0))]);
    assert_eq!(room.append([at_version(0, rename("x"))]).await, [New(3)]);
    assert_eq!(room.append([at_version(0, rename("y"))]).await, [No(Refused::Conflict(1))]);
    assert_eq!(room.append([at_version(1 << 53, message("x"))]).await, [No(Refused::Conflict(1))]);
    assert_eq!(
        room.append([at_version(1, message("x")), at_version(1, rename("x"))]).await,
        [New(4), Was(4)]
    );
    assert_eq!(room.view("ann").await.room.version, 1);
    room.check().await;
}

/// Of many who saw the same version and change the room at the same time, exactly one wins.
pub async fn racers_for_a_version_have_one_winner(store: &dyn Store) {
    const RACERS: usize = 8;
    let room = Stage::open(store, private("r")).await;
    let require = Require { version: Some(0), ..Require::default() };
    let racer = |n: usize| Append { require, ..room.by("ann", rename(&format!("racer {n}"))) };
    let items: Vec<Append> = (0..RACERS).map(racer).collect();
    let outcomes = all(items.iter().map(|item| store.append(vec![item.clone()])).collect()).await;
    let got = |(item, outcome): (_, Result<Outcomes, _>)| room.got(item, outcome.unwrap()[0].clone());
    let mut got: Vec<Got> = items.iter().zip(outcomes).map(got).collect();
    let winner = got.iter().position(|got| *got == New(3)).unwrap();
    assert_eq!(&*room.view("ann").await.room.name, format!("racer {winner}"));
    got.remove(winner);
    assert_eq!(got, [No(Refused::Conflict(1)); RACERS - 1]);
    room.check().await;
}

/// A room is changed by its managers, and by those of the server where it exists for them.
pub async fn a_room_is_changed_by_managers(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let square = Stage::open(store, public("square")).await;
    assert_eq!(room.one("bob", rename("x")).await, No(FORBIDDEN));
    assert_eq!(square.one("bob", rename("x")).await, No(FORBIDDEN));
    assert_eq!(room.one("ann", rename("x")).await, New(3));
    assert_eq!(room.one(on_server("bob", Role::Manager), rename("y")).await, New(4));
    assert_eq!(square.one(on_server("eve", Role::Manager), rename("y")).await, New(1));
    room.check().await;
    square.check().await;
}

/// The room's state belongs to the embedding service.
pub async fn a_state_is_changed_by_the_host(store: &dyn Store) {
    let room = Stage::open(store, private("r")).await;
    let state = || Change::Room(RoomPatch { state: Some(json("{\"a\":1}")), ..RoomPatch::default() });
    assert_eq!(room.one("ann", state()).await, No(FORBIDDEN));
    assert_eq!(room.one(on_server("ann", Role::Admin), state()).await, No(FORBIDDEN));
    assert_eq!(room.one(host(), state()).await, New(3));
    assert_eq!(room.one(host(), state()).await, Was(3));
    room.check().await;
}
