//! How a connection ends, and whether to come back.

use std::{io, time::Duration};

use super::{fault::End, frames::BadFrame, http::ConnectError, pauses::Pauses};

/// The token does not hold, or no longer.
pub(super) const SIGNED_OUT: u16 = 4001;

/// Why a connection is no more, or why there was none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// There was none.
    #[error(transparent)]
    Unconnected(#[from] ConnectError),
    /// The server closed it, with a code where it said goodbye.
    #[error("{}", of_close(*.0))]
    Closed(Option<u16>),
    /// The network broke it.
    #[error(transparent)]
    Broken(#[from] io::Error),
    /// What came was none of RFC 6455.
    #[error(transparent)]
    Bad(#[from] BadFrame),
    /// Nothing came any more, not even the answer to a ping.
    #[error("nothing was heard for too long")]
    Silent,
    /// The client wants no more of it.
    #[error("{}", of_end(.0))]
    Client(End),
}

fn of_close(code: Option<u16>) -> String {
    match code {
        Some(SIGNED_OUT) => "not signed in (4001): does the server want tokens?".to_owned(),
        Some(code) => format!("closed by the server with {code}"),
        None => "closed by the server without a word".to_owned(),
    }
}

fn of_end(end: &End) -> String {
    match end {
        End::ComeBack { .. } => "the server lets nobody join for now".to_owned(),
        End::Astray(why) | End::Stop(why) => why.clone(),
    }
}

impl Loss {
    /// How long to wait before coming back, after a connection that had lasted so long; `None` where that is of no use.
    /// This is the table of close codes of `docs/protocol.md`, for a client that has no other token.
    pub fn wait(&self, lasted: Duration, pauses: &mut Pauses) -> Option<Duration> {
        match self {
            // What broke the rules once would break them again, and who is shut out stays so.
            Self::Closed(Some(1002 | 1003 | 1007 | 1009 | SIGNED_OUT | 4003))
            | Self::Client(End::Stop(_)) => None,
            Self::Unconnected(error) => {
                let least = error.passes_after()?;
                Some(pauses.after(None, lasted).max(least))
            }
            Self::Client(End::ComeBack { at_least }) => Some(pauses.after(None, lasted).max(*at_least)),
            Self::Closed(code) => Some(pauses.after(*code, lasted)),
            _ => Some(pauses.after(None, lasted)),
        }
    }
}
