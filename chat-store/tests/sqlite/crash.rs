//! Processes that are killed.

use tempfile::tempdir;

use crate::{
    child::{Sender, sender},
    support::{keys, open, room, timeline},
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
        let kept = keys(&timeline(&store, room).await);
        let kept: std::collections::BTreeMap<_, _> = kept.into_iter().collect();
        for (key, seq) in &said.acked {
            assert_eq!(kept.get(key), Some(seq), "{key} was acknowledged");
        }
        assert!(kept.len() <= said.acked.len() + 1, "at most the last one was not told of");
    }
}
