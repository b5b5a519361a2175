//! New epochs for rooms whose timelines were taken back: see [`maintenance`](super::maintenance).

use chat_core::ids::Epoch;
use rusqlite::{Connection, functions::FunctionFlags};

/// Gives every room a fresh epoch, in the transaction that the caller holds or in one statement's own. How many rooms.
pub(super) fn renew(conn: &Connection) -> rusqlite::Result<usize> {
    provide(conn)?;
    conn.execute("UPDATE rooms SET epoch = new_epoch()", [])
}

/// Lets a connection say `new_epoch()` for a fresh epoch.
pub(super) fn provide(conn: &Connection) -> rusqlite::Result<()> {
    conn.create_scalar_function("new_epoch", 0, FunctionFlags::SQLITE_DIRECTONLY, |_| {
        let bits = random().map_err(|error| rusqlite::Error::UserFunctionError(error.into()))?;
        Ok(Epoch::from_random(bits).as_str().to_owned())
    })
}

/// 128 random bits of the operating system, as the engine draws them for a new room.
fn random() -> Result<u128, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}
