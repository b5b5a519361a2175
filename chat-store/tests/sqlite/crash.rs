//! Processes that are killed.

use tempfile::tempdir;

use crate::{
    child::{Sender, assert_kept, sender},
    support::{open, room, timeline},
};

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    for round in 1..=5 {
        let enough = round * 60;
        let said = Sender::start(sender(&path, 100_000, 2000)).kill_once(|said| said.acked.len() >= enough);
        let store = open(&path).await;
        let room = room(&store, "r").await;
        assert_kept(&timeline(&store, room).await, &said);
    }
}
