//! Several nodes over one store, with no bus between them that carries anything.

#![expect(clippy::unwrap_used, reason = "a test fails where something is not as it says")]

use std::time::Duration;

use chat_core::{
    After, Draft, Engine, Identity, Incoming, LocalSession, MissingRooms, RoomDraft, RoomId, Seq, UserId,
    bus::PollBus,
    limits::{STORE_LOOK_PAUSE, STORE_RETRY_MAX},
    protocol::{EventBody, LeftReason},
    rights::{Role, Standing, Visibility},
    store::{MemoryStore, Store},
    testing::FaultyStore,
};
use tokio::time::Instant;

async fn node(store: impl Store) -> Engine {
    let missing = MissingRooms::Create { rooms_max: 100 };
    Engine::builder(store).bus(PollBus).missing_rooms(missing).build().await.unwrap()
}

/// Two of them.
async fn nodes() -> (Engine, Engine) {
    let store = MemoryStore::new();
    (node(store.clone()).await, node(store).await)
}

fn who(name: &str) -> Identity {
    Identity::new(name).unwrap()
}

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

/// The next event: its number, and its text where it is a message.
async fn event(session: &mut LocalSession) -> (u64, Option<Box<str>>) {
    loop {
        if let Incoming::Event(event) = session.next().await.unwrap() {
            let text = match &event.body {
                EventBody::Message(message) => message.text.clone(),
                _ => None,
            };
            return (event.seq.0, text);
        }
    }
}

async fn left(session: &mut LocalSession) -> (u64, LeftReason) {
    let mut last = 0;
    loop {
        match session.next().await.unwrap() {
            Incoming::Event(event) => last = event.seq.0,
            Incoming::Left { reason, .. } => return (last, reason),
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_node_commits_the_other_shows_after_its_next_look() {
    let (here, there) = nodes().await;
    let (mut ann, mut bob) = (here.connect(who("ann")), there.connect(who("bob")));
    ann.join("lobby", After::Live).await.unwrap();
    bob.join("lobby", After::Live).await.unwrap();
    for n in 1..=100_u64 {
        let (sender, reader) = if n % 2 == 0 { (&mut ann, &mut bob) } else { (&mut bob, &mut ann) };
        let text = format!("m{n}");
        let ack = sender.send("lobby", Draft::text(text.clone())).await.unwrap();
        let sent = Instant::now();
        assert_eq!(event(reader).await, (n, Some(text.into())));
        assert!(sent.elapsed() <= STORE_LOOK_PAUSE, "{:?}", sent.elapsed());
        assert_eq!((ack.seq, event(sender).await.0), (Seq(n), n));
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_on_another_node_leaves_the_room_on_this_one() {
    let (here, there) = nodes().await;
    let ann = who("ann");
    here.create_room(&ann, RoomDraft::group(Visibility::Private).id(room("den"))).await.unwrap();
    let bob = UserId::new("bob").unwrap();
    here.set_member(&ann, &room("den"), &bob, Standing::Member(Role::Member)).await.unwrap();
    let mut session = there.connect(who("bob"));
    session.join("den", After::Seq(Seq(0))).await.unwrap();
    let removed = here.set_member(&ann, &room("den"), &bob, Standing::Outsider).await.unwrap();
    here.send(&ann, &room("den"), Draft::text("without bob")).await.unwrap();
    assert_eq!(left(&mut session).await, (removed.seq.0, LeftReason::Removed));
}

#[tokio::test(start_paused = true)]
async fn a_room_deleted_on_another_node_is_closed_on_this_one() {
    let (here, there) = nodes().await;
    let ann = who("ann");
    here.create_room(&ann, RoomDraft::group(Visibility::Public).id(room("den"))).await.unwrap();
    let mut session = there.connect(who("bob"));
    session.join("den", After::Live).await.unwrap();
    here.delete_room(&ann, &room("den")).await.unwrap();
    assert_eq!(left(&mut session).await.1, LeftReason::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_not_asked_ever_more_and_then_all_is_shown() {
    let store = MemoryStore::new();
    let faulty = FaultyStore::new(store.clone());
    let (here, there) = (node(faulty.clone()).await, node(store).await);
    let (mut ann, mut bob) = (here.connect(who("ann")), there.connect(who("bob")));
    ann.join("lobby", After::Live).await.unwrap();
    bob.join("lobby", After::Live).await.unwrap();
    faulty.go_down();
    for n in 1..=5 {
        bob.send("lobby", Draft::text(format!("m{n}"))).await.unwrap();
    }
    let hour = Duration::from_hours(1);
    let before = faulty.counts().calls;
    tokio::time::sleep(hour).await;
    let asked = faulty.counts().calls - before;
    // One question, again and again; its first pauses are shorter.
    assert!(asked <= hour.as_secs() / STORE_RETRY_MAX.as_secs() + 10, "{asked} times");
    faulty.come_back();
    for n in 1..=5 {
        assert_eq!(event(&mut ann).await.0, n);
    }
}
