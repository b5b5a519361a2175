//! The rows of another database, written in one transaction.

use std::{error::Error, pin::Pin, pin::pin};

use futures_util::{
    TryStreamExt,
    future::{Either, FusedFuture, select},
};
use tokio::{sync::mpsc::Receiver, time::timeout};
use tokio_postgres::{
    IsolationLevel, Row, Transaction,
    binary_copy::BinaryCopyInWriter,
    error::Severity,
    types::{ToSql, Type},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    address::PostgresAddress,
    limits::CALL_MAX,
    migrations,
    open::{self, PostgresError, Reason, Way},
};
use crate::copy::{
    CopyError, Counts,
    tables::{self, COUNTS, Count, Field, Kind, Part, TABLES, Table},
};

/// Why nothing was written, before it is said of which database.
#[derive(Debug)]
enum Failed {
    /// Whoever reads the other database came to no good end, and says why.
    Unread,
    Unopened(PostgresError),
    Refused(Reason),
    NotEmpty,
    Differs {
        table: &'static str,
        room: i64,
    },
    Unconfirmed(Box<dyn Error + Send + Sync>),
    Stopped,
}

impl From<PostgresError> for Failed {
    fn from(error: PostgresError) -> Self {
        Self::Unopened(error)
    }
}

impl From<Reason> for Failed {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Refused(error.into())
    }
}

impl Failed {
    /// The reason, unless the other side knows it.
    fn of(self, address: &PostgresAddress) -> Option<CopyError> {
        let database = address.shown();
        Some(match self {
            Self::Unread => return None,
            Self::Unopened(error) => error.into(),
            Self::Refused(reason) => reason.of(address).into(),
            Self::NotEmpty => CopyError::NotEmpty { database },
            Self::Differs { table, room } => CopyError::Differs { database, table, room },
            Self::Unconfirmed(source) => CopyError::Unconfirmed { database, source },
            Self::Stopped => CopyError::Stopped,
        })
    }
}

/// Writes what is read elsewhere, and commits it if both sides count the same; gives it up when `end` is done before
/// that. The error is `None` where whoever reads has one.
pub(crate) async fn run(
    to: &PostgresAddress,
    parts: Receiver<Part>,
    end: Pin<&mut impl FusedFuture<Output = ()>>,
) -> Result<Counts, Option<CopyError>> {
    write(to, parts, end).await.map_err(|failed| failed.of(to))
}

async fn write(
    to: &PostgresAddress,
    parts: Receiver<Part>,
    mut end: Pin<&mut impl FusedFuture<Output = ()>>,
) -> Result<Counts, Failed> {
    let mut source = Source(parts);
    let (mut way, tls, highest_no) = unless(end.as_mut(), source.reach(to)).await?;
    let cancel = way.client.cancel_token();
    let begin =
        way.client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
    let tx = begin.start().await?;
    let counts = match unless(end.as_mut(), source.fill(&tx, highest_no)).await {
        Ok(counts) => counts,
        Err(failed) => {
            let undone = async {
                // What Postgres is at may take it minutes.
                if matches!(failed, Failed::Stopped) {
                    cancel.cancel_query(tls).await?;
                }
                tx.rollback().await
            };
            // Where nobody answers, the end of the connection does the same.
            drop(timeout(CALL_MAX, undone).await);
            return Err(failed);
        }
    };
    commit(tx, end.as_mut()).await?;
    if !end.is_terminated() {
        // What is copied is there, whether Postgres knows its tables well or not.
        let _ = select(pin!(analyze(&way)), end).await;
    }
    Ok(counts)
}

/// Does something until `end` is done.
async fn unless<T>(
    end: Pin<&mut impl FusedFuture<Output = ()>>,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    match select(end, pin!(work)).await {
        Either::Left(_) => Err(Failed::Stopped),
        Either::Right((done, _)) => done,
    }
}

/// What is told of the database that is read.
struct Source(Receiver<Part>);

impl Source {
    async fn next(&mut self) -> Result<Part, Failed> {
        self.0.recv().await.ok_or(Failed::Unread)
    }

    /// The rows up to the next end.
    async fn next_rows(&mut self) -> Result<Option<Vec<tables::Row>>, Failed> {
        match self.next().await? {
            Part::Rows(rows) => Ok(Some(rows)),
            Part::Ready { .. } | Part::End => Ok(None),
        }
    }

    /// The way to a database with our schema, once there is something to be written; how to go it again; and the highest
    /// number that a room has had where all of it comes from.
    async fn reach(&mut self, to: &PostgresAddress) -> Result<(Way, MakeRustlsConnect, i64), Failed> {
        let Part::Ready { highest_no } = self.next().await? else { return Err(Failed::Unread) };
        let tls = open::connector(to).await?;
        let mut way = Way::to(to, tls.clone()).await?;
        migrations::run(&mut way.client).await?;
        Ok((way, tls, highest_no))
    }

    /// Everything up to the commit.
    async fn fill(&mut self, tx: &Transaction<'_>, highest_no: i64) -> Result<Counts, Failed> {
        take(tx).await?;
        for table in &TABLES {
            self.write(tx, table).await?;
        }
        let mut totals = [[0; 2]; COUNTS.len()];
        for (count, totals) in COUNTS.iter().zip(&mut totals) {
            *totals = self.compare(tx, count).await?;
        }
        let [rooms, events, room_changes, reactions, members, read_marks] = totals;
        tx.execute("UPDATE totals SET rooms = (SELECT count(*) FROM rooms)", &[]).await?;
        count_on(tx, highest_no).await?;
        Ok(Counts {
            rooms: rooms[0],
            events: events[0],
            messages: events[1],
            room_changes: room_changes[0],
            reactions: reactions[0],
            members: members[0],
            read_marks: read_marks[0],
        })
    }

    async fn write(&mut self, tx: &Transaction<'_>, table: &Table) -> Result<(), Failed> {
        let types: Vec<_> = table.columns.iter().map(|column| type_of(column.kind)).collect();
        let sink = tx.copy_in(&table.copy_in()).await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        while let Some(rows) = self.next_rows().await? {
            for row in rows {
                writer.as_mut().write_raw(row.iter().map(value)).await?;
            }
        }
        writer.finish().await?;
        Ok(())
    }

    /// Holds the numbers of both sides against each other, room by room. How many rows there are, and how many of them
    /// are what the third number counts.
    async fn compare(&mut self, tx: &Transaction<'_>, count: &Count) -> Result<[u64; 2], Failed> {
        let nothing: [i64; 0] = [];
        let there = tx.query_raw(&count.of_postgres(), nothing).await?;
        let mut there = pin!(there);
        let mut totals = [0; 2];
        while let Some(rows) = self.next_rows().await? {
            for row in rows {
                let read: Vec<_> = row.iter().map(number).collect();
                let there = there.try_next().await?.as_ref().map(numbers).transpose()?;
                if there.as_ref() != Some(&read) {
                    // Whichever comes first is the one that the other side lacks, or has otherwise.
                    let room = there.iter().chain([&read]).filter_map(|numbers| numbers[0]).min();
                    return Err(Failed::Differs { table: count.name, room: room.unwrap_or_default() });
                }
                for (total, number) in totals.iter_mut().zip(&read[1..]) {
                    *total += number.unwrap_or(0).unsigned_abs();
                }
            }
        }
        match there.try_next().await? {
            Some(row) => Err(Failed::Differs { table: count.name, room: row.try_get(0)? }),
            None => Ok(totals),
        }
    }
}

/// Makes sure that the database is there for this alone.
async fn take(tx: &Transaction<'_>) -> Result<(), Failed> {
    if !migrations::keep_from_serving(tx).await? {
        return Err(Reason::InUse.into());
    }
    // Newer servers have more of these limits than older ones. Whole tables are counted, and not along an index.
    let settings = "
        SELECT set_config(name, CASE vartype WHEN 'bool' THEN 'on' ELSE '0' END, true) FROM pg_settings
        WHERE name IN (
            'statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout', 'enable_seqscan', 'enable_bitmapscan',
            'enable_hashjoin', 'enable_mergejoin'
        )";
    tx.execute(settings, &[]).await?;
    let has_rooms = "SELECT EXISTS (SELECT FROM rooms) OR EXISTS (SELECT FROM tombstones)";
    let row = tx.query_one(has_rooms, &[]).await?;
    if row.try_get(0)? {
        return Err(Failed::NotEmpty);
    }
    Ok(())
}

/// Commits. From here on it is the truth that has to be waited for.
async fn commit(tx: Transaction<'_>, end: Pin<&mut impl FusedFuture<Output = ()>>) -> Result<(), Failed> {
    let committed = match select(pin!(tx.commit()), end).await {
        Either::Left((committed, _)) => Ok(committed),
        Either::Right(((), commit)) => timeout(CALL_MAX, commit).await,
    };
    let source: Box<dyn Error + Send + Sync> = match committed {
        Ok(Ok(())) => return Ok(()),
        // What is only an error has ended the transaction. Worse ends the connection, whatever became of the commit.
        Ok(Err(error)) if is_only_an_error(&error) => return Err(error.into()),
        Ok(Err(error)) => error.into(),
        Err(silence) => silence.into(),
    };
    Err(Failed::Unconfirmed(source))
}

fn is_only_an_error(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| error.parsed_severity() == Some(Severity::Error))
}

/// The room that is made next has a number that no room had: here, or where these come from.
async fn count_on(tx: &Transaction<'_>, highest_no: i64) -> Result<(), tokio_postgres::Error> {
    let highest = "
        SELECT setval(numbers, highest)
        FROM (SELECT pg_get_serial_sequence('rooms', 'no')::regclass) AS s (numbers),
            LATERAL (SELECT greatest($1, pg_sequence_last_value(numbers))) AS h (highest)
        WHERE highest > 0";
    tx.execute(highest, &[&highest_no]).await.map(drop)
}

/// Lets Postgres look at what it has now, without which the first plans are guesses.
async fn analyze(way: &Way) {
    let no_limit = way.client.batch_execute("SET statement_timeout = 0").await;
    let tables = TABLES.map(|table| table.name).join(", ");
    let analyzed = match no_limit {
        Ok(()) => way.client.batch_execute(&format!("ANALYZE {tables}")).await,
        error => error,
    };
    if let Err(error) = analyzed {
        let error = &error as &dyn Error;
        tracing::warn!(error, "the copy is whole, but ANALYZE is left to be done");
    }
}

const fn type_of(kind: Kind) -> Type {
    match kind {
        Kind::Number => Type::INT8,
        Kind::Small => Type::INT2,
        Kind::Flag => Type::BOOL,
        Kind::Word => Type::TEXT,
        Kind::Text => Type::BYTEA,
    }
}

fn value(field: &Field) -> &(dyn ToSql + Sync) {
    match field {
        Field::Number(number) => number,
        Field::Small(number) => number,
        Field::Flag(flag) => flag,
        Field::Word(word) => word,
        Field::Text(text) => text,
    }
}

/// A number of a count.
fn number(field: &Field) -> Option<i64> {
    if let Field::Number(number) = field { *number } else { None }
}

fn numbers(row: &Row) -> Result<Vec<Option<i64>>, tokio_postgres::Error> {
    (0..row.len()).map(|column| row.try_get(column)).collect()
}
