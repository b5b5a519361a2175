//! Pages of other origins that may call the API: what their browser must be told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use chat_server::{JwtAuth, JwtKey};
use support::{
    Answer, TestServer,
    tokens::{SECRET, token_for},
};

const ALLOWED: &str = "https://pages.example";

async fn start() -> TestServer {
    TestServer::start_as(|builder| {
        let auth = JwtAuth::new(JwtKey::secret(SECRET).unwrap());
        builder.authenticator(auth).allow_origin(ALLOWED.parse().unwrap())
    })
    .await
}

/// A request by a page of this origin.
async fn ask(server: &TestServer, method: &str, path: &str, origin: &str, rest: &str) -> Answer {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: chat.test\r\nOrigin: {origin}\r\n");
    server.raw_http(&format!("{head}Connection: close\r\n{rest}")).await
}

const PREFLIGHT: &str =
    "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n";

fn assert_readable(answer: &Answer, what: &str) {
    assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED), "{what}");
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{what}");
    assert_eq!(answer.header("access-control-expose-headers"), Some("retry-after"), "{what}");
    assert_eq!(answer.header("vary"), Some("origin"), "{what}");
}

fn assert_unreadable(answer: &Answer, what: &str) {
    assert!(!answer.head.to_ascii_lowercase().contains("access-control-"), "{what}: {}", answer.head);
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_is_told_what_it_may_ask() {
    let server = start().await;
    for path in ["/api/v1/rooms", "/api/v1/rooms/r/messages", "/api/v1/nothing"] {
        let answer = ask(&server, "OPTIONS", path, ALLOWED, PREFLIGHT).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{path}");
        assert_readable(&answer, path);
        let methods = answer.header("access-control-allow-methods");
        assert_eq!(methods, Some("GET, POST, PUT, PATCH, DELETE"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("authorization, content-type"));
        assert_eq!(answer.header("access-control-max-age"), Some("600"));
    }
    // No browser asks so: it is what any other method is that a resource has not.
    assert_eq!(ask(&server, "OPTIONS", "/api/v1/rooms", ALLOWED, "\r\n").await.status, 405);
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_calls_the_api_with_its_users_cookie_and_reads_the_answers() {
    let server = start().await;
    let post = |body: &str| {
        format!(
            "Cookie: chat_session={}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            token_for("ann"),
            body.len()
        )
    };
    for (body, status) in [(r#"{"id":"r","visibility":"public"}"#, 201), ("{", 400)] {
        let answer = ask(&server, "POST", "/api/v1/rooms", ALLOWED, &post(body)).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_readable(&answer, body);
    }
    let answer = ask(&server, "GET", "/api/v1/rooms", ALLOWED, "\r\n").await;
    assert_eq!(answer.status, 401);
    assert_readable(&answer, "an answer to nobody");
}

#[tokio::test]
async fn no_other_page_is_told_anything() {
    let server = start().await;
    for (origin, status) in [
        ("https://evil.example", 403),
        ("http://pages.example", 403),
        ("null", 403),
        // The own page needs no leave, so its browser never asks for one.
        ("http://chat.test", 405),
    ] {
        let answer = ask(&server, "OPTIONS", "/api/v1/rooms", origin, PREFLIGHT).await;
        assert_eq!(answer.status, status, "{origin}");
        assert_unreadable(&answer, origin);
        assert_unreadable(&ask(&server, "GET", "/api/v1/auth", origin, "\r\n").await, origin);
    }
    for path in ["/healthz", "/"] {
        assert_unreadable(&ask(&server, "GET", path, ALLOWED, "\r\n").await, path);
    }
}
