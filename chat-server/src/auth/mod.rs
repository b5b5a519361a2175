//! Who is asking.

mod jwt;
mod token;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::request::Parts;
use chat_core::{
    Identity,
    ids::Timestamp,
    protocol::{CommandError, ErrorCode, Token},
    rights::Role,
    store::BoxFuture,
};
use serde::Serialize;

pub use self::{
    jwt::{InvalidKey, JwtAuth, JwtKey},
    token::token_of,
};
use crate::{error::ApiError, limits::AUTH_CHECK_MAX, query::Query, seldom::Seldom};

/// What a request or a token proves: who it is, and for how long.
///
/// ```
/// use chat_core::{Identity, ids::Timestamp};
/// use chat_server::Grant;
///
/// let for_ever = Grant::from(Identity::new("ann")?);
/// let for_now = for_ever.clone().until(Timestamp(1_764_000_000_000));
/// assert_eq!((for_ever.expires_at, for_now.expires_at), (None, Some(Timestamp(1_764_000_000_000))));
/// # Ok::<(), chat_core::ids::InvalidId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// Who it is.
    pub identity: Identity,
    /// When it ends: a socket is then closed with 4001, unless it has shown another token. `None` is never.
    pub expires_at: Option<Timestamp>,
}

impl Grant {
    /// The same, which ends at this time.
    #[must_use]
    pub const fn until(mut self, expires_at: Timestamp) -> Self {
        self.expires_at = Some(expires_at);
        self
    }
}

impl From<Identity> for Grant {
    fn from(identity: Identity) -> Self {
        Self { identity, expires_at: None }
    }
}

/// Why a request has no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The request says nothing of who asks. A socket may then still say it in its first frame, where
    /// [`Authenticator::authenticate_token`] knows tokens; anything else gets 401.
    #[error("nobody is named")]
    Missing,
    /// What it says does not count. It gets 401, without a word why.
    #[error("what proves the user is not accepted")]
    Refused,
    /// A cookie came without an `Origin` where that is needed. It gets 403.
    #[error("a cookie counts here only with an Origin")]
    NoOrigin,
    /// It could not be found out just now. It gets 503.
    #[error("the authentication does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<AuthError> for CommandError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Missing => Self::new(ErrorCode::Unauthorized, "say who you are first"),
            AuthError::Refused => Self::new(ErrorCode::Unauthorized, "what says who you are is not accepted"),
            AuthError::NoOrigin => {
                Self::new(ErrorCode::Forbidden, "a cookie counts here only with an Origin")
            }
            AuthError::Unavailable(_) => {
                Self::new(ErrorCode::Unavailable, "the authentication does not answer").retry_after_ms(1000)
            }
        }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        CommandError::from(error).into()
    }
}

/// How a person at the web page says who they are, where the request of the page does not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SignIn {
    /// By a name alone, which is believed.
    Name,
    /// By a token that they have from somewhere.
    Token,
    /// On another page, which sets a cookie.
    #[default]
    Elsewhere,
}

/// Tells who is behind a request: of the socket and of the API alike.
///
/// # Contract
/// It is asked once a request, before anything of the request is acted upon, and once for each token that comes over a
/// socket. What it answers holds for that request, and for a socket until it is closed or the grant ends: nothing else
/// takes it back, so let grants end soon. It must not log what it is shown, and must not take long over what anybody can
/// send: after 5 s it counts as one that does not answer.
///
/// A cookie must count only where the page that sent it is known: [`token_of`] sees to that. Foreign origins have been
/// refused before it is asked.
///
/// ```
/// use axum::http::request::Parts;
/// use chat_core::{Identity, store::BoxFuture};
/// use chat_server::{AuthError, Authenticator, Grant};
///
/// /// Trusts a header that a gateway in front of the service sets.
/// #[derive(Debug)]
/// struct ByGateway;
///
/// impl Authenticator for ByGateway {
///     fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Grant, AuthError>> {
///         Box::pin(async move {
///             let user = request.headers.get("x-user").and_then(|user| user.to_str().ok());
///             let identity = user.and_then(|user| Identity::new(user).ok());
///             identity.map(Grant::from).ok_or(AuthError::Refused)
///         })
///     }
/// }
/// ```
pub trait Authenticator: Send + Sync + fmt::Debug + 'static {
    /// Who is behind a request.
    ///
    /// # Errors
    /// [`AuthError`] where there is nobody.
    ///
    /// # Cancel safety
    /// It is dropped where the request goes away.
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Grant, AuthError>>;

    /// Who is behind a token that came in an `auth` frame: the first of a socket whose request named nobody, or a later
    /// one that renews a grant. Unless it is overridden, no such token counts.
    ///
    /// # Errors
    /// [`AuthError`] where there is nobody.
    ///
    /// # Cancel safety
    /// It is dropped where the socket goes away.
    fn authenticate_token<'a>(&'a self, token: &'a Token) -> BoxFuture<'a, Result<Grant, AuthError>> {
        let _ = token;
        Box::pin(async { Err(AuthError::Refused) })
    }

    /// What the web page offers to somebody whom nobody knows yet.
    fn sign_in(&self) -> SignIn {
        SignIn::default()
    }
}

/// Believes everybody: the user is the `user` parameter of the URL, the role its `role` parameter, `member` where it
/// is not given. For development, on addresses that nobody else can reach.
///
/// ```
/// use axum::http::Request;
/// use chat_server::{Authenticator, OpenAuth};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let (request, ()) = Request::get("/ws?user=ann&role=manager").body(())?.into_parts();
/// let grant = OpenAuth.authenticate(&request).await?;
/// assert_eq!(grant.identity.user.as_str(), "ann");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default, Clone, Copy)]
pub struct OpenAuth;

impl OpenAuth {
    fn identity(request: &Parts) -> Option<Identity> {
        let query = Query::of(&request.uri);
        let role = query.one("role").ok()?.map_or(Some(Role::Member), Role::parse)?;
        let user = query.one("user").ok()??;
        Some(Identity::new(user).ok()?.with_role(role))
    }
}

impl Authenticator for OpenAuth {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Grant, AuthError>> {
        Box::pin(async move { Self::identity(request).map(Grant::from).ok_or(AuthError::Refused) })
    }

    fn sign_in(&self) -> SignIn {
        SignIn::Name
    }
}

/// The authenticator as the server asks it: with a bound on its time.
#[derive(Debug)]
pub(crate) struct Authentication {
    authenticator: Arc<dyn Authenticator>,
    /// Strangers can repeat whatever makes it fail.
    failures: Mutex<Seldom>,
}

impl Authentication {
    pub(crate) fn new(authenticator: impl Authenticator) -> Self {
        Self { authenticator: Arc::new(authenticator), failures: Mutex::default() }
    }

    /// Who is behind a request.
    pub(crate) async fn of_request(&self, request: &Parts) -> Result<Grant, AuthError> {
        self.within_time(self.authenticator.authenticate(request)).await
    }

    /// Who is behind a token.
    pub(crate) async fn of_token(&self, token: &Token) -> Result<Grant, AuthError> {
        self.within_time(self.authenticator.authenticate_token(token)).await
    }

    pub(crate) fn sign_in(&self) -> SignIn {
        self.authenticator.sign_in()
    }

    async fn within_time(&self, answer: BoxFuture<'_, Result<Grant, AuthError>>) -> Result<Grant, AuthError> {
        let late = |elapsed| Err(AuthError::Unavailable(Box::new(elapsed)));
        let answer = tokio::time::timeout(AUTH_CHECK_MAX, answer).await.unwrap_or_else(late);
        if let Err(AuthError::Unavailable(error)) = &answer {
            let unsaid = self.failures.lock().unwrap_or_else(PoisonError::into_inner).speak();
            if let Some(unsaid) = unsaid {
                tracing::error!(?error, unsaid, "the authentication does not answer");
            }
        }
        answer
    }
}

/// Knows nobody: what a server has until it is given another.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct NobodyAuth;

impl Authenticator for NobodyAuth {
    fn authenticate<'a>(&'a self, _: &'a Parts) -> BoxFuture<'a, Result<Grant, AuthError>> {
        Box::pin(async { Err(AuthError::Refused) })
    }
}
