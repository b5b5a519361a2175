//! What is done to a database on Postgres beside serving it.
//!
//! Backups are Postgres' own business (`pg_dump`, base backups). After a restore the rooms need new epochs:
//! [`renew_epochs`].

use super::{
    address::PostgresAddress,
    migrations,
    open::{self, PostgresError, Reason, Way},
};
use crate::maintenance::Migrated;

/// Brings the schema of a database to the version that this program knows, as opening it does too. The schema is made
/// where there is none. Servers may be running.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use chat_store::maintenance;
/// let address = "postgres://chat@db.example/chat".parse()?;
/// let migrated = maintenance::postgres::migrate(&address).await?;
/// assert!(migrated.from <= migrated.to);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`PostgresError`]; the database is then as it was.
///
/// # Panics
/// Outside a tokio runtime.
///
/// # Cancel safety
/// Dropping the future leaves the schema either as it was or up to date.
pub async fn migrate(address: &PostgresAddress) -> Result<Migrated, PostgresError> {
    let mut way = Way::to(address, open::connector(address).await?).await?;
    let (from, to) = migrations::run(&mut way.client).await.map_err(|reason| reason.of(address))?;
    Ok(Migrated { from, to })
}

/// Gives every room of a database a new epoch, in one transaction. For after a restore. How many rooms there are.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use chat_store::maintenance;
/// let address = "postgres://chat@db.example/chat".parse()?;
/// println!("{} rooms", maintenance::postgres::renew_epochs(&address).await?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`PostgresError`], [`InUse`](PostgresError::InUse) among them where a server has it open; every epoch is then as it
/// was, unless it was the answer to the commit that was lost.
///
/// # Panics
/// Outside a tokio runtime.
///
/// # Cancel safety
/// Dropping the future leaves either all epochs as they were or all of them new.
pub async fn renew_epochs(address: &PostgresAddress) -> Result<u64, PostgresError> {
    let mut way = Way::to(address, open::connector(address).await?).await?;
    renew(&mut way).await.map_err(|reason| reason.of(address))
}

async fn renew(way: &mut Way) -> Result<u64, Reason> {
    if migrations::version(&way.client).await? == 0 {
        return Err(Reason::Missing);
    }
    let tx = way.client.transaction().await?;
    if !migrations::keep_from_serving(&tx).await? {
        return Err(Reason::InUse);
    }
    // The 122 random bits of a version 4 UUID.
    let rooms = tx.execute("UPDATE rooms SET epoch = replace(gen_random_uuid()::text, '-', '')", &[]).await?;
    tx.commit().await?;
    Ok(rooms)
}
