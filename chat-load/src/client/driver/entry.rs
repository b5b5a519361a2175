//! How a driver says who it is.

use std::{fmt, pin::Pin};

use crate::client::http::Who;

/// A future of its own, that whoever has it may keep.
pub(super) type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoToken {
    /// Whoever gives tokens does not answer: it is asked again after a wait.
    #[error("no token was to be had: {0}")]
    Unanswered(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody is signed in any longer.
    #[error("nobody is signed in any longer")]
    SignedOut,
}

/// Where tokens come from.
///
/// # Contract
/// Each call gives a token that holds for now, of the same user each time. It has a bound of its own: the driver waits for
/// it as long as it takes, and does nothing else meanwhile.
pub trait Tokens: Send {
    /// A token to show.
    fn token(&mut self) -> Pin<Box<dyn Future<Output = Result<String, NoToken>> + Send>>;
}

impl<F, T> Tokens for F
where
    F: FnMut() -> T + Send,
    T: Future<Output = Result<String, NoToken>> + Send + 'static,
{
    fn token(&mut self) -> Pin<Box<dyn Future<Output = Result<String, NoToken>> + Send>> {
        Box::pin(self())
    }
}

/// How a driver says who it is.
#[non_exhaustive]
pub enum Entry {
    /// By a name, to a server that believes everybody.
    Named {
        /// The user's id.
        user: String,
    },
    /// By this one token, shown in the first frame of each connection. When it ends, so does the driver, unless it is
    /// given another one before.
    Token(String),
    /// By tokens, shown in the same way. One is asked for where the last may not hold any more.
    Tokens(Box<dyn Tokens>),
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A token is nobody's business.
        let (Self::Named { .. } | Self::Token(_) | Self::Tokens(_)) = self;
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}

impl Entry {
    /// By a name.
    pub fn named(user: impl Into<String>) -> Self {
        Self::Named { user: user.into() }
    }

    /// What the handshake says.
    pub(super) fn who(&self) -> Who {
        match self {
            Self::Named { user } => Who::Named { user: user.clone(), role: "member" },
            Self::Token(_) | Self::Tokens(_) => Who::Later,
        }
    }

    /// Whether there may be another token where one does not hold.
    pub(super) const fn renews(&self) -> bool {
        matches!(self, Self::Tokens(_))
    }

    /// The first thing to say, where there is such a thing.
    pub(super) fn word(&mut self, known: Option<&String>) -> Pending<Result<Option<String>, NoToken>> {
        let known = known.cloned();
        match self {
            Self::Tokens(tokens) if known.is_none() => {
                let token = tokens.token();
                Box::pin(async move { token.await.map(Some) })
            }
            Self::Token(token) => {
                let token = known.unwrap_or_else(|| token.clone());
                Box::pin(async move { Ok(Some(token)) })
            }
            Self::Named { .. } | Self::Tokens(_) => Box::pin(async move { Ok(known) }),
        }
    }
}
