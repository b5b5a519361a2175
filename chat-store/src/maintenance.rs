//! What is done to a database beside serving it: copying it, bringing its schema up to date, giving rooms new epochs.
//!
//! A position in a timeline means something only together with the room's epoch. Where a database goes back to an older
//! state, positions that clients hold may lie past its end, or mean other events. So its rooms get new epochs: clients
//! that resume are then told to begin anew, instead of being given a wrong continuation. A copy that this program makes
//! has them; after any other kind of restore it is for `renew_epochs`.
//!
//! What is at the top is for SQLite: each function works on a thread of its own and needs no runtime. The same for
//! Postgres is in `postgres`. `copy` takes a database from the one to the other, and needs a runtime.

#[cfg(all(feature = "postgres", feature = "sqlite"))]
pub use crate::copy::{CopyError, Counts, copy, copy_until};
#[cfg(feature = "postgres")]
pub use crate::postgres::maintenance as postgres;
#[cfg(feature = "sqlite")]
pub use crate::sqlite::maintenance::{BackupError, Copied, backup, backup_until, migrate, renew_epochs};

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migrated {
    /// The version of the schema before; 0 where there was none.
    pub from: u32,
    /// The version now.
    pub to: u32,
}
