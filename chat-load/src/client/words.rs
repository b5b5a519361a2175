//! What a client writes, and what it reads as JSON.

use std::{borrow::Cow, io::Write as _};

use serde::{Deserialize, Serialize};

use super::rooms::Room;

/// A message to be sent, under a key that stays with it however often that happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The same author's second message with it in the same room is the first one.
    pub key: String,
    /// What it says.
    pub text: String,
    /// The number of the message that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
}

impl Draft {
    /// A message of this text under a random key, which nobody has drawn before.
    pub fn new(text: impl Into<String>) -> Self {
        Self { key: format!("{:032x}", fastrand::u128(..)), text: text.into(), reply_to: None }
    }
}

/// A position in the stream of a room: a number means something only together with the room's epoch. It is what a client
/// keeps to go on where it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Which incarnation of the room.
    pub epoch: String,
    /// Everything up to this number has come.
    pub after: u64,
}

/// What is read as JSON: seldom frames.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    pub(super) r#type: String,
    pub(super) id: Option<u64>,
    pub(super) room: String,
    pub(super) epoch: String,
    pub(super) last_seq: u64,
    pub(super) reset: bool,
    pub(super) reason: String,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) retry_after_ms: u64,
    pub(super) user: Named,
}

/// Whom a server takes the client for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    pub(super) id: String,
}

/// The key of an event, where it is one of `me`.
pub(super) fn own_key<'a>(event: &'a [u8], me: &str) -> Option<Cow<'a, str>> {
    #[derive(Deserialize)]
    struct Own<'a> {
        #[serde(borrow)]
        from: Cow<'a, str>,
        #[serde(borrow)]
        key: Option<Cow<'a, str>>,
    }
    let own: Own<'a> = serde_json::from_slice(event).ok()?;
    own.key.filter(|_| own.from == me)
}

/// What is written into memory is written.
const WRITTEN: &str = "a Vec takes everything";

pub(super) fn put_send(command: &mut Vec<u8>, id: u64, room: &str, draft: &Draft) {
    write!(command, r#"{{"type":"send","id":{id},"room":"#).expect(WRITTEN);
    serde_json::to_writer(&mut *command, room).expect(WRITTEN);
    command.extend_from_slice(br#","key":"#);
    serde_json::to_writer(&mut *command, &draft.key).expect(WRITTEN);
    command.extend_from_slice(br#","text":"#);
    serde_json::to_writer(&mut *command, &draft.text).expect(WRITTEN);
    if let Some(seq) = draft.reply_to {
        write!(command, r#","reply_to":{seq}"#).expect(WRITTEN);
    }
    command.push(b'}');
}

pub(super) fn put_join(command: &mut Vec<u8>, id: u64, room: &Room) {
    write!(command, r#"{{"type":"join","id":{id},"room":"#).expect(WRITTEN);
    serde_json::to_writer(&mut *command, &room.name).expect(WRITTEN);
    if let Some(epoch) = &room.epoch {
        let after = room.place.position();
        write!(command, r#","after":{after},"epoch":"#).expect(WRITTEN);
        serde_json::to_writer(&mut *command, epoch).expect(WRITTEN);
    }
    command.push(b'}');
}

pub(super) fn put_auth(command: &mut Vec<u8>, token: &str) {
    command.extend_from_slice(br#"{"type":"auth","token":"#);
    serde_json::to_writer(&mut *command, token).expect(WRITTEN);
    command.push(b'}');
}
