//! Two stores over one database: who makes rooms, who deletes them, and what is judged after a wait.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use chat_core::{
    rights::{Role, Standing},
    store::{Change, Created, Refused, Store},
};
use tokio::task::JoinSet;

use crate::support::{ann, change, commit, count, host, new_room, outsider, room, two, until_counted, user};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_make_a_room_of_one_id_one_makes_it_and_both_have_it() {
    let (_database, stores) = two().await;
    for i in 0..12 {
        let new = new_room(&format!("r{i}"));
        let (one, other) =
            tokio::join!(stores[0].create_room(new.clone(), 1000), stores[1].create_room(new, 1000));
        let ((Created::New(made), Created::Exists(found)) | (Created::Exists(found), Created::New(made))) =
            (one.unwrap(), other.unwrap())
        else {
            panic!("room {i} was made twice or not at all");
        };
        assert_eq!(made, found);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_never_more_rooms_than_may_be_also_while_others_are_deleted() {
    const ROOMS_MAX: u64 = 12;
    let (database, stores) = two().await;
    let stores = stores.map(Arc::new);
    let done = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn({
        let (outsider, done) = (outsider(database.url()).await, Arc::clone(&done));
        async move {
            while !done.load(Relaxed) {
                assert!(count(&outsider, "SELECT count(*) FROM rooms").await <= ROOMS_MAX);
            }
        }
    });
    let mut tasks = JoinSet::new();
    for task in 0..4 {
        let store = Arc::clone(&stores[task % 2]);
        tasks.spawn(async move {
            let (mut mine, mut deleted) = (Vec::new(), 0);
            for i in 0..16 {
                match store.create_room(new_room(&format!("r{task}.{i}")), ROOMS_MAX).await.unwrap() {
                    Created::New(room) => mine.push(room.no),
                    Created::Full => {
                        for room in mine.drain(..).take(2 + task % 3) {
                            store.delete_room(room, host()).await.unwrap().unwrap();
                            deleted += 1;
                        }
                    }
                    Created::Exists(room) => panic!("{room:?}"),
                }
            }
            deleted
        });
    }
    let deleted: usize = tasks.join_all().await.into_iter().sum();
    done.store(true, Relaxed);
    watcher.await.unwrap();
    assert!(deleted > 0, "rooms were deleted meanwhile");
    let outsider = outsider(database.url()).await;
    let mut rooms = count(&outsider, "SELECT count(*) FROM rooms").await;
    assert_eq!(count(&outsider, "SELECT rooms FROM totals").await, rooms);
    while let Created::New(_) =
        stores[0].create_room(new_room(&format!("last{rooms}")), ROOMS_MAX).await.unwrap()
    {
        rooms += 1;
    }
    assert_eq!(count(&outsider, "SELECT count(*) FROM rooms").await, ROOMS_MAX, "exactly as many as may be");
    assert_eq!(stores[1].create_room(new_room("one.more"), ROOMS_MAX).await.unwrap(), Created::Full);
}

#[tokio::test]
async fn a_deletion_is_judged_by_what_is_true_once_it_has_the_room() {
    let (database, [store, _]) = two().await;
    let room = room(&store, "r").await;
    let bob = Change::Member { user: user("bob"), standing: Standing::Member(Role::Manager) };
    commit(&store, change(room, bob)).await;
    // Somebody else is about to make bob a simple member.
    let outsider = outsider(database.url()).await;
    outsider
        .batch_execute(
            "BEGIN; SELECT FROM rooms FOR NO KEY UPDATE; UPDATE members SET role = 'member' WHERE \"user\" = 'bob'",
        )
        .await
        .unwrap();
    let mut actor = ann();
    actor.user = user("bob");
    let watcher = crate::support::outsider(database.url()).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let change = async {
        until_counted(&watcher, waiting, 1).await;
        outsider.batch_execute("COMMIT").await.unwrap();
    };
    let (deleted, ()) = tokio::join!(store.delete_room(room, actor), change);
    assert_eq!(deleted.unwrap(), Err(Refused::Forbidden));
}
