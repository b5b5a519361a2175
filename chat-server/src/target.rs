//! Whom a request is addressed to (RFC 9112, section 3.2).

use axum::http::{Method, Request, StatusCode, Version, header::HOST, uri::Authority};

use crate::error::ApiError;

/// Checks that a request is for this server, and says so only once: whoever stands in front of the server must not have
/// read another host out of it.
///
/// # Errors
/// 400 for no `Host`, two, or one that is no host, for an absolute URL with another host, and for `CONNECT`: this is no proxy.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), ApiError> {
    let bad = |message| Err(ApiError::invalid(StatusCode::BAD_REQUEST, message));
    let mut hosts = request.headers().get_all(HOST).into_iter();
    let (host, second) = (hosts.next(), hosts.next());
    // HTTP/1.0 knows no Host.
    if second.is_some() || (host.is_none() && request.version() == Version::HTTP_11) {
        return bad("one Host header is needed");
    }
    if host.is_some_and(|host| !host.is_empty() && !is_authority(host.as_bytes())) {
        return bad("Host is no host");
    }
    if request.method() == Method::CONNECT {
        return bad("this is no proxy");
    }
    match (request.uri().authority(), host) {
        (Some(named), Some(host)) if !named.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) => {
            bad("the URL names another host than the Host header")
        }
        _ => Ok(()),
    }
}

/// Whether this is a host and at most a port.
fn is_authority(bytes: &[u8]) -> bool {
    Authority::try_from(bytes).is_ok_and(|authority| !authority.as_str().contains('@'))
}
