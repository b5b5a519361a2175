//! Where a request carries its token.

use axum::http::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE, ORIGIN, UPGRADE},
    request::Parts,
};

use super::AuthError;
use crate::limits::TOKEN_BYTES_MAX;

/// The cookie that carries a token.
const COOKIE_NAME: &str = "chat_session";

/// The token of a request: from `Authorization: Bearer …`, or else from the cookie `chat_session`.
///
/// A browser sends a cookie with whatever any page asks for. So for an upgrade, and for a method that may change
/// something, the cookie counts only together with an `Origin`, which the server has compared with those it allows
/// before anybody is asked. A bearer token is put there by a program that knows it, and needs none.
///
/// ```
/// use axum::http::Request;
/// use chat_server::token_of;
///
/// let (request, ()) = Request::get("/ws").header("authorization", "Bearer abc").body(())?.into_parts();
/// assert_eq!(token_of(&request)?, "abc");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`AuthError::Missing`] where there is none, [`AuthError::Refused`] for one that cannot be a token (empty, of over
/// 8 KiB, or two of them), [`AuthError::NoOrigin`] for a cookie alone where that is not enough.
pub fn token_of(request: &Parts) -> Result<&str, AuthError> {
    if request.headers.contains_key(AUTHORIZATION) {
        return bearer(&request.headers).filter(|token| is_token(token)).ok_or(AuthError::Refused);
    }
    let mut cookies = session_cookies(&request.headers);
    let Some(token) = cookies.next() else { return Err(AuthError::Missing) };
    let is_alone = cookies.next().is_none();
    let needs_origin = !request.method.is_safe() || request.headers.contains_key(UPGRADE);
    match token {
        _ if needs_origin && !request.headers.contains_key(ORIGIN) => Err(AuthError::NoOrigin),
        token if is_alone && is_token(token) => Ok(token),
        _ => Err(AuthError::Refused),
    }
}

/// The token of the one `Authorization` header (RFC 6750, section 2.1); its scheme may be written in any case.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).into_iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// What cookies of our name hold (RFC 6265, section 4.2.1). Another site under the same domain can add one of its own,
/// so two are as bad as none.
fn session_cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|pairs| pairs.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE_NAME)
        .map(|(_, value)| value)
}

/// Whether text could be a token at all: so that nothing is computed over what cannot.
pub(super) fn is_token(text: &str) -> bool {
    // The characters of b64token (RFC 6750, section 2.1).
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    !text.is_empty() && text.len() <= TOKEN_BYTES_MAX && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use axum::http::{Method, Request};

    use super::*;

    fn token(method: Method, headers: &[(&str, &str)]) -> String {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        match token_of(&parts) {
            Ok(token) => token.to_owned(),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn a_bearer_token_needs_no_origin() {
        for method in [Method::GET, Method::POST] {
            assert_eq!(token(method.clone(), &[("authorization", "Bearer a.b-c")]), "a.b-c");
            assert_eq!(token(method, &[("authorization", "bEARER  x"), ("upgrade", "websocket")]), "x");
        }
    }

    #[test]
    fn what_is_no_bearer_token_is_refused_whatever_the_cookie_says() {
        for bad in ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer a b", "Bearer \u{e4}", "Bearer a,b"] {
            let headers = [("authorization", bad), ("cookie", "chat_session=good")];
            assert_eq!(token(Method::GET, &headers), "Refused", "{bad}");
        }
        let long = format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX + 1));
        assert_eq!(token(Method::GET, &[("authorization", &long)]), "Refused");
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer a")];
        assert_eq!(token(Method::GET, &twice), "Refused");
    }

    #[test]
    fn a_cookie_alone_counts_only_for_reading() {
        let cookie = ("cookie", "theme=dark; chat_session=abc; x=y");
        let (origin, upgrade) = (("origin", "http://localhost"), ("upgrade", "websocket"));
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(token(method.clone(), &[cookie]), "abc");
            assert_eq!(token(method.clone(), &[cookie, upgrade]), "NoOrigin");
            assert_eq!(token(method, &[cookie, upgrade, origin]), "abc");
        }
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert_eq!(token(method.clone(), &[cookie]), "NoOrigin");
            assert_eq!(token(method, &[cookie, origin]), "abc");
        }
    }

    #[test]
    fn cookies_that_are_not_one_token_are_refused_or_not_seen() {
        let get = |cookie| token(Method::GET, &[("cookie", cookie)]);
        for missing in ["", "chat_session", "chat_sessions=a", "Chat_Session=a", "x=chat_session"] {
            assert_eq!(get(missing), "Missing", "{missing}");
        }
        for bad in
            ["chat_session=", "chat_session=a; chat_session=b", "chat_session=\"a\"", "chat_session=a=b c"]
        {
            assert_eq!(get(bad), "Refused", "{bad}");
        }
        let spread = [("cookie", "chat_session=a"), ("cookie", "chat_session=b")];
        assert_eq!(token(Method::GET, &spread), "Refused");
    }
}
