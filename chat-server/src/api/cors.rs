//! What a browser must be told before a page of another origin may call the API, and read its answers
//! (<https://fetch.spec.whatwg.org/#http-cors-protocol>).

use axum::{
    http::{
        HeaderMap, HeaderValue, Method, Request, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
            ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
        },
    },
    response::{IntoResponse, Response},
};

use crate::limits::PREFLIGHT_AGE_MAX;

/// The methods that the API has anywhere.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");

/// The headers beyond those that any page may set. A wildcard would not cover `Authorization`.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type");

/// The headers beyond those that any page may read.
const ANSWER_HEADERS: HeaderValue = HeaderValue::from_static("retry-after");

/// Whether a browser asks with this request what its page may ask.
pub(super) fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What a page of an allowed origin may ask.
pub(super) fn preflight_answer() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_AGE_MAX.as_secs())),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Lets pages of this origin, which is allowed, read an answer; also one to what their user's cookie asked.
pub(super) fn let_read(answer: &mut HeaderMap, origin: HeaderValue) {
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS);
    answer.append(VARY, HeaderValue::from(ORIGIN));
}
