//! The opening handshake of RFC 6455, section 4.2, checked by hand.
//!
//! hyper has parsed the request; what is asked for here is only what makes it a WebSocket's. tungstenite's own
//! handshake would answer a bad one with nothing at all.

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{
        CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    request,
};
use chat_core::protocol::Codec;
use tungstenite::handshake::derive_accept_key;

use crate::error::ApiError;

/// The one version that there is.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// A request that may become a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handshake {
    accept_key: String,
    /// The subprotocol to name in the answer, where the client offered one that we speak.
    named: Option<Codec>,
}

impl Handshake {
    /// Checks a request.
    ///
    /// # Errors
    /// The answer to a request that cannot be upgraded: 405 for another method than GET, 426 for no upgrade or
    /// another version, 400 for anything malformed.
    pub(super) fn check(request: &request::Parts) -> Result<Self, ApiError> {
        if request.method != Method::GET {
            return Err(ApiError::invalid(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket is opened with GET"));
        }
        let headers = &request.headers;
        let asks = has_token(headers, &CONNECTION, "upgrade") && has_token(headers, &UPGRADE, "websocket");
        if request.version != Version::HTTP_11 || !asks {
            return Err(ApiError::invalid(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket endpoint"));
        }
        if headers.get_all(SEC_WEBSOCKET_VERSION).iter().ne([VERSION]) {
            return Err(ApiError::invalid(
                StatusCode::UPGRADE_REQUIRED,
                "only version 13 of WebSocket is spoken",
            ));
        }
        let bad = |message| ApiError::invalid(StatusCode::BAD_REQUEST, message);
        only(headers, &HOST).ok_or_else(|| bad("one Host header is needed"))?;
        let key = only(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()));
        let key = key.ok_or_else(|| bad("Sec-WebSocket-Key must be there once, 16 bytes as base64"))?;
        Ok(Self { accept_key: derive_accept_key(key.as_bytes()), named: offered_codec(headers) })
    }

    /// How the connection's output is written.
    pub(super) fn codec(&self) -> Codec {
        self.named.unwrap_or_default()
    }

    /// The headers of the answer 101.
    pub(super) fn answer(&self) -> HeaderMap {
        let mut headers = upgrade_headers();
        headers.remove(SEC_WEBSOCKET_VERSION);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        let accept = HeaderValue::from_str(&self.accept_key).expect("base64 is a header value");
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        if let Some(codec) = self.named {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(codec.subprotocol()));
        }
        headers
    }
}

/// What an answer 426 says of how to do it right.
pub(super) fn upgrade_headers() -> HeaderMap {
    HeaderMap::from_iter([(UPGRADE, HeaderValue::from_static("websocket")), (SEC_WEBSOCKET_VERSION, VERSION)])
}

/// The client's first choice among what we speak. No extension is ever accepted, so those offers are not even read.
fn offered_codec(headers: &HeaderMap) -> Option<Codec> {
    tokens(headers, &SEC_WEBSOCKET_PROTOCOL)
        .find_map(|token| Codec::ALL.into_iter().find(|codec| codec.subprotocol() == token))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

/// The members of a comma-separated list, which may be spread over several headers.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
}

/// The header's value, where it is there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).into_iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether this is base64 (RFC 4648, section 4) of 16 bytes: 22 characters and two of padding.
fn is_key(key: &[u8]) -> bool {
    let (body, padding) = key.split_at(key.len().min(22));
    let in_alphabet = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    body.len() == 22 && padding == b"==" && body.iter().all(in_alphabet)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    const GOOD: [(&str, &str); 5] = [
        ("host", "localhost"),
        ("connection", "keep-alive, UPGRADE"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn check(headers: &[(&str, &str)]) -> Result<Handshake, ApiError> {
        let mut request = Request::get("/ws");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Handshake::check(&request.body(()).unwrap().into_parts().0)
    }

    fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
        GOOD.into_iter().filter(|(n, _)| *n != name).chain([(name, value)]).collect()
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let handshake = check(&GOOD).unwrap();
        assert_eq!(handshake.accept_key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!((handshake.codec(), handshake.named), (Codec::Single, None));
    }

    #[test]
    fn the_first_known_subprotocol_is_taken() {
        for (offer, named) in [
            ("chat.v1", Some(Codec::Single)),
            ("nothing, chat.v1.batch ,chat.v1", Some(Codec::Batch)),
            ("chat.v1,chat.v1.batch", Some(Codec::Single)),
            ("chat.v2", None),
            ("", None),
        ] {
            assert_eq!(check(&with("sec-websocket-protocol", offer)).unwrap().named, named, "{offer}");
        }
    }

    #[test]
    fn each_flaw_has_its_status() {
        let twice = [&GOOD[..], &[GOOD[4]]].concat();
        let two_hosts = [&GOOD[..], &[GOOD[0]]].concat();
        let without =
            |i: usize| GOOD.into_iter().enumerate().filter(|(n, _)| *n != i).map(|(_, h)| h).collect();
        for (headers, status) in [
            (without(0), 400),
            (without(1), 426),
            (without(2), 426),
            (without(3), 426),
            (without(4), 400),
            (twice, 400),
            (two_hosts, 400),
            (with("sec-websocket-version", "8"), 426),
            (with("sec-websocket-version", "13, 8"), 426),
            (with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ="), 400),
            (with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQAA"), 400),
            (with("sec-websocket-key", "dGhlIHNhbXBsZSBub25j!Q=="), 400),
        ] {
            let headers: Vec<_> = headers;
            assert_eq!(check(&headers).unwrap_err().status().as_u16(), status, "{headers:?}");
        }
    }
}
