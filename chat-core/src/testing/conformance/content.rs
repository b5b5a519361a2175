//! Content: what people wrote comes back byte for byte.

use super::stage::{Got::New, Stage, edit, host, json, message, private, public, react};
use crate::{
    ids::{Epoch, Timestamp},
    protocol::{Draft, EventBody, RoomPatch},
    store::{Append, Change, NewRoom, Store},
};

/// What gets lost where somebody takes text for something else.
const ODD: [&str; 14] = [
    "a\0b",
    "\0",
    "\u{202e}turned",
    "\u{feff}mark",
    "a\u{0}\u{1}\u{7f}\u{85}\u{2028}",
    "𝄞 👩‍👩‍👧‍👦 𠜎",
    "e\u{301} is not \u{e9}",
    "line\r\nline\n\ttab \\ \\u0000 \\0",
    " spaces  around  ",
    "'); DROP TABLE events; --",
    "<script>alert(1)</script>",
    "%s%n{{7*7}}${7*7}$1?1",
    "\u{10ffff}\u{fffd}\u{d7ff}\u{e000}",
    "",
];

/// Texts, in the answer and in a page.
pub async fn texts_are_kept_byte_for_byte(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let long = ["x".repeat(4096), "👍".repeat(20_000), "\0".repeat(5000)];
    let texts = || ODD.into_iter().chain(long.iter().map(String::as_str));
    let batch = texts().map(|text| room.by("ann", message(text))).collect();
    room.append_all(batch).await;
    for (seq, text) in (1..).zip(texts()) {
        assert_eq!(room.message("bob", seq).await.text.as_deref(), Some(text));
    }
    room.check().await;
}

/// New texts of messages, and emojis.
pub async fn edited_texts_are_kept_byte_for_byte(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    room.make("ann", message("before")).await;
    for text in ODD {
        room.make("ann", edit(1, text)).await;
        assert_eq!(room.message("ann", 1).await.text.as_deref(), Some(text));
        room.make("bob", react(1, text)).await;
    }
    room.check().await;
}

/// The sender's own data: neither its spaces nor its order nor its numbers are touched.
pub async fn meta_is_kept_byte_for_byte(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(4000));
    let metas = [
        "{}",
        " { \"b\" : 1.0 ,\n\t\"a\":1e2 } ",
        r#"{"a":"\u0000","b":"\ud83d\ude00 \u00e9 é","c":123456789012345678901234567890.10}"#,
        "{\"'); DROP TABLE events; --\":null}",
        &long,
    ];
    for (seq, meta) in (1..).zip(metas) {
        let draft = Draft::text("with meta").meta(json(meta)).key(format!("k{seq}"));
        assert_eq!(room.one("ann", Change::Message(draft)).await, New(seq));
        assert_eq!(room.message("bob", seq).await.meta.unwrap().as_str(), json(meta).as_str());
    }
    room.check().await;
}

/// What is said of a room.
pub async fn names_topics_and_states_are_kept_byte_for_byte(store: &dyn Store) {
    let (name, topic) = ("first\0name".into(), "\u{202e}𝄞".into());
    let new = NewRoom { name, topic, epoch: Epoch::from_text("'\"E"), ..private("r") };
    let room = Stage::open(store, new.clone()).await;
    let seen = room.view("ann").await.room;
    assert_eq!((&seen.name, &seen.topic, &seen.epoch, seen.state), (&new.name, &new.topic, &new.epoch, None));
    for text in ODD {
        let state = Some(json(&format!(" {{\"text\" :\n{}}}", serde_json::to_string(text).unwrap())));
        let patch = RoomPatch { name: Some(text.into()), topic: Some(text.into()), state, visibility: None };
        let seq = room.make(host(), Change::Room(patch.clone())).await;
        let seen = room.view("ann").await.room;
        let seen =
            RoomPatch { name: Some(seen.name), topic: Some(seen.topic), visibility: None, state: seen.state };
        assert_eq!(seen, patch);
        let page = room.read("ann").await;
        assert_eq!(page.events[usize::try_from(seq).unwrap() - 1].body, EventBody::Room(patch));
    }
}

/// The caller's clock stands in events, even where it went back.
pub async fn times_are_kept(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    for (seq, at) in (1..).zip([1_700_000_000_123, 1_700_000_000_122, 0, -1, 1 << 52]) {
        let item = Append { at: Timestamp(at), ..room.by("ann", message("x")) };
        assert_eq!(room.append([item]).await, [New(seq)]);
    }
    room.check().await;
}
