//! What a failure of Postgres means.

use chat_core::store::StoreError;
use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::SqlState;

/// A failed piece of work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Before the commit: nothing was changed.
    #[error("postgres refuses")]
    Before(#[source] tokio_postgres::Error),
    /// In the commit itself: what it was to change may be there or not.
    #[error("postgres did not confirm a commit")]
    Commit(#[source] tokio_postgres::Error),
    /// No connection came about.
    #[error("no connection to postgres")]
    Connection(#[source] PoolError),
    /// It had to wait too long for a connection, and so not enough time was left. What was under way may have been done
    /// or not.
    #[error("too much was asked of postgres at once")]
    Late,
    /// Nothing came back in time. What was under way may have been done or not.
    #[error("postgres does not answer")]
    Silence,
    /// The server takes no writes: a standby, or one that is told to be like one.
    #[error("this postgres takes no writes")]
    ReadOnly,
    /// It was silent, and has not been heard of since.
    #[error("postgres has not answered yet")]
    Away,
    /// A row or the want of one that this program never makes.
    #[error("the database holds what is not to be expected: {0}")]
    Strange(&'static str),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Before(error)
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        Self::Connection(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Before(error) if is_refusal(&error) => Self::rejected(error),
            Failure::Before(error) | Failure::Commit(error) => Self::unavailable(error),
            other => Self::unavailable(other),
        }
    }
}

impl Failure {
    /// Whether nobody was there: then others are not sent the same way before it is known that somebody is.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            Self::Silence => true,
            // It has no connection left to give: it is there.
            Self::Connection(PoolError::Backend(error)) => {
                error.code() != Some(&SqlState::TOO_MANY_CONNECTIONS)
            }
            // So it may be where all of ours are at work.
            Self::Connection(error) => !matches!(error, PoolError::Timeout(TimeoutType::Wait)),
            Self::Before(_)
            | Self::Commit(_)
            | Self::Late
            | Self::ReadOnly
            | Self::Away
            | Self::Strange(_) => false,
        }
    }
}

/// What the unique index on keys is called.
const KEY_INDEX: &str = "events_by_key";

impl Failure {
    /// Whether a message was not written since there is one with its key.
    pub(super) fn is_taken_key(&self) -> bool {
        let Self::Before(error) = self else { return false };
        error.as_db_error().is_some_and(|error| {
            *error.code() == SqlState::UNIQUE_VIOLATION && error.constraint() == Some(KEY_INDEX)
        })
    }

    /// Whether Postgres itself said that it did not do it.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Self::Before(error) if error.as_db_error().is_some())
    }
}

/// Whether Postgres refused what it was given, and would again: data exceptions, violated constraints, and what is
/// larger than it can keep (classes 22, 23 and 54 of its error codes).
fn is_refusal(error: &tokio_postgres::Error) -> bool {
    let class = error.code().and_then(|code| code.code().get(..2));
    matches!(class, Some("22" | "23" | "54"))
}
