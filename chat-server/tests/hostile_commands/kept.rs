//! What is said is kept byte for byte, whatever it is, and once for each key.

use serde_json::{Value, json};

use super::{
    Stage, send,
    support::{
        Client, RawClient,
        program::{Home, Program},
    },
};

/// Texts that other programs take for something else than text.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "'); DROP TABLE events; --",
        "\" OR 1=1; --",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "&lt;b&gt; &amp; &#0;",
        "%s%n%x%d",
        "{{7*7}} ${7*7} #{7*7} <%= 7*7 %>",
        "$(id) `id` ; id | id",
        "../../../etc/passwd",
        "\\u0041 \\n \\0 \\",
        "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "data: x\n\nevent: y\n\n",
        "\u{1b}[2J\u{1b}]0;title\u{7}",
        "a\u{0}b",
        "\u{0}",
        "\u{202e}txt.exe \u{2066}\u{200f}",
        "\u{feff}\u{fffd}\u{ffff}\u{10ffff}",
        "e\u{301} \u{e9} ﷽ 👩‍👩‍👧‍👦",
        "\u{7f}\u{80}\u{85}\u{9f}\u{2028}\u{2029}",
        " ",
        "\n",
        "null",
        "{\"type\":\"message\"}",
        "NaN",
        "1e999",
    ]
    .map(str::to_owned)
    .into();
    texts.push((1..=0x1f_u8).map(char::from).collect());
    texts.push("\u{0}".repeat(4096));
    texts
}

/// JSON of a sender's own, which must come back as it was written.
const METAS: [&str; 5] = [
    r#"{"a": 1.0, "a":1e2,  "b":"A\u0000"}"#,
    r#"{"__proto__":{"x":1},"constructor":null}"#,
    r#"{"big":123456789012345678901234567890,"small":1e-400,"zero":-0.0}"#,
    "{}",
    "{\"t\":\"'); DROP TABLE events; --\",\"\\u202e\":\"\u{202e}\"}",
];

/// The events of a page, whose JSON must hold each meta as it was written.
async fn page(program: &Program, query: &str) -> Vec<Value> {
    let answer = program.http("GET", &format!("/api/v1/rooms/r/messages?user=eve&{query}"), None).await;
    for meta in METAS {
        assert!(answer.body.contains(meta), "{meta}: {query}");
    }
    answer.json()["events"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_text_is_kept_byte_for_byte_on_every_way_and_over_a_restart() {
    let home = Home::new();
    let program = home.start().await;
    let mut single = RawClient::connect(program.address, "bob").await;
    single.join("r").await;
    let mut batch = Client::connect(program.address, "eve", Some("chat.v1.batch")).await;
    batch.command(json!({ "type": "join", "room": "r" })).await;
    let mut sender = RawClient::connect(program.address, "ann").await;
    sender.join("r").await;
    // Each by the socket and by HTTP.
    let mut said = Vec::new();
    for (n, text) in texts().into_iter().enumerate() {
        let meta = METAS[n % METAS.len()];
        let id = 10 + n as u64;
        let command = send(id, &text).to_string();
        let command = command.trim_end_matches('}').to_owned() + &format!(r#","meta":{meta}}}"#);
        sender.say_text(&command).await;
        assert_eq!(sender.reply(id).await["seq"], said.len() + 1);
        let posted =
            program.http("POST", "/api/v1/rooms/r/messages?user=ann", Some(json!({ "text": text }))).await;
        assert_eq!((posted.status, &posted.json()["seq"]), (201, &json!(said.len() + 2)));
        said.extend([text.clone(), text]);
    }
    // Live, one by one and in batches.
    for (n, text) in said.iter().enumerate() {
        let (event, bytes) = single.event().await;
        assert_eq!((&event["seq"], event["text"].as_str()), (&json!(n + 1), Some(text.as_str())));
        if n % 2 == 0 {
            let meta = METAS[(n / 2) % METAS.len()];
            assert!(String::from_utf8(bytes).unwrap().contains(meta), "{meta}");
        }
    }
    let mut heard = Vec::new();
    while heard.len() < said.len() {
        let frame = batch.next().await;
        let events = frame.as_array().unwrap().iter().filter(|event| event["type"] == "message");
        heard.extend(events.map(|event| event["text"].as_str().unwrap().to_owned()));
    }
    assert_eq!(heard, said);
    // And later, before and after a restart that nobody was ready for.
    let is_all = |events: &[Value]| {
        let kept: Vec<_> = events.iter().map(|event| event["text"].as_str().unwrap()).collect();
        assert_eq!(kept, said);
    };
    is_all(&page(&program, "after=0").await);
    program.kill().await;
    let program = home.start().await;
    is_all(&page(&program, "after=0").await);
    is_all(&page(&program, "limit=200").await);
    let mut back = RawClient::connect(program.address, "bob").await;
    back.say(&json!({ "type": "history", "room": "r", "id": 1 })).await;
    is_all(back.reply(1).await["events"].as_array().unwrap());
    back.say(&json!({ "type": "join", "room": "r", "after": 0, "id": 2 })).await;
    for text in &said {
        assert_eq!(back.event().await.0["text"].as_str(), Some(text.as_str()));
    }
}

#[tokio::test]
async fn the_first_with_a_key_stays_and_other_keys_are_other_keys() {
    let mut stage = Stage::new().await;
    let keyed = |id: u64, room: &str, text: &str| {
        json!({ "type": "send", "room": room, "id": id, "text": text, "key": "k" }).to_string()
    };
    let http = async |stage: &Stage, user: &str, room: &str, text: &str| {
        let body = json!({ "text": text, "key": "k" });
        stage.server.http("POST", &format!("/api/v1/rooms/{room}/messages?user={user}"), Some(body)).await
    };
    let first = stage.answer(&keyed(2, "r", "first")).await;
    assert_eq!((&first["seq"], &first["duplicate"]), (&json!(1), &json!(null)));
    // Another text, on the same way and on the other.
    let again = stage.answer(&keyed(3, "r", "second")).await;
    assert_eq!(
        again,
        json!({ "type": "ack", "id": 3, "room": "r", "seq": 1, "at": first["at"], "duplicate": true })
    );
    let posted = http(&stage, "ann", "r", "third").await;
    assert_eq!((posted.status, posted.json()), (200, json!({ "seq": 1, "at": first["at"] })));
    // Another user, and another room.
    assert_eq!(http(&stage, "bob", "r", "bob's").await.json()["seq"], 2);
    stage.answer(r#"{"type":"join","room":"q","id":4}"#).await;
    assert_eq!(stage.answer(&keyed(5, "q", "elsewhere")).await["seq"], 1);
    assert_eq!(http(&stage, "ann", "q", "again").await.status, 200);
    // Keys are compared byte by byte.
    for (n, key) in ["K", "k ", " k", "%6b", "ｋ", "k'--"].into_iter().enumerate() {
        let command = json!({ "type": "send", "room": "r", "id": 9, "text": key, "key": key });
        assert_eq!(stage.answer(&command.to_string()).await["seq"], n + 3, "{key}");
    }
    let events = stage.get("/api/v1/rooms/r/messages?user=ann").await.json()["events"].take();
    let texts: Vec<_> =
        events.as_array().unwrap().iter().map(|event| event["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["first", "bob's", "K", "k ", " k", "%6b", "ｋ", "k'--"]);
    stage.finish(8).await;
}
