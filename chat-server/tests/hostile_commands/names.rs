//! Ids and names are plain; what is not is refused on every way in.

use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{Stage, support::masked};

/// Characters that no name may hold.
const UNSEEN: [&str; 14] = [
    "\u{0}", "\u{7}", "\t", "\n", "\r", "\u{1b}", "\u{7f}", "\u{85}", "\u{9b}", "\u{61c}", "\u{200f}",
    "\u{2028}", "\u{202e}", "\u{2066}",
];

/// Ids that are none.
fn bad_ids() -> Vec<String> {
    let unseen = UNSEEN.iter().flat_map(|bad| [format!("a{bad}b"), (*bad).to_owned()]);
    let plain =
        ["", " ", "A", "a b", "a/b", "../a", "é", "a\u{301}", "🙂", "a,b", "a%b", "a'b"].map(str::to_owned);
    unseen.chain(plain).chain(["x".repeat(65), "x".repeat(5000)]).collect()
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A text as it stands in a URL.
fn encoded(text: &str) -> String {
    let bytes =
        text.bytes().flat_map(|byte| [b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    bytes.map(char::from).collect()
}

#[tokio::test]
async fn an_id_is_plain_or_refused() {
    let mut stage = Stage::new().await;
    for id in bad_ids() {
        for kind in ["join", "leave", "send", "read", "typing", "history"] {
            let command = json!({ "type": kind, "id": 3, "room": id, "text": "x", "seq": 1 });
            assert_eq!(stage.error(&command.to_string()).await, (Some(3), "invalid".into()), "{command}");
        }
        let room = json!({ "id": id, "name": "x", "kind": "group" }).to_string();
        assert_eq!(stage.post("/api/v1/rooms", &room).await.error(), (422, "invalid".into()), "{room}");
        let direct = json!({ "kind": "direct", "with": id }).to_string();
        assert_eq!(stage.post("/api/v1/rooms", &direct).await.error(), (422, "invalid".into()), "{direct}");
        let path = encoded(&id);
        let user = format!("/api/v1/me?user={path}");
        assert_eq!(stage.get(&user).await.error(), (401, "unauthorized".into()), "{user}");
        for query in ["rooms", "rooms/r/members"] {
            let after = format!("/api/v1/{query}?user=ann&after={path}");
            assert_eq!(stage.get(&after).await.error(), (400, "invalid".into()), "{after}");
        }
        if id.is_empty() {
            continue;
        }
        let room = format!("/api/v1/rooms/{path}?user=ann");
        assert_eq!(stage.get(&room).await.error(), (404, "not_found".into()), "{room}");
        let member = format!("/api/v1/rooms/r/members/{path}?user=ann");
        let put = stage.server.http("PUT", &member, Some(json!({ "role": "member" }))).await;
        assert_eq!(put.error(), (400, "invalid".into()), "{member}");
    }
    stage.finish(0).await;
}

#[tokio::test]
async fn a_name_has_no_character_that_is_not_seen_and_an_end() {
    let mut stage = Stage::new().await;
    let post = json!({ "id": "own", "name": "own", "kind": "group", "visibility": "public" });
    assert_eq!(stage.post("/api/v1/rooms", &post.to_string()).await.status, 201);
    let unseen = UNSEEN.iter().map(|bad| (format!("a{bad}b"), "invalid"));
    let bad = unseen.chain([
        (String::new(), "invalid"),
        ("n".repeat(1025), "too_large"),
        ("€".repeat(20_000), "too_large"),
    ]);
    for (name, code) in bad {
        let status = if code == "invalid" { 422 } else { 413 };
        for (field, path) in
            [("name", "/api/v1/rooms"), ("topic", "/api/v1/rooms"), ("key", "/api/v1/rooms/r/messages")]
        {
            if field == "topic" && name.is_empty() {
                continue; // as good as none
            }
            let mut body = json!({ "text": "x", "kind": "group" });
            body[field] = json!(name);
            assert_eq!(
                stage.post(path, &body.to_string()).await.error(),
                (status, code.into()),
                "{field} {name:.9}"
            );
            if field != "key" {
                let patched = stage.server.http("PATCH", "/api/v1/rooms/own?user=ann", Some(body)).await;
                assert_eq!(patched.error(), (status, code.into()), "{field} {name:.9}");
            }
        }
        for (kind, field) in [("send", "key"), ("react", "emoji")] {
            let mut command = json!({ "type": kind, "id": 3, "room": "r", "text": "x", "target": 1 });
            command[field] = json!(name);
            assert_eq!(stage.error(&command.to_string()).await, (Some(3), code.into()), "{field} {name:.9}");
        }
    }
    let own = stage.get("/api/v1/rooms/own?user=ann").await.json();
    assert_eq!((&own["name"], &own["topic"], &own["last_seq"]), (&json!("own"), &json!(""), &json!(1)));
    stage.finish(0).await;
}

#[tokio::test]
async fn a_name_of_a_megabyte_is_not_even_read() {
    let mut stage = Stage::new().await;
    let name = "n".repeat(1 << 20);
    let body = json!({ "id": "x", "name": name, "kind": "group" }).to_string();
    assert_eq!(stage.post("/api/v1/rooms", &body).await.error(), (413, "too_large".into()));
    assert_eq!(stage.get(&format!("/api/v1/rooms/{name}?user=ann")).await.status, 431);
    let join = json!({ "type": "join", "room": name }).to_string();
    stage.peer.0.write_all(&masked(0x81, join.as_bytes())).await.unwrap();
    assert_eq!(stage.peer.ended().await, Some(1009));
}
