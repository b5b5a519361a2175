//! The engine inside a program: no socket, no HTTP, just calls.
//!
//! Two users talk in a room that is kept in an SQLite file. A policy of our own changes what one of them says and
//! refuses another thing. Run it with `cargo run -p chat-examples --bin in_process`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use chat_core::{
    After, Draft, Engine, Identity, Incoming, LocalSession, RoomDraft, RoomId, Seq,
    policy::{Denied, Policy},
    protocol::{EventBody, HistoryQuery},
    rights::Visibility,
};
use chat_store::SqliteStore;

/// What our service adds to the engine's own rights. A policy can refuse more, and it can change a draft; what it gives
/// back is what is committed.
#[derive(Debug)]
struct HouseRules;

impl Policy for HouseRules {
    fn may_send(&self, _: &Identity, _: &RoomId, mut draft: Draft) -> Result<Draft, Denied> {
        let is_shouted =
            draft.text.chars().any(char::is_alphabetic) && *draft.text == draft.text.to_uppercase();
        if is_shouted {
            // The sender gets this as the error `forbidden`, with this sentence.
            return Err(Denied::new("please do not shout"));
        }
        draft.text = draft.text.replace("darn", "d**n").into();
        Ok(draft)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // `MemoryStore` would do as well, and forgets everything at the end.
    let directory = tempfile::tempdir()?;
    let store = SqliteStore::open(directory.path().join("chat.db")).await?;
    let engine = Engine::builder(store).policy(HouseRules).build().await?;

    // Who somebody is, the embedding program knows. The engine believes it.
    let (ann, bob) = (Identity::new("ann")?, Identity::new("bob")?);
    let lobby = RoomDraft::group(Visibility::Public).id("lobby".parse()?);
    engine.create_room(&ann, lobby).await?;

    // A session is one connection of one user. `After::Live` begins with what happens from now on.
    let mut ann = engine.connect(ann);
    ann.join("lobby", After::Live).await?;

    // When `send` returns, the message is on the disk. The key makes it safe to send again when one does not know
    // whether it got through: the second time nothing is committed, and the answer is that of the first time.
    let first = ann.send("lobby", Draft::text("hello").key("k1")).await?;
    let again = ann.send("lobby", Draft::text("hello").key("k1")).await?;
    println!("sent as {}, again as {} (duplicate: {})", first.seq, again.seq, again.duplicate);

    // The policy at work.
    ann.send("lobby", Draft::text("where is the darn key?")).await?;
    if let Err(refusal) = ann.send("lobby", Draft::text("HELLO?")).await {
        println!("refused: {refusal}");
    }

    // Bob comes late. From number 0 he hears everything that he missed, and then what happens, in one stream without
    // a seam: nothing can fall between a page of history and the live events.
    let mut bob = engine.connect(bob);
    let joined = bob.join("lobby", After::Seq(Seq::ZERO)).await?;
    ann.send("lobby", Draft::text("there you are")).await?;
    for _ in 0..=joined.last_seq.0 {
        println!("bob hears {}", next_event(&mut bob).await);
    }

    // Pages of history need no join.
    let newest = HistoryQuery { limit: Some(2), ..HistoryQuery::default() };
    let page = bob.history("lobby", newest).await?;
    let seqs: Vec<String> = page.events.iter().map(|event| event.seq.to_string()).collect();
    println!("the newest two: {} (older ones: {})", seqs.join(", "), page.more);

    // Before a program ends: everything that was handed in is committed, and the read marks are written.
    engine.settle().await;
    Ok(())
}

/// What happens next in the session's rooms, as a line. It passes over what is told but not kept, as who is online.
async fn next_event(session: &mut LocalSession) -> String {
    loop {
        if let Some(Incoming::Event(event)) = session.next().await {
            let what = match &event.body {
                EventBody::Message(message) => message.text.as_deref().unwrap_or("(deleted)"),
                EventBody::Member { .. } => "(somebody became a member)",
                _ => "(something else)",
            };
            return format!("{} {}: {what}", event.seq, event.from);
        }
    }
}
