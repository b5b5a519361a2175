//! Who is asking.

use std::fmt;

use axum::http::request::Parts;
use chat_core::{Identity, rights::Role, store::BoxFuture};

use crate::query::Query;

/// Why a request has no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The request does not say who asks, or not so that it counts. It gets 401.
    #[error("nobody is logged in")]
    Unauthenticated,
    /// It could not be found out just now. It gets 503.
    #[error("the authentication does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Tells who is behind a request: of the socket and of the API alike.
///
/// # Contract
/// It is asked once a request, before anything of the request is acted upon. What it answers holds for that request,
/// and for a socket until it is closed. It must not log what it is shown.
///
/// ```
/// use axum::http::request::Parts;
/// use chat_core::{Identity, store::BoxFuture};
/// use chat_server::{AuthError, Authenticator};
///
/// /// Trusts a header that a gateway in front of the service sets.
/// #[derive(Debug)]
/// struct ByGateway;
///
/// impl Authenticator for ByGateway {
///     fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Identity, AuthError>> {
///         Box::pin(async move {
///             let user = request.headers.get("x-user").and_then(|user| user.to_str().ok());
///             user.and_then(|user| Identity::new(user).ok()).ok_or(AuthError::Unauthenticated)
///         })
///     }
/// }
/// ```
pub trait Authenticator: Send + Sync + fmt::Debug + 'static {
    /// The identity behind a request.
    ///
    /// # Errors
    /// [`AuthError`] where there is none.
    ///
    /// # Cancel safety
    /// It is dropped where the request goes away.
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Identity, AuthError>>;
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
/// let identity = OpenAuth.authenticate(&request).await?;
/// assert_eq!(identity.user.as_str(), "ann");
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
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Identity, AuthError>> {
        Box::pin(async move { Self::identity(request).ok_or(AuthError::Unauthenticated) })
    }
}

/// Knows nobody: what a server has until it is given another.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct NobodyAuth;

impl Authenticator for NobodyAuth {
    fn authenticate<'a>(&'a self, _: &'a Parts) -> BoxFuture<'a, Result<Identity, AuthError>> {
        Box::pin(async { Err(AuthError::Unauthenticated) })
    }
}
