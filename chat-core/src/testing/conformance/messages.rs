//! Messages as they now are: edits, deletions, reactions.

use super::stage::{
    Got::{New, No, Was},
    Stage, delete, edit, host_as, json, keyed, message, public, react, unreact, user,
};
use crate::{
    ids::{Seq, Timestamp},
    limits::EMOJIS_MAX,
    protocol::{Draft, EventBody, EventKind, HistoryFrom, Reactions},
    store::{Append, Appended, Change, PageQuery, Refused, Store},
};

/// A message has its newest text and the time of that edit; each `edited` event keeps its own text.
pub async fn an_edit_shows_in_its_message(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let meta = json("{\"a\":1}");
    room.make("bob", message("before")).await;
    room.make("ann", Change::Message(Draft::text("one").key("k").reply_to(Seq(1)).meta(meta.clone()))).await;
    room.make("ann", edit(2, "two")).await;
    let last = room.by("ann", edit(2, "three"));
    assert_eq!(room.append([last.clone()]).await, [New(4)]);

    let now = room.message("bob", 2).await;
    assert_eq!((now.text.as_deref(), now.edited_at), (Some("three"), Some(last.at)));
    assert_eq!((now.key.as_deref(), now.reply_to, now.meta), (Some("k"), Some(Seq(1)), Some(meta)));
    assert_eq!(room.message("bob", 1).await.edited_at, None);
    let edits = room.kinds("bob", &[EventKind::Edited]).await;
    let text = |text: &str| EventBody::Edited { target: Seq(2), text: Some(text.into()) };
    assert_eq!(edits.into_iter().map(|event| event.body).collect::<Vec<_>>(), [text("two"), text("three")]);
    room.check().await;
}

async fn earlier(store: &dyn Store, item: Append) -> (u64, Timestamp) {
    let outcomes = store.append(vec![item]).await.unwrap();
    match outcomes[0] {
        Ok(Appended::Duplicate { seq, at }) => (seq.0, at),
        _ => panic!("it is no duplicate: {outcomes:?}"),
    }
}

/// An edit to the text that stands is a duplicate of what brought that text: the newest edit, or the message.
pub async fn a_text_that_is_there_already_is_a_duplicate(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let sent = room.by("ann", message("one"));
    assert_eq!(room.append([sent.clone()]).await, [New(1)]);
    assert_eq!(earlier(store, room.by("ann", edit(1, "one"))).await, (1, sent.at));
    let edited = room.by("ann", edit(1, "two"));
    assert_eq!(room.append([edited.clone()]).await, [New(2)]);
    room.make("bob", react(1, "x")).await;
    assert_eq!(earlier(store, room.by("ann", edit(1, "two"))).await, (2, edited.at));
    let edited_back = room.by("ann", edit(1, "one"));
    assert_eq!(room.append([edited_back.clone()]).await, [New(4)]);
    assert_eq!(earlier(store, room.by("ann", edit(1, "one"))).await, (4, edited_back.at));
    room.check().await;
}

/// No read, whoever asks and wherever it starts, brings back a text, a former text or the meta of a deleted message.
pub async fn a_deleted_text_comes_back_from_no_read(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let secret = Draft::text("secret one").key("k").meta(json("{\"is\":\"secret\"}"));
    room.make("ann", Change::Message(secret)).await;
    room.make("ann", edit(1, "secret two")).await;
    room.make("ann", edit(1, "secret three")).await;
    room.make("bob", message("kept")).await;
    room.make("ann", delete(1)).await;

    let deleted = room.message("ann", 1).await;
    assert_eq!((deleted.text, deleted.meta, deleted.reactions), (None, None, Vec::new()));
    for reader in [None, Some(host_as("ann")), Some(host_as("bob"))] {
        for from in [HistoryFrom::Newest, HistoryFrom::Before(Seq(6)), HistoryFrom::After(Seq::ZERO)] {
            for kinds in [vec![], vec![EventKind::Message], vec![EventKind::Edited]] {
                let page = room.page(PageQuery { from, kinds, ..room.query(reader.clone()) }).await;
                assert!(!format!("{page:?}").contains("secret"), "{page:?}");
            }
        }
    }
    let outcomes = store.append(vec![room.by("ann", keyed("k", "again"))]).await.unwrap();
    assert!(!format!("{outcomes:?}").contains("secret"), "{outcomes:?}");
    room.check().await;
}

fn reactions(all: &[(&str, u64, bool)]) -> Vec<Reactions> {
    all.iter().map(|&(emoji, count, me)| Reactions { emoji: emoji.into(), count, me }).collect()
}

/// Reactions are counted by emoji, and say whether the reader is among them.
pub async fn reactions_are_counted_for_each_reader(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    room.make("ann", message("one")).await;
    room.make("ann", message("two")).await;
    for (who, emoji) in [("ann", "👍"), ("bob", "👍"), ("cat", "👍"), ("bob", "🎉")] {
        room.make(who, react(1, emoji)).await;
    }
    room.make("cat", unreact(1, "👍")).await;
    room.make("bob", unreact(1, "🎉")).await;
    room.make("cat", react(1, "❤")).await;
    let seen = async |name: &str| room.message(name, 1).await.reactions;
    assert_eq!(seen("ann").await, reactions(&[("❤", 1, false), ("👍", 2, true)]));
    assert_eq!(seen("cat").await, reactions(&[("❤", 1, true), ("👍", 2, false)]));
    assert_eq!(seen("dan").await, reactions(&[("❤", 1, false), ("👍", 2, false)]));
    assert_eq!(room.message("ann", 2).await.reactions, []);
    room.check().await;
}

/// A reaction that is there, or is not there, already is a duplicate of what made it so.
pub async fn a_reaction_that_changes_nothing_is_a_duplicate(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    let sent = room.by("ann", message("one"));
    assert_eq!(room.append([sent.clone()]).await, [New(1)]);
    assert_eq!(earlier(store, room.by("bob", unreact(1, "x"))).await, (1, sent.at));
    let reacted = room.by("bob", react(1, "x"));
    assert_eq!(room.append([reacted.clone()]).await, [New(2)]);
    assert_eq!(room.one("cat", react(1, "x")).await, New(3));
    assert_eq!(earlier(store, room.by("bob", react(1, "x"))).await, (2, reacted.at));
    let taken_back = room.by("bob", unreact(1, "x"));
    assert_eq!(room.append([taken_back.clone()]).await, [New(4)]);
    assert_eq!(earlier(store, room.by("bob", unreact(1, "x"))).await, (4, taken_back.at));
    let batch = [react(1, "x"), react(1, "x"), react(1, "y")].map(|change| room.by("bob", change));
    assert_eq!(room.append(batch).await, [New(5), Was(5), New(6)]);
    room.check().await;
}

/// Emojis that look alike are different ones; they come in the order of their bytes.
pub async fn reactions_are_sorted_and_compared_byte_for_byte(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    room.make("ann", message("one")).await;
    let emojis = ["👍🏽", "👍", "a", "A", "❤\u{fe0f}", "❤", "\u{e9}", "e\u{301}", "é ", "b", "B"];
    for emoji in emojis {
        room.make("bob", react(1, emoji)).await;
    }
    let mut sorted = emojis;
    sorted.sort_unstable_by_key(|emoji| emoji.as_bytes());
    let sorted: Vec<_> = sorted.into_iter().map(|emoji| (emoji, 1, true)).collect();
    assert_eq!(room.message("bob", 1).await.reactions, reactions(&sorted));
    room.check().await;
}

/// A page of history stays bounded: so many emojis under a message, taken back or not, and no other.
pub async fn different_emojis_under_a_message_have_a_bound(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    room.make("ann", message("one")).await;
    for n in 0..EMOJIS_MAX {
        room.make("bob", react(1, &n.to_string())).await;
    }
    room.make("bob", unreact(1, "0")).await;
    assert_eq!(room.one("bob", react(1, "another")).await, No(Refused::TooMany));
    room.make("cat", react(1, "0")).await;
    room.make("cat", react(1, "1")).await;
    room.check().await;
}

/// A deleted message has no reactions; what told of them stays in the timeline.
pub async fn reactions_go_with_their_message(store: &dyn Store) {
    let room = Stage::open(store, public("r")).await;
    room.make("ann", message("one")).await;
    room.make("bob", react(1, "x")).await;
    room.make("ann", delete(1)).await;
    assert_eq!(room.message("bob", 1).await.reactions, []);
    let told = room.kinds("bob", &[EventKind::Reaction]).await;
    assert_eq!(
        told.iter().map(|event| (event.seq, &event.from)).collect::<Vec<_>>(),
        [(Seq(2), &user("bob"))]
    );
    room.check().await;
}
