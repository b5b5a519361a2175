//! The HTTP API: what each request is answered, mistakes above all.

mod support;

use serde_json::json;
use support::TestServer;

#[tokio::test]
async fn who_asks_must_be_said() {
    let server = TestServer::start().await;
    let me = server.http("GET", "/api/v1/me?user=ann&role=manager", None).await;
    assert_eq!((me.status, me.json()), (200, json!({ "id": "ann", "name": "ann", "role": "manager" })));
    for nobody in [
        "",
        "?user=",
        "?user=Ann",
        "?user=a%0Ab",
        "?user=ann&role=king",
        "?user=ann&user=bob",
        "?role=member",
    ] {
        for path in ["/api/v1/me", "/api/v1/rooms", "/api/v1/rooms/r/messages"] {
            let answer = server.http("GET", &format!("{path}{nobody}"), None).await;
            assert_eq!(answer.error(), (401, "unauthorized".into()), "{path}{nobody}");
        }
    }
}

#[tokio::test]
async fn a_room_is_made_read_changed_and_deleted() {
    let server = TestServer::start().await;
    let draft =
        json!({ "id": "r", "name": "Room", "kind": "group", "visibility": "private", "topic": "T", "x": [] });
    let made = server.http("POST", "/api/v1/rooms?user=ann", Some(draft.clone())).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let room = made.json();
    for (field, value) in [
        ("id", json!("r")),
        ("name", json!("Room")),
        ("kind", json!("group")),
        ("visibility", json!("private")),
        ("topic", json!("T")),
        ("first_seq", json!(1)),
        ("last_seq", json!(1)),
        ("role", json!("manager")),
        ("unread", json!(0)),
    ] {
        assert_eq!(room[field], value, "{field}");
    }
    assert!(room["epoch"].is_string());
    assert_eq!(
        server.http("POST", "/api/v1/rooms?user=ann", Some(draft)).await.error(),
        (409, "conflict".into())
    );

    let seen = server.http("GET", "/api/v1/rooms/r?user=ann", None).await;
    assert_eq!((seen.status, seen.json()), (200, room));
    assert_eq!(server.http("GET", "/api/v1/rooms/r?user=bob", None).await.error(), (404, "not_found".into()));

    let patch = json!({ "name": "Other", "visibility": "public" });
    let changed = server.http("PATCH", "/api/v1/rooms/r?user=ann", Some(patch.clone())).await;
    assert_eq!((changed.status, &changed.json()["name"]), (200, &json!("Other")));
    assert_eq!(
        server.http("PATCH", "/api/v1/rooms/r?user=bob", Some(patch)).await.error(),
        (403, "forbidden".into())
    );
    assert_eq!(
        server.http("DELETE", "/api/v1/rooms/r?user=bob", None).await.error(),
        (403, "forbidden".into())
    );
    let deleted = server.http("DELETE", "/api/v1/rooms/r?user=ann", None).await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    assert_eq!(server.http("GET", "/api/v1/rooms/r?user=ann", None).await.status, 404);
}

#[tokio::test]
async fn a_direct_room_is_made_once_for_each_pair() {
    let server = TestServer::start().await;
    let made =
        server.http("POST", "/api/v1/rooms?user=ann", Some(json!({ "kind": "direct", "with": "bob" }))).await;
    let again =
        server.http("POST", "/api/v1/rooms?user=bob", Some(json!({ "kind": "direct", "with": "ann" }))).await;
    assert_eq!((made.status, again.status), (201, 200), "{} {}", made.body, again.body);
    assert_eq!(made.json()["id"], again.json()["id"]);
}

#[tokio::test]
async fn rooms_and_members_come_in_pages() {
    let server = TestServer::start().await;
    for id in ["a", "b", "c"] {
        let draft = json!({ "id": id, "name": id, "kind": "group", "visibility": "public" });
        assert_eq!(server.http("POST", "/api/v1/rooms?user=ann", Some(draft)).await.status, 201);
    }
    let first = server.http("GET", "/api/v1/rooms?user=bob&limit=2", None).await.json();
    let ids = |page: &serde_json::Value| {
        page["rooms"].as_array().unwrap().iter().map(|r| r["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((ids(&first), &first["more"]), (vec![json!("a"), json!("b")], &json!(true)));
    let rest = server.http("GET", "/api/v1/rooms?user=bob&limit=2&after=b", None).await.json();
    assert_eq!((ids(&rest), &rest["more"]), (vec![json!("c")], &json!(false)));

    let put =
        server.http("PUT", "/api/v1/rooms/a/members/bob?user=ann", Some(json!({ "role": "member" }))).await;
    assert_eq!((put.status, &put.json()["seq"]), (200, &json!(2)));
    assert!(put.json()["at"].is_i64());
    let again =
        server.http("PUT", "/api/v1/rooms/a/members/bob?user=ann", Some(json!({ "role": "member" }))).await;
    assert_eq!(again.status, 200);
    let members = server.http("GET", "/api/v1/rooms/a/members?user=bob&limit=1", None).await.json();
    assert_eq!(members, json!({ "members": [{ "user": "ann", "role": "manager" }], "more": true }));
    let members = server.http("GET", "/api/v1/rooms/a/members?user=bob&after=ann", None).await.json();
    assert_eq!(members, json!({ "members": [{ "user": "bob", "role": "member" }], "more": false }));

    let banned =
        server.http("PUT", "/api/v1/rooms/a/members/bob?user=ann", Some(json!({ "role": "banned" }))).await;
    assert_eq!(banned.status, 200);
    assert_eq!(server.http("GET", "/api/v1/rooms/a?user=bob", None).await.status, 404);
    let removed = server.http("DELETE", "/api/v1/rooms/a/members/bob?user=ann", None).await;
    assert_eq!((removed.status, removed.body.as_str()), (204, ""));
    assert_eq!(server.http("GET", "/api/v1/rooms/a?user=bob", None).await.status, 200);
}

#[tokio::test]
async fn a_message_is_sent_once_for_each_key() {
    let server = TestServer::start().await;
    let draft = json!({ "id": "r", "name": "r", "kind": "group", "visibility": "public" });
    server.http("POST", "/api/v1/rooms?user=ann", Some(draft)).await;
    let path = "/api/v1/rooms/r/messages?user=ann";
    let message = json!({ "text": "hi\u{0}", "key": "k", "meta": { "a": 1 }, "from": "eve" });
    let sent = server.http("POST", path, Some(message.clone())).await;
    let again = server.http("POST", path, Some(message)).await;
    assert_eq!((sent.status, again.status), (201, 200));
    assert_eq!(sent.json(), again.json());
    assert_eq!(sent.json().as_object().unwrap().len(), 2);

    for text in ["two", "three"] {
        server.http("POST", path, Some(json!({ "text": text, "reply_to": 2 }))).await;
    }
    let page =
        server.http("GET", "/api/v1/rooms/r/messages?user=bob&kinds=message&limit=2", None).await.json();
    let texts = |page: &serde_json::Value| {
        page["events"].as_array().unwrap().iter().map(|e| e["text"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((texts(&page), &page["more"]), (vec![json!("two"), json!("three")], &json!(true)));
    let page = server
        .http("GET", "/api/v1/rooms/r/messages?user=bob&before=3&kinds=message,edited", None)
        .await
        .json();
    assert_eq!((texts(&page), &page["more"]), (vec![json!("hi\u{0}")], &json!(false)));
    assert_eq!(page["events"][0]["from"], "ann");
    let page = server.http("GET", "/api/v1/rooms/r/messages?user=bob&after=3", None).await.json();
    assert_eq!(texts(&page), vec![json!("three")]);
}

#[tokio::test]
async fn each_mistake_has_its_status() {
    let server = TestServer::start().await;
    let draft = json!({ "id": "r", "name": "r", "kind": "group", "visibility": "public" });
    server.http("POST", "/api/v1/rooms?user=ann", Some(draft)).await;
    let (rooms, messages) = ("/api/v1/rooms?user=ann", "/api/v1/rooms/r/messages?user=ann");
    let member = "/api/v1/rooms/r/members/bob?user=ann";
    for (method, path, body, status, code) in [
        ("POST", rooms, json!({ "id": "UP", "name": "x", "kind": "group" }), 422, "invalid"),
        ("POST", rooms, json!({ "id": "x", "name": "x", "kind": "desk" }), 422, "invalid"),
        (
            "POST",
            rooms,
            json!({ "id": "x", "name": "x", "kind": "group", "visibility": "secret" }),
            422,
            "invalid",
        ),
        ("POST", rooms, json!({ "id": "x", "name": "a\u{202e}b", "kind": "group" }), 422, "invalid"),
        ("POST", rooms, json!({ "id": "x", "name": "", "kind": "group" }), 422, "invalid"),
        ("POST", rooms, json!({ "id": "x", "name": "n".repeat(1000), "kind": "group" }), 413, "too_large"),
        ("POST", rooms, json!({ "kind": "direct" }), 422, "invalid"),
        ("POST", rooms, json!([1]), 400, "bad_json"),
        ("POST", messages, json!({}), 422, "invalid"),
        ("POST", messages, json!({ "text": "" }), 422, "invalid"),
        ("POST", messages, json!({ "text": 7 }), 422, "invalid"),
        ("POST", messages, json!({ "text": "x", "reply_to": -1 }), 422, "invalid"),
        ("POST", messages, json!({ "text": "x", "reply_to": 9 }), 404, "not_found"),
        ("POST", messages, json!({ "text": "x", "meta": [] }), 422, "invalid"),
        ("POST", messages, json!({ "text": "x".repeat(5000) }), 413, "too_large"),
        ("POST", messages, json!({ "text": "x".repeat(70_000) }), 413, "too_large"),
        ("POST", "/api/v1/rooms/none/messages?user=ann", json!({ "text": "x" }), 404, "not_found"),
        ("PUT", member, json!({}), 422, "invalid"),
        ("PUT", member, json!({ "role": "king" }), 422, "invalid"),
        ("PUT", "/api/v1/rooms/r/members/BOB?user=ann", json!({ "role": "member" }), 400, "invalid"),
        ("PUT", "/api/v1/rooms/r/members/bob?user=eve", json!({ "role": "member" }), 403, "forbidden"),
    ] {
        let answer = server.http(method, path, Some(body.clone())).await;
        assert_eq!(answer.error(), (status, code.into()), "{method} {path} {}: {}", body, answer.body);
    }
    for (method, path, status, code) in [
        ("GET", "/api/v1/rooms?user=ann&limit=x", 400, "invalid"),
        ("GET", "/api/v1/rooms?user=ann&limit=0", 400, "invalid"),
        ("GET", "/api/v1/rooms?user=ann&after=A", 400, "invalid"),
        ("GET", "/api/v1/rooms/r/messages?user=ann&before=1&after=1", 400, "invalid"),
        ("GET", "/api/v1/rooms/r/messages?user=ann&before=9007199254740992", 400, "invalid"),
        ("GET", "/api/v1/rooms/r/messages?user=ann&kinds=nothing", 400, "invalid"),
        ("GET", "/api/v1/rooms/R?user=ann", 404, "not_found"),
        ("GET", "/api/v1/rooms/%ff?user=ann", 404, "not_found"),
        ("GET", "/api/v1/nothing?user=ann", 404, "not_found"),
        ("GET", "/nothing", 404, "not_found"),
        ("DELETE", "/api/v1/rooms?user=ann", 405, "invalid"),
        ("POST", "/api/v1/me?user=ann", 405, "invalid"),
    ] {
        let answer = server.http(method, path, None).await;
        assert_eq!(answer.error(), (status, code.into()), "{method} {path}");
        assert_eq!(status == 405, answer.header("allow").is_some(), "{method} {path}");
    }
}

#[tokio::test]
async fn a_body_must_be_json_and_end_in_bounds() {
    let server = TestServer::start().await;
    let post = async |headers: &str, body: &str| {
        let request = format!(
            "POST /api/v1/rooms?user=ann HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n{body}"
        );
        server.raw_http(&request).await.error()
    };
    assert_eq!(post("Content-Length: 2\r\n", "{}").await, (415, "invalid".into()));
    assert_eq!(
        post("Content-Length: 2\r\nContent-Type: text/plain\r\n", "{}").await,
        (415, "invalid".into())
    );
    let json = "Content-Type: application/json; charset=utf-8\r\n";
    assert_eq!(post(&format!("{json}Content-Length: 70000\r\n"), "").await, (413, "too_large".into()));
    let chunk = format!("11171\r\n{}\r\n0\r\n\r\n", " ".repeat(0x11171));
    assert_eq!(
        post(&format!("{json}Transfer-Encoding: chunked\r\n"), &chunk).await,
        (413, "too_large".into())
    );
    for bad in ["", "{", "null", "[]", r#"{"id":"a","id":"b"}"#, "\u{0}"] {
        let length = format!("{json}Content-Length: {}\r\n", bad.len());
        assert_eq!(post(&length, bad).await, (400, "bad_json".into()), "{bad}");
    }
}

#[tokio::test]
async fn every_answer_is_closed_to_foreign_pages() {
    let server = TestServer::start().await;
    for path in ["/", "/app.js", "/healthz", "/readyz", "/metrics", "/ws", "/api/v1/me", "/nothing"] {
        let answer = server.http("GET", path, None).await;
        for name in ["content-security-policy", "x-content-type-options", "referrer-policy"] {
            assert!(answer.header(name).is_some(), "{path}: {name}");
        }
    }
    let foreign = format!(
        "GET /api/v1/me?user=ann HTTP/1.1\r\nHost: {}\r\nOrigin: http://evil.test\r\nConnection: close\r\n\r\n",
        server.address
    );
    assert_eq!(server.raw_http(&foreign).await.error(), (403, "forbidden".into()));
    let own = foreign.replace("evil.test", &server.address.to_string());
    assert_eq!(server.raw_http(&own).await.status, 200);
}

#[tokio::test]
async fn the_page_is_served_once_and_then_known() {
    let server = TestServer::start().await;
    let page = server.http("GET", "/", None).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().contains("script-src 'self'"));
    let etag = page.header("etag").unwrap();
    let known = format!("GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: {etag}\r\nConnection: close\r\n\r\n");
    let known = server.raw_http(&known).await;
    assert_eq!((known.status, known.body.as_str()), (304, ""));
}

#[tokio::test]
async fn health_is_plain_and_the_store_makes_it_ready() {
    let server = TestServer::start().await;
    let health = server.http("GET", "/healthz", None).await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok"));
    assert_eq!(server.http("GET", "/readyz", None).await.status, 200);
    assert_eq!(server.http("GET", "/metrics", None).await.status, 404, "this server was given none");
}

#[tokio::test]
async fn heads_have_a_limit() {
    let server = TestServer::start().await;
    let many = "X: y\r\n".repeat(2000);
    let long = format!("X: {}\r\n", "y".repeat(70_000));
    for headers in [many, long] {
        let answer = server.raw_http(&format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await;
        assert_eq!(answer.status, 431);
    }
}
