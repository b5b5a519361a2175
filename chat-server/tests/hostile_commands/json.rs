//! What is no command: broken JSON, numbers that nobody can keep, types that there are not.

use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{Stage, send, shown, support::masked};

const MESSAGES: &str = "/api/v1/rooms/r/messages";

/// Texts that are not one JSON object that every reader understands in the same way, and fit into a frame.
fn bad_json() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "null",
        "true",
        "1",
        "\"{}\"",
        "[]",
        r#"[{"type":"ping"}]"#,
        r#"["ping",1]"#,
        "{",
        r#"{"text":"x""#,
        r#"{"text":"x"#,
        r#"{"text":"x"}}"#,
        r#"{"text":"x"} {"text":"x"}"#,
        r#"{"text":"x",}"#,
        r#"{'text':"x"}"#,
        r#"{text:"x"}"#,
        r#"{"text":"x","z":01}"#,
        r#"{"text":"x","z":+1}"#,
        r#"{"text":"x","z":NaN}"#,
        r#"{"text":"x","z":0x1}"#,
        r#"{"text":"\x41"}"#,
        "{\"text\":\"a\nb\"}",
        "{\"text\":\"a\u{0}b\"}",
        "{\"text\":\"x\"}\u{0}",
        "\u{feff}{\"text\":\"x\"}",
        // Each field once, also where it is written in two ways.
        r#"{"type":"ping","type":"ping","text":"x","text":"y"}"#,
        r#"{"type":"ping","ty\u0070e":"join","text":"x","te\u0078t":"y"}"#,
    ]
    .map(str::to_owned)
    .into();
    for bad in [
        "1e999",
        "-1e999",
        "1E+400",
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud83d\ud83d""#,
        r#""a\udfffb""#,
        r#"{"\ud800":1}"#,
        r#"[[["\udead"]]]"#,
        &"9".repeat(400),
    ] {
        for field in ["z", "text", "meta", "key", "type", "room", "id"] {
            texts.push(format!(r#"{{"type":"send","room":"r","{field}":{bad}}}"#));
        }
        texts.push(format!(r#"{{"type":"send","room":"r","text":"x","meta":{{"a":{bad}}}}}"#));
    }
    let deep = "[".repeat(65_000);
    texts.extend([deep.clone(), "{\"a\":".repeat(13_000), format!(r#"{{"text":{deep}"#)]);
    texts
}

#[tokio::test]
async fn what_is_no_json_object_is_bad_json_on_both_ways() {
    let mut stage = Stage::new().await;
    for text in bad_json() {
        assert_eq!(stage.error(&text).await, (None, "bad_json".into()), "{}", shown(&text));
        for path in ["/api/v1/rooms", MESSAGES] {
            let answer = stage.post(path, &text).await;
            assert_eq!(answer.error(), (400, "bad_json".into()), "{path}: {}", shown(&text));
        }
    }
    stage.finish(0).await;
}

#[tokio::test]
async fn a_hundred_thousand_brackets_are_too_many() {
    let mut stage = Stage::new().await;
    let deep = "[".repeat(100_000);
    assert_eq!(stage.post(MESSAGES, &deep).await.error(), (413, "too_large".into()));
    // Closed again, where nobody looks: passed over, and nothing falls.
    let half = 32_000;
    let closed = format!(r#"{{"type":"ping","id":3,"z":{}{}}}"#, "[".repeat(half), "]".repeat(half));
    assert_eq!(stage.answer(&closed).await["type"], "pong");
    let meta = format!(r#""meta":{{"a":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let text = format!(r#"{{"type":"send","id":4,"room":"r","text":"x",{meta}}}"#);
    assert_eq!(stage.error(&text).await, (Some(4), "invalid".into()));
    assert_eq!(
        stage.post(MESSAGES, &format!(r#"{{"text":"x",{meta}}}"#)).await.error(),
        (422, "invalid".into())
    );
    stage.peer.0.write_all(&masked(0x81, deep.as_bytes())).await.unwrap();
    assert_eq!(stage.peer.ended().await, Some(1009));
}

#[tokio::test]
async fn a_number_is_exact_or_refused() {
    let mut stage = Stage::new().await;
    let bad = [
        "-1",
        "-0",
        "1.5",
        "1.0",
        "1e3",
        "\"1\"",
        "true",
        "[1]",
        "{}",
        "9007199254740992",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "1e308",
    ];
    for number in bad {
        for (field, command) in [
            ("after", r#"{"type":"join","room":"x","after":"#),
            ("seq", r#"{"type":"read","room":"r","seq":"#),
            ("before", r#"{"type":"history","room":"r","before":"#),
            ("after", r#"{"type":"history","room":"r","after":"#),
            ("limit", r#"{"type":"history","room":"r","limit":"#),
            ("target", r#"{"type":"delete","room":"r","target":"#),
            ("reply_to", r#"{"type":"send","room":"r","text":"x","reply_to":"#),
        ] {
            let answer = stage.answer(&format!(r#"{command}{number},"id":5}}"#)).await;
            assert_eq!((&answer["code"], &answer["id"]), (&json!("invalid"), &json!(5)), "{field} {number}");
            assert!(answer["message"].as_str().unwrap().starts_with(field), "{answer}");
        }
        let id = format!(r#"{{"type":"ping","id":{number}}}"#);
        assert_eq!(stage.error(&id).await, (None, "invalid".into()), "{id}");
        let body = format!(r#"{{"text":"x","reply_to":{number}}}"#);
        assert_eq!(stage.post(MESSAGES, &body).await.error(), (422, "invalid".into()), "{body}");
    }
    for number in
        ["", "-1", "%2B1", "1.0", "1e3", "0x1", "9007199254740992", "18446744073709551616", "1%00", "%FF"]
    {
        for parameter in ["before", "after", "limit"] {
            let path = format!("{MESSAGES}?user=ann&{parameter}={number}");
            assert_eq!(stage.get(&path).await.error(), (400, "invalid".into()), "{path}");
        }
    }
    stage.finish(0).await;
}

#[tokio::test]
async fn the_largest_number_is_kept_as_it_is() {
    const MOST: u64 = (1 << 53) - 1;
    let mut stage = Stage::new().await;
    let pong = stage.answer(r#"{"type":"ping","id":9007199254740991}"#).await;
    assert_eq!((&pong["type"], pong["id"].as_u64()), (&json!("pong"), Some(MOST)));
    let read = stage.answer(r#"{"type":"read","room":"r","seq":9007199254740991,"id":2}"#).await;
    assert_eq!(read["type"], "ok");
    for query in
        [r#""before":9007199254740991"#, r#""after":9007199254740991"#, r#""limit":9007199254740991"#]
    {
        let page = stage.answer(&format!(r#"{{"type":"history","room":"r","id":3,{query}}}"#)).await;
        assert_eq!((&page["events"], &page["more"]), (&json!([]), &json!(false)), "{query}");
    }
    assert_eq!(stage.get(&format!("{MESSAGES}?user=ann&after={MOST}")).await.json()["events"], json!([]));
    // A mark past the end was moved to the end: what comes is unread.
    stage.server.http("POST", &format!("{MESSAGES}?user=bob"), Some(json!({ "text": "new" }))).await;
    assert_eq!(stage.get("/api/v1/rooms/r?user=ann").await.json()["unread"], 1);
    stage.finish(1).await;
}

#[tokio::test]
async fn a_type_that_is_none_is_an_unknown_command() {
    let mut stage = Stage::new().await;
    for kind in [
        "\"__proto__\"",
        "\"constructor\"",
        "\"toString\"",
        "\"Ping\"",
        "\"ping \"",
        "\"ping\\u0000\"",
        "\"\"",
        "{}",
        "{\"type\":\"ping\"}",
        "[]",
        "[\"ping\"]",
        "7",
        "true",
        "null",
    ] {
        let text = format!(r#"{{"type":{kind},"id":6,"room":"r"}}"#);
        assert_eq!(stage.error(&text).await, (Some(6), "unknown_command".into()), "{text}");
    }
    assert_eq!(stage.error(r#"{"id":6}"#).await, (Some(6), "unknown_command".into()));
    // Fields with such names are fields that nobody asks for.
    let text = r#"{"type":"ping","id":7,"__proto__":{"type":"x"},"constructor":1,"z":1,"z":2}"#;
    assert_eq!(stage.answer(text).await["type"], "pong");
    stage.finish(0).await;
}

#[tokio::test]
async fn a_limit_is_capped_and_a_page_is_no_longer_than_that() {
    let mut stage = Stage::new().await;
    for n in 0..250 {
        assert_eq!(stage.answer(&send(n, "x").to_string()).await["type"], "ack");
    }
    for limit in ["2147483648", "4294967297", "201"] {
        let page = stage.answer(&format!(r#"{{"type":"history","room":"r","id":3,"limit":{limit}}}"#)).await;
        assert_eq!((page["events"].as_array().unwrap().len(), &page["more"]), (200, &json!(true)), "{limit}");
        let page = stage.get(&format!("{MESSAGES}?user=ann&limit={limit}")).await.json();
        assert_eq!((page["events"].as_array().unwrap().len(), &page["more"]), (200, &json!(true)), "{limit}");
    }
    stage.finish(250).await;
}

/// Nobody is ever left to believe that they have what they have not.
#[tokio::test]
async fn a_position_that_cannot_be_is_reset() {
    let mut stage = Stage::new().await;
    for n in 0..3 {
        stage.answer(&send(n, "x").to_string()).await;
    }
    let epoch = stage.get("/api/v1/rooms/r?user=ann").await.json()["epoch"].as_str().unwrap().to_owned();
    for (position, is_reset) in [
        (json!({ "after": 3 }), false),
        (json!({ "after": 3, "epoch": epoch }), false),
        (json!({ "after": 4 }), true),
        (json!({ "after": 9_007_199_254_740_991_u64 }), true),
        (json!({ "after": 2, "epoch": "another" }), true),
        (json!({ "after": 3, "epoch": epoch.to_uppercase() }), true),
        (json!({ "after": 3, "epoch": "" }), true),
        (json!({ "after": 3, "epoch": format!("{epoch}\u{0}") }), true),
        (json!({ "after": 0, "epoch": "x".repeat(60_000) }), true),
    ] {
        let mut join = position.clone();
        join["type"] = json!("join");
        join["room"] = json!("r");
        let mut other = stage.server.connect("bob").await;
        let joined = other.call(join).await;
        assert_eq!((joined["reset"] == true, &joined["last_seq"]), (is_reset, &json!(3)), "{position}");
        // Whatever was replayed would have come before the reply to this.
        let typing = json!(other.command(json!({ "type": "typing", "room": "r" })).await);
        loop {
            let frame = other.next().await;
            assert_ne!(frame["type"], "message", "{position}");
            if frame["id"] == typing {
                break;
            }
        }
    }
    stage.finish(3).await;
}
