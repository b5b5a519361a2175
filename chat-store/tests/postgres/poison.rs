//! What Postgres itself refuses.

use chat_core::{
    Draft, Engine, ErrorCode, RoomDraft, Seq,
    rights::{Identity, Visibility},
    store::{Append, Change, Store, StoreError},
};
use tokio::task::JoinSet;

use crate::support::{change, commit, fresh, message, open, outsider, room, timeline};

/// A text that no compression makes shorter.
fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 33) % 94).unwrap())
    };
    (0..bytes).map(|_| next()).collect()
}

#[tokio::test]
async fn what_is_too_large_for_an_index_is_refused_and_changes_nothing() {
    let (_database, store) = fresh().await;
    let room = room(&store, "r").await;
    commit(&store, message(room, "text")).await;
    let keyed = |key: String| change(room, Change::Message(Draft::text("text").key(key)));
    let reaction = Change::React { target: Seq(2), emoji: noise(4000).into(), remove: false };
    let poisonous: [Append; 2] = [keyed(noise(4000)), change(room, reaction)];
    let before = timeline(&store, room).await;
    for poison in poisonous {
        let batch = vec![message(room, "before"), poison, keyed("good".to_owned())];
        let refused = store.append(batch).await;
        assert!(matches!(refused, Err(StoreError::Rejected(_))), "{refused:?}");
        assert_eq!(timeline(&store, room).await, before);
    }
    assert_eq!(commit(&store, keyed("good".to_owned())).await.0, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_an_engine_the_neighbours_of_what_is_refused_go_through() {
    let (database, store) = fresh().await;
    let outsider = outsider(database.url()).await;
    let refuse = "ALTER TABLE events ADD CHECK (text IS DISTINCT FROM 'poison'::bytea)";
    outsider.batch_execute(refuse).await.unwrap();
    let engine = Engine::builder(store).build().await.unwrap();
    let ann = Identity::new("ann").unwrap();
    let id: chat_core::RoomId = "r".parse().unwrap();
    engine.create_room(&ann, RoomDraft::group(Visibility::Public).id(id.clone())).await.unwrap();
    let mut sends = JoinSet::new();
    for i in 0..60 {
        let (engine, ann, id) = (engine.clone(), ann.clone(), id.clone());
        sends.spawn(async move {
            let text = if i % 20 == 7 { "poison" } else { "wholesome" };
            (text, engine.send(&ann, &id, Draft::text(text).key(format!("k{i}"))).await)
        });
    }
    for (text, sent) in sends.join_all().await {
        assert_eq!(sent.is_ok(), text == "wholesome", "{sent:?}");
        if let Err(error) = sent {
            assert_ne!(error.code, ErrorCode::Unavailable, "it would be sent again");
        }
    }
    let store = open(database.url()).await;
    let no = room(&store, "r").await;
    assert_eq!(timeline(&store, no).await.len(), 1 + 57);
}
