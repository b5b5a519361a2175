//! A Postgres that does not answer, and one in which somebody holds a lock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chat_core::{
    ids::{RoomNo, Seq},
    protocol::HistoryFrom,
    store::{BoxFuture, PageQuery, ReadMark, Store, StoreError},
};
use chat_store::{
    PostgresError, PostgresStore,
    testing::{PostgresServer, postgres_database},
};
use futures_util::{FutureExt, future::join_all};
use tokio::{task::JoinSet, time::sleep};

use crate::support::{
    ann, commit, host, is_unavailable, message, new_room, open, outsider, page, room, timeline, until, user,
};

/// Users are promised 5 s, and the store's own limit is 4 s. The rest is for a machine that has other work to do: without
/// a limit nothing would be answered at all, and without what makes the store refuse at once some calls would take two.
const ANSWER_MAX: Duration = Duration::from_secs(7);

pub(crate) fn query(room: RoomNo) -> PageQuery {
    let from = HistoryFrom::Newest;
    PageQuery { room, reader: Some(ann()), from, limit: 10, bytes: 1 << 20, kinds: Vec::new() }
}

/// One call of a store, less what it answers.
type Call = fn(&PostgresStore, RoomNo) -> BoxFuture<'_, Result<(), StoreError>>;

/// Every method of [`Store`].
const CALLS: [(&str, Call); 11] = [
    ("append", |store, room| store.append(vec![message(room, "text")]).map(|done| done.map(drop)).boxed()),
    ("create_room", |store, _| store.create_room(new_room("new"), 1000).map(|done| done.map(drop)).boxed()),
    ("delete_room", |store, room| store.delete_room(room, host()).map(|done| done.map(drop)).boxed()),
    ("trim", |store, room| store.trim(room, Seq(2)).map(|done| done.map(drop)).boxed()),
    ("save_read_marks", |store, room| {
        store.save_read_marks(vec![ReadMark { room, user: user("ann"), seq: Seq(1) }])
    }),
    ("room", |store, _| store.room("r".parse().unwrap(), user("ann")).map(|done| done.map(drop)).boxed()),
    ("rooms", |store, _| store.rooms(user("ann"), None, 10).map(|done| done.map(drop)).boxed()),
    ("members", |store, room| store.members(room, None, 10).map(|done| done.map(drop)).boxed()),
    ("ends", |store, room| store.ends(vec![room]).map(|done| done.map(drop)).boxed()),
    ("page", |store, room| store.page(query(room)).map(|done| done.map(drop)).boxed()),
    ("ping", |store, _| store.ping()),
];

/// Makes a call that must be answered with `unavailable` in time.
async fn assert_unavailable((name, call): (&str, Call), store: &PostgresStore, room: RoomNo) {
    let began = Instant::now();
    let answer = call(store, room).await;
    assert!(is_unavailable(&answer), "{name}: {answer:?}");
    assert!(began.elapsed() < ANSWER_MAX, "{name} took {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_of_a_postgres_that_stands_still_is_answered_in_time_and_afterwards_it_works() {
    let server = PostgresServer::start();
    let database = server.fresh_database();
    let mut stores = Vec::new();
    for _ in 0..=CALLS.len() {
        stores.push(Arc::new(open(database.url()).await));
    }
    let room = room(&*stores[0], "r").await;
    // Each has a connection that answered before, and a busy one several.
    join_all(stores.iter().map(async |store| store.page(query(room)).await.unwrap().unwrap())).await;
    let busy = stores.pop().unwrap();
    server.stop_answering();

    let mut calls = JoinSet::new();
    for (store, call) in stores.iter().cloned().zip(CALLS) {
        calls.spawn(async move {
            assert_unavailable(call, &store, room).await;
            // From now on it says so at once, to everybody: no connection is asked for.
            for call in CALLS {
                let answer = call.1(&store, room).now_or_never();
                assert!(answer.is_some_and(|answer| is_unavailable(&answer)), "{}", call.0);
            }
        });
    }
    let address = database.url().parse().unwrap();
    calls.spawn(async move {
        let began = Instant::now();
        let error = PostgresStore::open(address).await.unwrap_err();
        assert!(matches!(error, PostgresError::Unreachable { .. }), "{error:?}");
        assert!(began.elapsed() < ANSWER_MAX, "it took {:?}", began.elapsed());
    });
    for i in 0..60_u64 {
        let store = Arc::clone(&busy);
        calls.spawn(async move {
            sleep(Duration::from_millis(i * 90)).await;
            let call = CALLS[if i % 3 == 0 { 0 } else { 9 }];
            assert_unavailable(call, &store, room).await;
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }

    server.answer_again();
    for store in stores.iter().chain([&busy]) {
        until("it is back", async || store.ping().await.is_ok()).await;
        until("it writes", async || store.save_read_marks(Vec::new()).await.is_ok()).await;
    }
    let room = self::room(&*busy, "afterwards").await;
    for store in &stores {
        commit(&**store, message(room, "afterwards")).await;
    }
    assert_eq!(timeline(&*busy, room).await.len(), 1 + stores.len());
}

#[tokio::test]
async fn a_room_that_somebody_has_locked_holds_up_no_other() {
    let database = postgres_database();
    let store = open(database.url()).await;
    let (locked, free) = (room(&store, "locked").await, room(&store, "free").await);
    let outsider = outsider(database.url()).await;
    outsider.batch_execute("BEGIN; SELECT FROM rooms WHERE id = 'locked' FOR UPDATE").await.unwrap();
    let mut waiting = Box::pin(store.append(vec![message(locked, "text")]));
    let mut sent = 0;
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut waiting => break answer,
            _ = commit(&store, message(free, "meanwhile")) => sent += 1,
        }
        page(&store, locked, HistoryFrom::Newest).await;
    };
    assert!(is_unavailable(&answer), "{answer:?}");
    assert!(sent > 1, "{sent} were sent meanwhile");

    // More of them than there are connections that write: some wait for one of those, and then for the lock.
    let began = Instant::now();
    let answers = join_all((0..12).map(|_| store.append(vec![message(locked, "text")]))).await;
    assert!(answers.iter().all(is_unavailable), "{answers:?}");
    assert!(began.elapsed() < ANSWER_MAX, "it took {:?}", began.elapsed());
    // Nobody takes Postgres for away because of that.
    store.ping().await.unwrap();
    commit(&store, message(free, "afterwards")).await;

    outsider.batch_execute("COMMIT").await.unwrap();
    assert_eq!(commit(&store, message(locked, "text")).await, Seq(2));
}
