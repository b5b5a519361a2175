//! Versions of the schema, and how a database gets from one to the next.

use tokio::time::timeout;
use tokio_postgres::{Client, Transaction};

use super::{
    limits::{CALL_MAX, MIGRATION_MAX, MIGRATION_WAIT_MAX},
    open::Reason,
};
use crate::migrations::{self, Migration};

/// The version of a schema is how many of these it has. What was released is never altered: add one.
const MIGRATIONS: &[Migration] =
    &[Migration { name: "timeline", sql: include_str!("migrations/V001__timeline.sql") }];

/// The schema with all that is ours. A database may have others.
pub(super) const SCHEMA: &str = "chat";

/// Keys of our advisory locks, which Postgres has by database: "chat", and what for.
const LOCK_SPACE: i32 = i32::from_be_bytes(*b"chat");
const MIGRATING: i32 = 1;
const SERVING: i32 = 2;

/// The version of the schema that this program knows.
pub(super) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Whether the schema is there, anything in it, and our table of migrations. The catalogs are read: `to_regclass` and the
/// like remember that something was not there, and do not hear of it while they wait for an advisory lock.
const FOUND: &str = "
    SELECT n.oid IS NOT NULL, EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid), (
        SELECT count(*) = 3 FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = n.oid AND c.relname = 'migrations' AND NOT a.attisdropped
            AND (a.attname, a.atttypid) IN
                (('version', 'integer'::regtype), ('name', 'text'::regtype), ('checksum', 'text'::regtype))
    )
    FROM (SELECT (SELECT oid FROM pg_namespace WHERE nspname = 'chat') AS oid) AS n";

/// Whether there is a schema: where there is one, no right to make one is needed.
async fn has_schema(client: &Client) -> Result<bool, Reason> {
    Ok(client.query_one(FOUND, &[]).await?.try_get(0)?)
}

/// The version of a database's schema, 0 where it has none, held against what this program knows.
pub(super) async fn version(client: &Client) -> Result<u32, Reason> {
    timeout(CALL_MAX, version_now(client)).await?
}

async fn version_now(client: &Client) -> Result<u32, Reason> {
    let found = client.query_one(FOUND, &[]).await?;
    if !found.try_get::<_, bool>(1)? {
        return Ok(0);
    }
    if !found.try_get::<_, bool>(2)? {
        return Err(Reason::Foreign);
    }
    let rows = client.query("SELECT version, checksum FROM chat.migrations ORDER BY version", &[]).await?;
    let had = rows.iter().map(|row| Ok((row.try_get::<_, i32>(0)?.unsigned_abs(), row.try_get(1)?)));
    let had = had.collect::<Result<Vec<(u32, String)>, Reason>>()?;
    let found = had.last().map_or(0, |(version, _)| *version);
    if found > known() {
        return Err(Reason::Newer { found });
    }
    migrations::check(MIGRATIONS, had)?;
    Ok(found)
}

/// Brings a database to the newest version: its versions before and after. All steps are one transaction, and who comes
/// second waits for who came first. Where there is nothing to be done, no right to change the schema is needed.
pub(super) async fn run(client: &mut Client) -> Result<(u32, u32), Reason> {
    if version(client).await? == known() {
        return Ok((known(), known()));
    }
    let tx = timeout(MIGRATION_WAIT_MAX + CALL_MAX, alone(client)).await??;
    timeout(MIGRATION_MAX, migrate(tx)).await?
}

/// A transaction beside which nobody else changes the schema.
async fn alone(client: &mut Client) -> Result<Transaction<'_>, Reason> {
    let tx = client.transaction().await?;
    let wait_ms = MIGRATION_WAIT_MAX.as_millis();
    tx.batch_execute(&format!("SET LOCAL lock_timeout = {wait_ms}")).await?;
    tx.execute("SELECT pg_advisory_xact_lock($1, $2)", &[&LOCK_SPACE, &MIGRATING]).await?;
    Ok(tx)
}

async fn migrate(tx: Transaction<'_>) -> Result<(u32, u32), Reason> {
    let from = version(tx.client()).await?;
    if from == 0 {
        if !has_schema(tx.client()).await? {
            tx.batch_execute("CREATE SCHEMA chat").await?;
        }
        tx.batch_execute(
            "CREATE TABLE chat.migrations (
                version    integer PRIMARY KEY,
                name       text NOT NULL,
                checksum   text NOT NULL,
                applied_at bigint NOT NULL
             )",
        )
        .await?;
    }
    for (version, migration) in (1_i32..).zip(MIGRATIONS).skip(from as usize) {
        tx.batch_execute(migration.sql).await?;
        tx.execute(
            "INSERT INTO chat.migrations VALUES ($1, $2, $3, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)",
            &[&version, &migration.name, &migration.checksum()],
        )
        .await?;
    }
    tx.commit().await?;
    Ok((from, known()))
}

/// Says, for as long as a connection lives, that it serves.
pub(super) fn hold_serving() -> String {
    format!("SELECT pg_advisory_lock_shared({LOCK_SPACE}, {SERVING});")
}

/// Keeps all others from serving, for as long as a transaction lives; whether none was.
pub(super) async fn keep_from_serving(tx: &Transaction<'_>) -> Result<bool, Reason> {
    let row = tx.query_one("SELECT pg_try_advisory_xact_lock($1, $2)", &[&LOCK_SPACE, &SERVING]).await?;
    Ok(row.try_get(0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_released_is_never_altered() {
        let sums: Vec<_> = MIGRATIONS.iter().map(Migration::checksum).collect();
        assert_eq!(sums, ["aa8d05760369436f"]);
    }
}
