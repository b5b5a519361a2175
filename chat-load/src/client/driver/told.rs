//! What a driver tells, and why it stops.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;

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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// Its number.
    pub seq: u64,
    /// Milliseconds since 1970-01-01 UTC by the server's clock.
    pub at: u64,
    /// Who did it.
    pub from: String,
    /// What was done.
    #[serde(flatten)]
    pub body: Body,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
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
    #[serde(other)]
    Other,
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
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn events_of_the_protocol_are_read_as_what_they_are() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/server");
        let mut kinds = std::collections::BTreeMap::<_, u32>::new();
        for file in fs::read_dir(folder).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            if value.get("from").is_some() {
                let event: Event = serde_json::from_slice(&bytes).unwrap();
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
    fn a_deleted_message_has_no_text() {
        let wanted = Body::Message { text: None, key: None, reply_to: None };
        assert_eq!(golden("message_deleted.json").body, wanted);
    }
}
