//! The engine as an embedding program uses it.

#![expect(clippy::unwrap_used, reason = "a test fails where something is not as it says")]

use std::time::Duration;

use chat_core::{
    After, CommandError, Draft, Engine, ErrorCode, Identity, Incoming, LocalSession, MissingRooms,
    NewRoomOutcome, RoomDraft, RoomId, Seq, UserId,
    protocol::{EventBody, HistoryFrom, HistoryQuery, LeftReason},
    rights::{Role, Standing, Visibility},
    store::MemoryStore,
};

async fn engine() -> Engine {
    let missing = MissingRooms::Create { rooms_max: 100 };
    Engine::builder(MemoryStore::new()).missing_rooms(missing).build().await.unwrap()
}

fn who(name: &str) -> Identity {
    Identity::new(name).unwrap()
}

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

fn code<T>(result: Result<T, CommandError>) -> Option<ErrorCode> {
    result.err().map(|error| error.code)
}

async fn event(session: &mut LocalSession) -> (u64, EventBody) {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(5), session.next());
        if let Some(Incoming::Event(event)) = next.await.expect("an event comes within 5 s") {
            return (event.seq.0, event.body.clone());
        }
    }
}

fn text(body: &EventBody) -> &str {
    match body {
        EventBody::Message(message) => message.text.as_deref().unwrap_or("(deleted)"),
        _ => "(no message)",
    }
}

#[tokio::test]
async fn a_message_is_committed_when_send_returns_and_reaches_everybody_in_order() {
    let engine = engine().await;
    let (mut ann, mut bob) = (engine.connect(who("ann")), engine.connect(who("bob")));
    assert_eq!(ann.join("lobby", After::Live).await.unwrap().last_seq, Seq(0));
    bob.join("lobby", After::Live).await.unwrap();
    for n in 1..=100 {
        let ack = ann.send("lobby", Draft::text(format!("m{n}"))).await.unwrap();
        assert_eq!((ack.seq.0, ack.duplicate), (n, false));
    }
    for n in 1..=100 {
        let (seq, body) = event(&mut bob).await;
        assert_eq!((seq, text(&body)), (n, format!("m{n}").as_str()));
        assert_eq!(event(&mut ann).await.0, n);
    }
}

#[tokio::test]
async fn a_join_with_after_replays_and_goes_live() {
    let engine = engine().await;
    let mut ann = engine.connect(who("ann"));
    ann.join("lobby", After::Live).await.unwrap();
    for n in 1..=300 {
        ann.send("lobby", Draft::text(format!("m{n}"))).await.unwrap();
    }
    ann.edit("lobby", Seq(7), "m7 again").await.unwrap();
    let mut bob = engine.connect(who("bob"));
    let joined = bob.join("lobby", After::Seq(Seq(5))).await.unwrap();
    assert_eq!((joined.last_seq, joined.reset), (Seq(301), false));
    ann.send("lobby", Draft::text("live")).await.unwrap();
    let mut seqs = Vec::new();
    while seqs.last() != Some(&302) {
        let (seq, body) = event(&mut bob).await;
        if seq == 7 {
            assert_eq!(text(&body), "m7 again", "a replay shows messages as they now are");
        }
        seqs.push(seq);
    }
    assert_eq!(seqs, (6..=302).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_slow_reader_loses_nothing() {
    let engine = engine().await;
    let (mut ann, mut bob) = (engine.connect(who("ann")), engine.connect(who("bob")));
    ann.join("lobby", After::Live).await.unwrap();
    bob.join("lobby", After::Live).await.unwrap();
    let long = "x".repeat(4000);
    for _ in 0..1000 {
        ann.send("lobby", Draft::text(long.clone())).await.unwrap();
    }
    for n in 1..=1000 {
        assert_eq!(event(&mut bob).await.0, n);
    }
}

#[tokio::test]
async fn who_is_removed_sees_nothing_after_the_removal() {
    let engine = engine().await;
    let ann = who("ann");
    let made = engine.create_room(&ann, RoomDraft::group(Visibility::Private).id(room("den"))).await.unwrap();
    assert!(matches!(made, NewRoomOutcome::New(_)));
    let bob = UserId::new("bob").unwrap();
    engine.set_member(&ann, &room("den"), &bob, Standing::Member(Role::Member)).await.unwrap();
    let mut session = engine.connect(who("bob"));
    session.join("den", After::Seq(Seq(0))).await.unwrap();
    engine.send(&ann, &room("den"), Draft::text("one")).await.unwrap();
    let removed = engine.set_member(&ann, &room("den"), &bob, Standing::Outsider).await.unwrap();
    engine.send(&ann, &room("den"), Draft::text("two")).await.unwrap();
    let mut last = 0;
    loop {
        match session.next().await.unwrap() {
            Incoming::Event(event) => last = event.seq.0,
            Incoming::Left { reason, .. } => break assert_eq!(reason, LeftReason::Removed),
            _ => {}
        }
    }
    assert_eq!(last, removed.seq.0);
    assert_eq!(code(session.join("den", After::Live).await), Some(ErrorCode::NotFound));
    assert_eq!(code(session.send("den", Draft::text("x")).await), Some(ErrorCode::NotFound));
    let newest = HistoryQuery { from: HistoryFrom::Newest, ..HistoryQuery::default() };
    assert_eq!(code(session.history("den", newest).await), Some(ErrorCode::NotFound));
}

#[tokio::test]
async fn a_room_deleted_and_made_again_is_another() {
    let engine = engine().await;
    let ann = who("ann");
    let draft = || RoomDraft::group(Visibility::Public).id(room("den"));
    engine.create_room(&ann, draft()).await.unwrap();
    let mut bob = engine.connect(who("bob"));
    let first = bob.join("den", After::Live).await.unwrap();
    engine.delete_room(&ann, &room("den")).await.unwrap();
    loop {
        if let Incoming::Left { reason, .. } = bob.next().await.unwrap() {
            break assert_eq!(reason, LeftReason::Closed);
        }
    }
    engine.create_room(&ann, draft()).await.unwrap();
    let second = bob.join("den", After::Position(first.epoch.clone(), first.last_seq)).await.unwrap();
    assert!(second.reset && second.epoch != first.epoch);
}

#[tokio::test]
async fn commands_out_of_place_are_told_so() {
    let engine = engine().await;
    let mut ann = engine.connect(who("ann"));
    assert_eq!(code(ann.send("no-room", Draft::text("x")).await), Some(ErrorCode::NotFound));
    engine.connect(who("bob")).join("lobby", After::Live).await.unwrap();
    assert_eq!(code(ann.send("lobby", Draft::text("x")).await), Some(ErrorCode::NotJoined));
    assert_eq!(code(ann.leave("lobby").await), Some(ErrorCode::NotJoined));
    ann.join("lobby", After::Live).await.unwrap();
    assert_eq!(code(ann.send("lobby", Draft::text("")).await), Some(ErrorCode::Invalid));
    assert_eq!(code(ann.edit("lobby", Seq(9), "x").await), Some(ErrorCode::NotFound));
    ann.leave("lobby").await.unwrap();
}
