//! The least that a database can do for messages: their rows, and the room's new end.

use std::path::Path;

use chat_core::ids::RoomNo;
use rusqlite::{Connection, ToSql};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, Statement};

use crate::messages::{AUTHOR, now, text};

pub(crate) trait Floor {
    /// Writes a message for each key, in one transaction.
    fn insert(&mut self, runtime: &Runtime, keys: &[String]);

    /// Does what can be done between the transactions.
    fn rest(&mut self) {}
}

/// One thread, one connection, one statement a table.
pub(crate) struct SqliteFloor {
    conn: Connection,
    room: i64,
    last_seq: i64,
    checkpointed_seq: i64,
}

/// Messages after which SQLite's log is moved into the file.
const MESSAGES_OF_A_LOG: i64 = 4000;

/// Most rows of a statement: SQLite takes 32,766 parameters.
const ROWS_MAX: usize = 1000;

impl SqliteFloor {
    /// With the settings of the store.
    pub(crate) fn open(path: &Path, room: RoomNo, synchronous: &str) -> Self {
        let conn = Connection::open(path).unwrap();
        conn.set_prepared_statement_cache_capacity(16);
        for (pragma, value) in [
            ("cache_size", "-16384"),
            ("synchronous", synchronous),
            ("wal_autocheckpoint", "0"),
            ("secure_delete", "ON"),
        ] {
            conn.pragma_update(None, pragma, value).unwrap();
        }
        Self { conn, room: i64::try_from(room.0).unwrap(), last_seq: 0, checkpointed_seq: 0 }
    }
}

fn rows(columns: &str, count: usize) -> String {
    vec![columns; count].join(", ")
}

impl Floor for SqliteFloor {
    fn insert(&mut self, _: &Runtime, keys: &[String]) {
        let (text, at, kind, deleted) = (text(), now().0, 1, 0);
        assert!(keys.len() <= ROWS_MAX, "one statement takes no more");
        let numbers: Vec<_> = (self.last_seq + 1..).take(keys.len()).collect();
        let tx = self.conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        let bodies =
            format!("INSERT INTO bodies (id, text, meta) VALUES {}", rows("(?, ?, NULL)", keys.len()));
        let values = numbers.iter().flat_map(|number| [number as &dyn ToSql, &text]);
        tx.prepare_cached(&bodies).unwrap().execute(rusqlite::params_from_iter(values)).unwrap();
        let events = format!(
            "INSERT INTO events (room, seq, at, author, kind, key, body, deleted) VALUES {}",
            rows("(?, ?, ?, ?, ?, ?, ?, ?)", keys.len())
        );
        let values = numbers.iter().zip(keys).flat_map(|(number, key)| {
            [&self.room as &dyn ToSql, number, &at, &AUTHOR, &kind, key, number, &deleted]
        });
        tx.prepare_cached(&events).unwrap().execute(rusqlite::params_from_iter(values)).unwrap();
        self.last_seq += i64::try_from(keys.len()).unwrap();
        tx.prepare_cached("UPDATE rooms SET last_seq = ?2 WHERE no = ?1")
            .unwrap()
            .execute((self.room, self.last_seq))
            .unwrap();
        tx.commit().unwrap();
    }

    /// The store moves its log into the file beside the commits, at about this pace.
    fn rest(&mut self) {
        if self.last_seq >= self.checkpointed_seq + MESSAGES_OF_A_LOG {
            self.checkpointed_seq = self.last_seq;
            self.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        }
    }
}

/// One connection, two turns: the inserts, then the commit.
pub(crate) struct PostgresFloor {
    client: Client,
    insert: Statement,
    update: Statement,
    room: i64,
    last_seq: i64,
}

/// The settings of the store that concern a commit.
const SETTINGS: &str =
    "SET search_path = chat; SET synchronous_commit = on; SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off";

impl PostgresFloor {
    pub(crate) async fn connect(url: &str, room: RoomNo) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(SETTINGS).await.unwrap();
        let insert = client.prepare(
            "INSERT INTO events (room, seq, at, kind, author, key, text)
             SELECT a.room, a.seq, a.at, 1, a.author, a.key, a.text
             FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bytea[], $6::bytea[])
                AS a (room, seq, at, author, key, text)",
        );
        let insert = insert.await.unwrap();
        let update = client.prepare("UPDATE rooms SET last_seq = $2 WHERE no = $1").await.unwrap();
        Self { client, insert, update, room: i64::try_from(room.0).unwrap(), last_seq: 0 }
    }

    async fn write(&self, first: i64, keys: &[String]) {
        let text = text();
        let (rooms, ats) = (vec![self.room; keys.len()], vec![now().0; keys.len()]);
        let (authors, texts) = (vec![AUTHOR; keys.len()], vec![text.as_bytes(); keys.len()]);
        let seqs: Vec<_> = (first..).take(keys.len()).collect();
        let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&rooms, &seqs, &ats, &authors, &keys, &texts];
        let end: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&self.room, &self.last_seq];
        let written = tokio::try_join!(
            biased;
            self.client.batch_execute("BEGIN"),
            self.client.execute(&self.insert, &values),
            self.client.execute(&self.update, &end),
        );
        written.unwrap();
        self.client.batch_execute("COMMIT").await.unwrap();
    }
}

impl Floor for PostgresFloor {
    fn insert(&mut self, runtime: &Runtime, keys: &[String]) {
        let first = self.last_seq + 1;
        self.last_seq += i64::try_from(keys.len()).unwrap();
        runtime.block_on(self.write(first, keys));
    }
}
