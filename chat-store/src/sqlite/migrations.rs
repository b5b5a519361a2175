//! Versions of the schema, and how a database gets from one to the next.

use rusqlite::{Connection, TransactionBehavior};

use crate::migrations::{self, Altered, Migration};

/// `PRAGMA application_id` of our databases: "chat".
pub(super) const APPLICATION_ID: u32 = u32::from_be_bytes(*b"chat");

/// The version of a schema is how many of these it has. What was released is never altered: add one.
const MIGRATIONS: &[Migration] = &[
    Migration { name: "timeline", sql: include_str!("migrations/V001__timeline.sql") },
    Migration { name: "noted ends", sql: include_str!("migrations/V002__noted_ends.sql") },
];

/// The version of the schema that this program knows.
pub(super) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// The version of a database's schema: 0 of an empty one.
pub(super) fn version(conn: &Connection) -> rusqlite::Result<u32> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Holds the migrations that a database has had against those of this program.
pub(super) fn check(conn: &Connection) -> rusqlite::Result<Result<(), Altered>> {
    if version(conn)? == 0 {
        return Ok(Ok(()));
    }
    let mut had = conn.prepare("SELECT version, checksum FROM migrations ORDER BY version")?;
    let had = had.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(migrations::check(MIGRATIONS, had.collect::<rusqlite::Result<Vec<(u32, String)>>>()?))
}

/// Brings a database that passed [`check`] to the newest version, each step in a transaction of its own.
pub(super) fn run(conn: &mut Connection) -> rusqlite::Result<()> {
    run_those(conn, MIGRATIONS)
}

fn run_those(conn: &mut Connection, migrations: &[Migration]) -> rusqlite::Result<()> {
    for (version, migration) in (1_u32..).zip(migrations) {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self::version(&tx)? >= version {
            continue;
        }
        if version == 1 {
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
            tx.execute_batch(
                "CREATE TABLE migrations (
                    version    INTEGER PRIMARY KEY,
                    name       TEXT NOT NULL,
                    checksum   TEXT NOT NULL,
                    applied_at INTEGER NOT NULL
                ) STRICT",
            )?;
        }
        tx.execute_batch(migration.sql)?;
        tx.execute(
            "INSERT INTO migrations VALUES (?1, ?2, ?3, CAST(unixepoch('subsec') * 1000 AS INTEGER))",
            (version, migration.name, migration.checksum()),
        )?;
        tx.pragma_update(None, "user_version", version)?;
        tx.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::recover::{check_ends, tests::ROOM};

    #[test]
    fn a_database_of_the_first_version_is_brought_to_this_one() {
        let mut conn = Connection::open_in_memory().unwrap();
        run_those(&mut conn, &MIGRATIONS[..1]).unwrap();
        conn.execute_batch(ROOM).unwrap();
        assert_eq!((version(&conn).unwrap(), check(&conn).unwrap()), (1, Ok(())));
        check_ends(&conn).unwrap();
        run(&mut conn).unwrap();
        assert_eq!((version(&conn).unwrap(), check(&conn).unwrap()), (known(), Ok(())));
        check_ends(&conn).unwrap();
    }

    #[test]
    fn what_was_released_is_never_altered() {
        let sums: Vec<_> = MIGRATIONS.iter().map(Migration::checksum).collect();
        assert_eq!(sums, ["96be5ef995c307c7", "16fc5bae2a6a3a0c"]);
    }

    #[test]
    fn a_second_run_changes_nothing_and_an_altered_step_is_found() {
        let mut conn = Connection::open_in_memory().unwrap();
        run(&mut conn).unwrap();
        run(&mut conn).unwrap();
        assert_eq!(version(&conn).unwrap(), known());
        assert_eq!(check(&conn).unwrap(), Ok(()));
        conn.execute("UPDATE migrations SET checksum = 'x' WHERE version = 1", []).unwrap();
        assert_eq!(check(&conn).unwrap(), Err(Altered { version: 1 }));
    }
}
