//! Every bound of a store on Postgres: its unit, why it is what it is, and what happens there.
//!
//! The server gives up by itself before we do, as long as it is alive; whoever asks is answered within
//! [`CALL_MAX`] even where it is not. Then it is taken for [away](super::link).

use std::{num::NonZeroUsize, time::Duration};

/// From a call to its answer, whatever it needs: the wait for a connection, the way to a new one, all its statements.
/// Past it the call is answered as unavailable. Users are promised that within 5 s.
pub(super) const CALL_MAX: Duration = Duration::from_secs(4);

/// What a call must have left of [`CALL_MAX`], once it has a connection, for no answer to say that the server is away:
/// one that is alive gives up by itself what takes [`STATEMENT_MAX`] or waits [`LOCK_MAX`]. Below it, only the call was
/// late.
pub(super) const SILENCE_MIN: Duration = Duration::from_millis(3500);

/// A new connection, all hosts together, and once more for its first statements. Past it the server is taken for away.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(2);

/// One statement that reads (`statement_timeout`). Past it the server gives it up: the call is answered as unavailable.
/// What writes is bounded by its size and by [`LOCK_MAX`].
pub(super) const STATEMENT_MAX: Duration = Duration::from_secs(3);

/// The wait for one lock (`lock_timeout`): that of a room whose batch another server commits. Past it the same. For a
/// row there are two: who comes later waits for its turn, and then for who has the row. Both must end before
/// [`CALL_MAX`] does, or a locked room would look like a server that is away.
pub(super) const LOCK_MAX: Duration = Duration::from_millis(1500);

/// How long a transaction may stand open without a word from us (`idle_in_transaction_session_timeout`): the server
/// then ends it, so that a program that was stopped, or cut off, does not keep its rooms locked.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(5);

/// How long a connection says nothing until the system asks whether the other side is there (`keepalives_idle`), unless
/// the address says otherwise. It is less than what firewalls take for the end of a connection: whoever came after that
/// would ask in vain.
pub(super) const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);

/// Between two attempts to find a server that is away.
pub(super) const PROBE_PAUSE: Duration = Duration::from_millis(250);

/// Until a sweep that failed is tried again. Nobody waits for it.
pub(super) const SWEEP_PAUSE: Duration = Duration::from_secs(5);

/// How long one server waits, as it starts, for another one that changes the schema. Past it the start fails.
pub(super) const MIGRATION_WAIT_MAX: Duration = Duration::from_mins(1);

/// How long a change of the schema may take: as long as another server waits for it. Past it the start fails, and the
/// schema is as it was.
pub(super) const MIGRATION_MAX: Duration = MIGRATION_WAIT_MAX;

/// Connections unless told otherwise. A page is a matter of less than 1 ms; what they overlap is the server's disk.
pub(super) const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(12).expect("12 is not zero");

/// Fewest connections: [`WRITERS_MIN`] to write and one to read, so that neither waits for the other.
pub(super) const CONNECTIONS_MIN: usize = WRITERS_MIN + 1;

/// Fewest connections that write: what makes, deletes or trims rooms has all of them but one at most, so that batches
/// never wait for the lock that it waits for.
pub(super) const WRITERS_MIN: usize = 2;

/// Most connections that write: the batches come one after the other, beside them rooms are made, deleted and trimmed.
pub(super) const WRITERS_MAX: usize = 4;
