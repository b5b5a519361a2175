//! How much is read for an answer.

use chat_core::{
    ids::Seq,
    protocol::{EventKind, HistoryFrom},
    store::{PageQuery, Store},
};

use crate::support::{ann, count, fresh, outsider, page, room, until_counted, user};

const MESSAGES: u64 = 100_000;

/// What the calls below may read: twice the events of their pages, and what else hangs on them.
const ROWS_MAX: u64 = 5000;

/// After a restore there are no statistics for a while. Plans that hang on them read all of a room, and sort it.
#[tokio::test]
async fn without_statistics_nobody_reads_a_whole_room() {
    let (database, store) = fresh().await;
    let room = room(&store, "r").await;
    let outsider = outsider(database.url()).await;
    // As a restore does it: all rows, then the indexes, which leave the number of rows and nothing else to plan with.
    let fill = format!(
        "INSERT INTO events (room, seq, at, kind, author, text)
         SELECT {no}, seq, 2, 1, 'bob', 'text' FROM generate_series(2, {MESSAGES}) AS s (seq);
         UPDATE rooms SET last_seq = {MESSAGES} WHERE no = {no};
         REINDEX TABLE events",
        no = room.0
    );
    outsider.batch_execute(&fill).await.unwrap();
    let middle = Seq(MESSAGES / 2);
    for from in [HistoryFrom::Newest, HistoryFrom::Before(middle), HistoryFrom::After(middle)] {
        assert_eq!(page(&store, room, from).await.events.len(), 500);
    }
    let kinds = vec![EventKind::Deleted];
    let (from, reader) = (HistoryFrom::Newest, Some(ann()));
    let rare = PageQuery { room, reader, from, limit: 100, bytes: usize::MAX, kinds };
    assert_eq!(store.page(rare).await.unwrap().unwrap().events, []);
    assert_eq!(store.room("r".parse().unwrap(), user("ann")).await.unwrap().unwrap().unread, 1000);

    // What a session has read is told when it ends.
    drop(store);
    let others = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    until_counted(&outsider, others, 0).await;
    let read = "SELECT (seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_user_tables
        WHERE schemaname = 'chat' AND relname = 'events'";
    let read = count(&outsider, read).await;
    assert!((2500..ROWS_MAX).contains(&read), "{read} rows were read");
}
