//! The least that a database can do for messages: their rows, and now and then the room's new end.

use std::path::Path;

use rusqlite::{Connection, Statement};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, Statement as Prepared};

use crate::messages::{Room, Row, now, text};

pub(crate) trait Floor {
    /// Writes messages, in one transaction.
    fn insert(&mut self, runtime: &Runtime, rows: &[Row]);

    /// Does what can be done between the transactions.
    fn rest(&mut self) {}
}

/// One thread, one connection, one statement a table for up to [`ROWS_MAX`] rows, all prepared before.
pub(crate) struct SqliteFloor {
    conn: &'static Connection,
    begin: Statement<'static>,
    commit: Statement<'static>,
    inserts: Vec<Inserts>,
    note_end: Statement<'static>,
    ends: Vec<End>,
    text: String,
    messages: u64,
    checkpointed: u64,
}

/// The statements for so many rows.
struct Inserts {
    rows: usize,
    bodies: Statement<'static>,
    events: Statement<'static>,
}

/// How far a room is.
struct End {
    no: i64,
    last_seq: i64,
    /// As the table has it.
    noted_seq: i64,
}

/// Messages after which SQLite's log is moved into the file. With many rooms that is as often as the store does it; with
/// one it is more often, and what is in the caches is written over again.
const MESSAGES_OF_A_LOG: u64 = 5000;

/// Most rows of a statement: more of them save nothing.
const ROWS_MAX: usize = 100;

/// Rows of the statements: every batch is made of few of them.
const SIZES: [usize; 4] = [ROWS_MAX, 50, 10, 1];

/// The store notes the end of a room when so many events came.
const END_NOTED_EVERY: i64 = 16;

impl SqliteFloor {
    /// With the settings of the store.
    pub(crate) fn open(path: &Path, rooms: &[Room], synchronous: &str) -> Self {
        // The statements borrow it as long as the bench runs.
        let conn: &'static Connection = Box::leak(Box::new(Connection::open(path).unwrap()));
        for (pragma, value) in [
            ("cache_size", "-16384"),
            ("synchronous", synchronous),
            ("wal_autocheckpoint", "0"),
            ("secure_delete", "ON"),
        ] {
            conn.pragma_update(None, pragma, value).unwrap();
        }
        let prepare = |sql: &str| conn.prepare(sql).unwrap();
        let inserts = SIZES.map(|rows| Inserts {
            rows,
            bodies: prepare(&format!("INSERT OR FAIL INTO bodies (text) VALUES {}", values("(?)", rows))),
            events: prepare(&format!(
                "INSERT OR FAIL INTO events (room, seq, at, author, key, body, kind, deleted) VALUES {}",
                values("(?, ?, ?, ?, ?, ?, 1, 0)", rows)
            )),
        });
        let end = |room: &Room| End {
            no: i64::try_from(room.no.0).unwrap(),
            last_seq: room.last_seq,
            noted_seq: 0,
        };
        Self {
            conn,
            begin: prepare("BEGIN IMMEDIATE"),
            commit: prepare("COMMIT"),
            inserts: inserts.into(),
            note_end: prepare("UPDATE rooms SET last_seq = ?2 WHERE no = ?1"),
            ends: rooms.iter().map(end).collect(),
            text: text(),
            messages: 0,
            checkpointed: 0,
        }
    }
}

fn values(columns: &str, count: usize) -> String {
    vec![columns; count].join(", ")
}

impl Inserts {
    fn write(&mut self, conn: &Connection, rows: &[Row], ends: &mut [End], text: &str) {
        for parameter in 1..=rows.len() {
            self.bodies.raw_bind_parameter(parameter, text).unwrap();
        }
        self.bodies.raw_execute().unwrap();
        let first_body = conn.last_insert_rowid() + 1 - i64::try_from(rows.len()).unwrap();
        let at = now().0;
        for ((first, body), row) in (1..).step_by(6).zip(first_body..).zip(rows) {
            let end = &mut ends[row.room];
            end.last_seq += 1;
            self.events.raw_bind_parameter(first, end.no).unwrap();
            self.events.raw_bind_parameter(first + 1, end.last_seq).unwrap();
            self.events.raw_bind_parameter(first + 2, at).unwrap();
            self.events.raw_bind_parameter(first + 3, row.author.as_str()).unwrap();
            self.events.raw_bind_parameter(first + 4, row.key.as_str()).unwrap();
            self.events.raw_bind_parameter(first + 5, body).unwrap();
        }
        self.events.raw_execute().unwrap();
    }
}

impl Floor for SqliteFloor {
    fn insert(&mut self, _: &Runtime, rows: &[Row]) {
        self.begin.raw_execute().unwrap();
        let mut rest = rows;
        while let Some(inserts) = self.inserts.iter_mut().find(|inserts| inserts.rows <= rest.len()) {
            let (first, after) = rest.split_at(inserts.rows);
            inserts.write(self.conn, first, &mut self.ends, &self.text);
            rest = after;
        }
        for room in rows.iter().map(|row| row.room) {
            let end = &mut self.ends[room];
            if end.last_seq >= end.noted_seq + END_NOTED_EVERY {
                self.note_end.execute((end.no, end.last_seq)).unwrap();
                end.noted_seq = end.last_seq;
            }
        }
        self.commit.raw_execute().unwrap();
        self.messages += rows.len() as u64;
    }

    fn rest(&mut self) {
        if self.messages >= self.checkpointed + MESSAGES_OF_A_LOG {
            self.checkpointed = self.messages;
            self.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        }
    }
}

/// One connection, one room, two turns: the inserts, then the commit.
pub(crate) struct PostgresFloor {
    client: Client,
    insert: Prepared,
    update: Prepared,
    room: i64,
    last_seq: i64,
}

/// The settings of the store that concern a commit.
const SETTINGS: &str =
    "SET search_path = chat; SET synchronous_commit = on; SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off";

impl PostgresFloor {
    pub(crate) async fn connect(url: &str, room: &Room) -> Self {
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
        Self { client, insert, update, room: i64::try_from(room.no.0).unwrap(), last_seq: room.last_seq }
    }

    async fn write(&self, first: i64, messages: &[Row]) {
        let text = text();
        let count = messages.len();
        let (rooms, ats, texts) =
            (vec![self.room; count], vec![now().0; count], vec![text.as_bytes(); count]);
        let authors: Vec<_> = messages.iter().map(|row| row.author.as_str()).collect();
        let seqs: Vec<_> = (first..).take(count).collect();
        let keys: Vec<_> = messages.iter().map(|row| row.key.as_bytes()).collect();
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
    fn insert(&mut self, runtime: &Runtime, rows: &[Row]) {
        let first = self.last_seq + 1;
        self.last_seq += i64::try_from(rows.len()).unwrap();
        runtime.block_on(self.write(first, rows));
    }
}
