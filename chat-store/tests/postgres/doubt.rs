//! Commits whose outcome nobody was told.

use chat_core::{
    Draft,
    ids::{RoomNo, Seq},
    store::{Append, Appended, Change, Store},
};
use chat_store::{
    PostgresStore,
    testing::{PostgresDatabase, postgres_database},
};
use tokio_postgres::Client;

use crate::{
    proxy::{Fate, Proxy, is_commit},
    support::{
        change, commit, count, host, is_unavailable, open, outsider, room, timeline, until, until_counted,
    },
};

/// A room in a store behind a proxy, and somebody who looks on from the side.
struct Stage {
    proxy: Proxy,
    store: PostgresStore,
    room: RoomNo,
    outsider: Client,
    _database: PostgresDatabase,
}

impl Stage {
    async fn set() -> Self {
        let database = postgres_database();
        let proxy = Proxy::start(database.url()).await;
        let store = open(proxy.url()).await;
        let room = room(&store, "r").await;
        let outsider = outsider(database.url()).await;
        Self { proxy, store, room, outsider, _database: database }
    }

    fn keyed(&self) -> Append {
        change(self.room, Change::Message(Draft::text("perhaps").key("k")))
    }

    /// Sends what nobody confirms.
    async fn send_in_doubt(&self) {
        let sent = self.store.append(vec![self.keyed()]).await;
        assert!(is_unavailable(&sent), "{sent:?}");
    }

    async fn end(&self) -> Option<Seq> {
        self.store.ends(vec![self.room]).await.unwrap()[0]
    }

    /// Waits until somebody waits for the lock of a room.
    async fn until_one_waits(&self) {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE wait_event_type = 'Lock' AND datname = current_database()";
        until_counted(&self.outsider, waiting, 1).await;
    }

    /// What the room then holds, and that the key is in it once, whoever asks.
    async fn assert_committed(&self) {
        assert_eq!(self.end().await, Some(Seq(2)));
        let again = self.store.append(vec![self.keyed()]).await.unwrap();
        assert!(matches!(again[..], [Ok(Appended::Duplicate { seq: Seq(2), .. })]), "{again:?}");
        assert_eq!(timeline(&self.store, self.room).await.len(), 2);
    }

    async fn assert_not_committed(&self) {
        assert_eq!(self.end().await, Some(Seq(1)));
        assert_eq!(commit(&self.store, self.keyed()).await, Seq(2));
        assert_eq!(timeline(&self.store, self.room).await.len(), 2);
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_seen_by_who_asks_for_the_end() {
    let stage = Stage::set().await;
    stage.proxy.next_commit(Fate::Unanswered);
    stage.send_in_doubt().await;
    stage.assert_committed().await;
}

#[tokio::test]
async fn a_commit_that_got_nowhere_is_not_there() {
    let stage = Stage::set().await;
    stage.proxy.next_commit(Fate::Lost);
    stage.send_in_doubt().await;
    stage.assert_not_committed().await;
}

#[tokio::test]
async fn after_a_commit_that_is_not_answered_at_all_the_store_comes_back_and_knows() {
    let stage = Stage::set().await;
    stage.proxy.next_commit(Fate::Silent);
    stage.send_in_doubt().await;
    until("it is back", async || stage.store.ping().await.is_ok()).await;
    stage.assert_committed().await;
}

#[tokio::test]
async fn who_asks_for_the_end_waits_for_a_commit_that_comes_late() {
    let stage = Stage::set().await;
    let (deliver, answer) = stage.proxy.next_commit_late();
    stage.send_in_doubt().await;
    let late = async {
        stage.until_one_waits().await;
        deliver.send(()).unwrap();
    };
    let (end, ()) = tokio::join!(stage.end(), late);
    assert_eq!(end, Some(Seq(2)));
    assert!(is_commit(&answer.await.unwrap()));
    stage.assert_committed().await;
}

#[tokio::test]
async fn an_append_waits_for_a_commit_that_comes_late_and_settles_it() {
    let stage = Stage::set().await;
    let (deliver, _answer) = stage.proxy.next_commit_late();
    stage.send_in_doubt().await;
    let late = async {
        stage.until_one_waits().await;
        deliver.send(()).unwrap();
    };
    let (again, ()) = tokio::join!(stage.store.append(vec![stage.keyed()]), late);
    let again = again.unwrap();
    assert!(matches!(again[..], [Ok(Appended::Duplicate { seq: Seq(2), .. })]), "{again:?}");
    stage.assert_committed().await;
}

#[tokio::test]
async fn while_a_commit_may_still_come_no_end_is_told() {
    let stage = Stage::set().await;
    let (deliver, answer) = stage.proxy.next_commit_late();
    stage.send_in_doubt().await;
    let ends = stage.store.ends(vec![stage.room]).await;
    assert!(is_unavailable(&ends), "{ends:?}");
    deliver.send(()).unwrap();
    assert!(is_commit(&answer.await.unwrap()));
    stage.assert_committed().await;
}

#[tokio::test]
async fn while_a_commit_may_still_come_the_store_is_not_well() {
    let stage = Stage::set().await;
    let (deliver, answer) = stage.proxy.next_commit_late();
    stage.send_in_doubt().await;
    let ping = stage.store.ping().await;
    assert!(is_unavailable(&ping), "{ping:?}");
    deliver.send(()).unwrap();
    assert!(is_commit(&answer.await.unwrap()));
    stage.store.ping().await.unwrap();
    stage.assert_committed().await;
}

#[tokio::test]
async fn once_an_end_was_told_a_commit_comes_too_late() {
    let stage = Stage::set().await;
    let (deliver, answer) = stage.proxy.next_commit_late();
    stage.send_in_doubt().await;
    // Postgres ends a session that stands idle in its transaction.
    until("an end is told", async || stage.store.ends(vec![stage.room]).await.is_ok()).await;
    assert_eq!(stage.end().await, Some(Seq(1)));
    deliver.send(()).unwrap();
    let answer = answer.await.unwrap();
    assert!(!is_commit(&answer), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(count(&stage.outsider, "SELECT last_seq FROM rooms").await, 1);
    stage.assert_not_committed().await;
}

#[tokio::test]
async fn a_deletion_in_doubt_is_waited_for_too() {
    let stage = Stage::set().await;
    let other = room(&stage.store, "other").await;
    let (deliver, _answer) = stage.proxy.next_commit_late();
    let deleted = stage.store.delete_room(stage.room, host()).await;
    assert!(is_unavailable(&deleted), "{deleted:?}");
    assert_eq!(stage.store.ends(vec![other]).await.unwrap(), [Some(Seq(1))], "that room is in no doubt");
    let late = async {
        stage.until_one_waits().await;
        deliver.send(()).unwrap();
    };
    let (ends, ()) = tokio::join!(stage.store.ends(vec![other, stage.room]), late);
    assert_eq!(ends.unwrap(), [Some(Seq(1)), None]);
}
