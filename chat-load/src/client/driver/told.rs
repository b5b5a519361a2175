//! What a driver tells, and why it stops.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, de::Error as _};

use crate::client::http::ConnectError;

/// What has happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Told {
    /// A room was joined for the first time, or its position means nothing any more: its stream begins behind
    /// `last_seq`, and whatever is shown of it is to be read anew. What was sent and is not kept yet goes on to wait.
    Began {
        /// Which of the driver's rooms.
        room: usize,
        /// The newest number; what is up to there is read over HTTP.
        last_seq: u64,
    },
    /// Every room is joined, and what was missed of it has come.
    Live,
    /// The next event of a room's stream.
    Event {
        /// Which of the driver's rooms.
        room: usize,
        /// What it says.
        event: Event,
        /// Not so where it is replayed after a join.
        is_live: bool,
    },
    /// A message of this driver is kept: it was acked, or its event came.
    Kept {
        /// Which of the driver's rooms.
        room: usize,
        /// The message's key.
        key: String,
        /// Its number.
        seq: u64,
    },
    /// A message of this driver was refused for good: it is not sent again.
    Rejected {
        /// Which of the driver's rooms.
        room: usize,
        /// The message's key.
        key: String,
        /// Of the errors of the protocol.
        code: String,
        /// For a person.
        message: String,
    },
    /// There is no connection. It comes back by itself.
    Lost {
        /// For a person.
        why: String,
        /// When the next one is tried.
        wait: Duration,
    },
}

/// An event of a room's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub seq: u64,
    /// Milliseconds since 1970-01-01 UTC by the server's clock.
    pub at: u64,
    /// Who did it.
    pub from: String,
    /// What was done.
    pub body: Body,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// Somebody said something.
    Message {
        /// None where it was deleted.
        text: Option<String>,
        /// Where its author gave one.
        key: Option<String>,
        /// The number of the message that it answers.
        reply_to: Option<u64>,
    },
    /// A message has another text.
    Edited {
        /// Its number.
        target: u64,
        /// None where it was deleted later.
        text: Option<String>,
    },
    /// A message was deleted.
    Deleted {
        /// Its number.
        target: u64,
    },
    /// A reaction came, or was taken back.
    Reaction {
        /// The message's number.
        target: u64,
        /// What it is.
        emoji: String,
        /// Whether it was taken back.
        remove: bool,
    },
    /// Something about the room or its members, or of a kind that this client does not know.
    Other,
}

/// What every event has.
#[derive(Deserialize)]
struct Head {
    r#type: String,
    seq: u64,
    at: u64,
    from: String,
}

/// What those have that a client looks into.
#[derive(Deserialize)]
struct Fields {
    text: Option<String>,
    key: Option<String>,
    reply_to: Option<u64>,
    target: Option<u64>,
    emoji: Option<String>,
    remove: Option<bool>,
}

impl Event {
    /// Reads it, and passes over all else that stands in it, however deep. An enum by its tag, or a flattened one, would
    /// have the parser keep what stands in a `meta`, which goes one level less deep than the server lets people nest it.
    pub(super) fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        let Head { r#type, seq, at, from } = serde_json::from_slice(json)?;
        let fields = || serde_json::from_slice::<Fields>(json);
        let body = match r#type.as_str() {
            "message" => {
                let Fields { text, key, reply_to, .. } = fields()?;
                Body::Message { text, key, reply_to }
            }
            "edited" => {
                let Fields { target, text, .. } = fields()?;
                Body::Edited { target: there("target", target)?, text }
            }
            "deleted" => Body::Deleted { target: there("target", fields()?.target)? },
            "reaction" => {
                let Fields { target, emoji, remove, .. } = fields()?;
                let (target, emoji) = (there("target", target)?, there("emoji", emoji)?);
                Body::Reaction { target, emoji, remove: there("remove", remove)? }
            }
            _ => Body::Other,
        };
        Ok(Self { seq, at, from, body })
    }
}

fn there<T>(name: &'static str, field: Option<T>) -> Result<T, serde_json::Error> {
    field.ok_or_else(|| serde_json::Error::missing_field(name))
}

/// Why a driver has stopped: coming back would not help.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Stopped {
    /// The handshake is refused.
    #[error("the server refuses the connection")]
    Refused(#[source] Arc<ConnectError>),
    /// The server has closed the connection for good.
    #[error("the server has closed the connection with {0}")]
    Closed(u16),
    /// A room cannot be joined, or is closed to this user: an error's code and its message, or the reason.
    #[error("it is shut out: {0}")]
    ShutOut(String),
    /// Nobody is signed in any longer.
    #[error("nobody is signed in any longer")]
    SignedOut,
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn golden(name: &str) -> Event {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/server").join(name);
        Event::read(&fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn events_of_the_protocol_are_read_as_what_they_are() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/server");
        let mut kinds = std::collections::BTreeMap::<_, u32>::new();
        for file in fs::read_dir(folder).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            if value.get("from").is_some() {
                let event = Event::read(&bytes).unwrap();
                assert_eq!((event.seq, event.from.as_str()), (value["seq"].as_u64().unwrap(), "ann"));
                let is_other = event.body == Body::Other;
                assert_eq!(
                    is_other,
                    ["member", "room"].contains(&value["type"].as_str().unwrap()),
                    "{value}"
                );
                *kinds.entry(value["type"].to_string()).or_default() += 1;
            }
        }
        assert_eq!(kinds.len(), 6, "{kinds:?}");
    }

    #[test]
    fn an_event_without_a_field_of_its_kind_is_none() {
        let read =
            |fields: &str| Event::read(format!(r#"{{"seq":1,"at":1,"from":"a",{fields}}}"#).as_bytes());
        assert!(read(r#""type":"reaction","target":1,"emoji":"x","remove":true"#).is_ok());
        for fields in [
            r#""type":"reaction","target":1,"emoji":"x""#,
            r#""type":"edited","text":"x""#,
            r#""type":"deleted","target":-1"#,
            r#""type":"message","text":5"#,
            r#""text":"no type""#,
        ] {
            assert!(read(fields).is_err(), "{fields}");
        }
        let other = read(r#""type":"pinned","target":"whatever","text":{"a":1}"#).unwrap();
        assert_eq!(other.body, Body::Other);
    }

    #[test]
    fn a_deleted_message_has_no_text() {
        let wanted = Body::Message { text: None, key: None, reply_to: None };
        assert_eq!(golden("message_deleted.json").body, wanted);
    }
}
