//! What an engine leaves off under strain, level by level, and what it never does. Time stands still but where everybody
//! waits.

#![expect(clippy::unwrap_used, reason = "a test fails where something is not as it says")]

use std::time::Duration;

use chat_core::{
    After, CommandError, Draft, Engine, ErrorCode, Identity, Incoming, Limits, LocalSession, MissingRooms,
    RoomDraft, Strain,
    limits::Gathering,
    protocol::{Ack, Ephemeral, EventBody, HistoryQuery, RoomPatch},
    rights::{Role, Standing, Visibility},
    store::MemoryStore,
    testing::{Calls, Fault, FaultyStore},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const WINDOW: Duration = Duration::from_millis(90);
/// What a timer may be late, and a commit may take.
const SOON: Duration = Duration::from_millis(20);

/// An engine for which each room is a busy one, and which lets so many sends wait where it refuses more.
async fn engine(store: FaultyStore, strained_queue: usize) -> Engine {
    let mut limits = Limits::default();
    limits.gathering = Gathering {
        first: WINDOW,
        per_reader: Duration::ZERO,
        max: WINDOW,
        write_cost: Duration::from_secs(1),
    };
    limits.strained_queue = strained_queue;
    let missing = MissingRooms::Create { rooms_max: 100 };
    Engine::builder(store).limits(limits).missing_rooms(missing).build().await.unwrap()
}

async fn calm() -> Engine {
    engine(FaultyStore::new(MemoryStore::new()), 0).await
}

async fn enter(engine: &Engine, name: &str) -> LocalSession {
    let mut session = engine.connect(Identity::new(name).unwrap());
    session.join("lobby", After::Live).await.unwrap();
    session
}

/// The number of the next event.
async fn event(session: &mut LocalSession) -> u64 {
    let next = async {
        loop {
            if let Incoming::Event(event) = session.next().await.unwrap() {
                return event.seq.0;
            }
        }
    };
    timeout(Duration::from_mins(1), next).await.expect("it comes")
}

/// What there is to be heard that has no number.
async fn passing(session: &mut LocalSession) -> Vec<Ephemeral> {
    let mut heard = Vec::new();
    while let Ok(next) = timeout(Duration::from_secs(3), session.next()).await {
        if let Incoming::Ephemeral(ephemeral) = next.unwrap() {
            heard.push(ephemeral);
        }
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn what_has_no_number_is_shed_first_and_told_again_once_it_is_over() {
    let engine = calm().await;
    let (mut ann, mut bob) = (enter(&engine, "ann").await, enter(&engine, "bob").await);
    ann.typing("lobby").await.unwrap();
    assert!(!passing(&mut bob).await.is_empty());
    engine.set_strain(Strain::ShedEphemeral);
    ann.typing("lobby").await.unwrap();
    drop(enter(&engine, "cat").await);
    assert!(passing(&mut bob).await.is_empty(), "neither typing nor presence");
    ann.send("lobby", Draft::text("one")).await.unwrap();
    assert_eq!(event(&mut bob).await, 1, "what has a number is told as ever");
    engine.set_strain(Strain::None);
    ann.typing("lobby").await.unwrap();
    let heard = passing(&mut bob).await;
    let types = |one: &Ephemeral| matches!(one, Ephemeral::Typing { user, .. } if user.as_str() == "ann");
    let count = |one: &Ephemeral| matches!(one, Ephemeral::PresenceCount { online_count: 2, .. });
    assert!(heard.iter().any(types) && heard.iter().any(count) && heard.len() == 2, "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_read_mark_that_nobody_is_told_is_kept() {
    let engine = calm().await;
    let mut ann = enter(&engine, "ann").await;
    let ack = ann.send("lobby", Draft::text("one")).await.unwrap();
    engine.set_strain(Strain::RefuseSends);
    ann.read("lobby", ack.seq).await.unwrap();
    engine.settle().await;
    let view = engine.room(&Identity::new("ann").unwrap(), &"lobby".try_into().unwrap()).await.unwrap();
    assert_eq!(view.read, ack.seq);
}

#[tokio::test(start_paused = true)]
async fn what_is_new_gathers_longer_level_by_level() {
    let engine = calm().await;
    let (mut ann, mut bob) = (enter(&engine, "ann").await, enter(&engine, "bob").await);
    let levels = [Strain::None, Strain::ShedEphemeral, Strain::GatherLonger, Strain::RefuseConnections];
    let mut windows = Vec::new();
    for strain in levels.into_iter().chain([Strain::None]) {
        engine.set_strain(strain);
        // The first after a rest waits for nobody.
        sleep(Duration::from_secs(2)).await;
        ann.send("lobby", Draft::text("first")).await.unwrap();
        event(&mut bob).await;
        let began = Instant::now();
        ann.send("lobby", Draft::text("next")).await.unwrap();
        assert!(began.elapsed() < SOON, "the sender does not wait for its ack");
        event(&mut bob).await;
        windows.push(began.elapsed());
    }
    let expected = [1, 1, 2, 4, 1].map(|factor| WINDOW * factor);
    for (took, expected) in windows.iter().zip(expected) {
        assert!((expected..expected + SOON).contains(took), "{windows:?}");
    }
}

/// Says something, and waits in a task of its own for what becomes of it.
fn say(engine: &Engine, name: &str) -> JoinHandle<Result<Ack, CommandError>> {
    let (engine, who) = (engine.clone(), Identity::new(name).unwrap());
    tokio::spawn(async move {
        let draft = Draft::text("hello").key(who.user.as_str());
        engine.send(&who, &"lobby".try_into().unwrap(), draft).await
    })
}

#[tokio::test(start_paused = true)]
async fn new_sends_are_refused_where_some_wait_and_what_was_accepted_is_kept_and_acked() {
    const QUEUE: usize = 2;
    let store = FaultyStore::new(MemoryStore::new());
    let engine = engine(store.clone(), QUEUE).await;
    let _ann = enter(&engine, "ann").await;
    store.script(Calls::Appends, [Some(Fault::HoldBefore)]);
    let mut accepted = vec![say(&engine, "u0")];
    while store.holding() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    engine.set_strain(Strain::RefuseSends);
    for n in 1..=QUEUE {
        accepted.push(say(&engine, &format!("u{n}")));
        sleep(Duration::from_secs(1)).await;
    }
    let refused = say(&engine, "late").await.unwrap().unwrap_err();
    assert_eq!(refused.code, ErrorCode::Overloaded);
    assert!(refused.retry_after_ms.is_some(), "it says when to come again");
    store.release_all();
    for (seq, acked) in (1..).zip(accepted) {
        assert_eq!(acked.await.unwrap().unwrap().seq.0, seq);
    }
    let ack = say(&engine, "late").await.unwrap().unwrap();
    assert!(!ack.duplicate, "a refused send was not kept, and where nothing waits a new one is taken");
    assert_eq!(engine.tally().messages, ack.seq.0);
}

#[tokio::test(start_paused = true)]
async fn a_manager_can_still_help_where_sends_are_refused() {
    let engine = calm().await;
    let (host, room) = (Identity::new("host").unwrap(), "den".try_into().unwrap());
    engine
        .create_room(&host, RoomDraft::group(Visibility::Public).id("den".try_into().unwrap()))
        .await
        .unwrap();
    engine.send(&host, &room, Draft::text("one")).await.unwrap();
    engine.set_strain(Strain::RefuseSends);
    engine.send(&host, &room, Draft::text("two")).await.unwrap_err();
    engine.set_member(&host, &room, &"ann".try_into().unwrap(), Standing::Banned).await.unwrap();
    engine
        .set_member(&host, &room, &"bob".try_into().unwrap(), Standing::Member(Role::Member))
        .await
        .unwrap();
    let patch = RoomPatch { topic: Some("full".into()), ..RoomPatch::default() };
    engine.update_room(&host, &room, patch).await.unwrap();
    let page = engine.history(&host, &room, &HistoryQuery::default()).await.unwrap();
    let said = page.events.iter().filter(|event| matches!(event.body, EventBody::Message(_)));
    assert_eq!((said.count(), page.events.len()), (1, 5));
}
