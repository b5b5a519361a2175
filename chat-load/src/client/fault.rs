//! What a client tells whoever watches it, and what it finds wrong.

use std::time::Duration;

use super::place::Step;

/// So much of a frame that cannot be read is shown.
const SHOWN_BYTES: usize = 120;

/// Hears what a client hears. It is called for each event, in order.
pub trait Watch {
    /// An event of a room has come. It is not live where it is replayed after a join.
    fn delivered(&mut self, room: usize, event: &[u8], is_live: bool);
    /// What was sent is kept.
    fn settled(&mut self, room: usize, settled: Settled<'_>);
    /// The message of this key was refused for good; a [`Kind::Refused`] is told as well.
    fn rejected(&mut self, _room: usize, _key: &str, _code: &str, _message: &str) {}
    /// A room was joined for the first time, or its position means nothing any more: its events after this number are
    /// seen.
    fn began(&mut self, room: usize, last_seq: u64);
    /// The server has answered with an error of this code.
    fn refused(&mut self, code: &str);
    /// Something is wrong.
    fn fault(&mut self, fault: Fault);
}

/// A message that is kept for certain: by its ack, or by its event after a lost connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its number.
    pub seq: u64,
    /// When it was sent first.
    pub sent_at: Duration,
}

/// Why a client wants no more of this connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The server cannot at the moment: come back after this time, or later.
    ComeBack {
        /// At the earliest.
        at_least: Duration,
    },
    /// The stream is not as it must be: come back with the position as it is.
    Astray(String),
    /// Coming back would not help.
    Stop(String),
}

/// How something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers are missing. Those that come later are [`OutOfOrder`](Self::OutOfOrder) as well.
    Lost,
    /// A number came twice.
    Doubled,
    /// A number, or an ack, came after a later one.
    OutOfOrder,
    /// Later commands were answered, these were not.
    AckMissing,
    /// It answers nothing that waits: most likely a second answer.
    AckDoubled,
    /// Something that the protocol does not let a server do.
    Protocol,
    /// What a message says, or of whom it is, or where, is not what was sent.
    Altered,
    /// A refusal after which nothing is sent again.
    Refused,
}

/// Something that a server must not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// How it is counted.
    pub kind: Kind,
    /// For a person.
    pub text: String,
}

impl Fault {
    /// A fault, for a person.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    #[cold]
    pub(crate) fn of_step(step: Step, room: &str, seq: u64) -> Self {
        match step {
            Step::Beyond { first, last } if first == last => {
                Self::new(Kind::Lost, format!("{room}: {first} is missing before {seq}"))
            }
            Step::Beyond { first, last } => {
                Self::new(Kind::Lost, format!("{room}: {first} to {last} are missing before {seq}"))
            }
            Step::Late => Self::new(Kind::OutOfOrder, format!("{room}: {seq} came after a later number")),
            Step::Next | Step::Again => Self::new(Kind::Doubled, format!("{room}: {seq} came again")),
        }
    }

    #[cold]
    pub(super) fn unreadable(bytes: &[u8]) -> Self {
        let shown = bytes.get(..SHOWN_BYTES).unwrap_or(bytes);
        Self::new(Kind::Protocol, format!("unreadable: {}", String::from_utf8_lossy(shown)))
    }

    #[cold]
    pub(crate) fn altered(event: &[u8], why: &str) -> Self {
        Self::of_frame(Kind::Altered, event, why)
    }

    #[cold]
    pub(crate) fn of_frame(kind: Kind, frame: &[u8], why: &str) -> Self {
        let shown = frame.get(..SHOWN_BYTES).unwrap_or(frame);
        Self::new(kind, format!("{why}: {}", String::from_utf8_lossy(shown)))
    }

    #[cold]
    pub(super) fn stranger(room: &[u8]) -> Self {
        Self::new(Kind::Protocol, format!("{} was not joined", String::from_utf8_lossy(room)))
    }

    #[cold]
    pub(super) fn not_joined(room: &str) -> Self {
        Self::new(Kind::Protocol, format!("{room}: an event came before the join was answered"))
    }

    #[cold]
    pub(super) fn acks_missing(room: &str, count: u64) -> Self {
        Self::new(Kind::AckMissing, format!("{room}: {count} sent before one that was acked have no ack"))
    }

    #[cold]
    pub(super) fn ack_late(room: &str, id: u64) -> Self {
        Self::new(Kind::OutOfOrder, format!("{room}: the ack of command {id} came after that of a later one"))
    }

    #[cold]
    pub(super) fn ack_unknown(room: &str, id: u64) -> Self {
        Self::new(Kind::AckDoubled, format!("{room}: the ack of command {id} came again, or for nothing"))
    }

    #[cold]
    pub(super) fn two_numbers(room: &str, ack: u64, event: u64) -> Self {
        Self::new(Kind::Doubled, format!("{room}: one key, kept as {event} and acked as {ack}"))
    }

    #[cold]
    pub(super) fn left(room: &str, reason: &str) -> Self {
        Self::new(Kind::Protocol, format!("{room}: it had to leave: {reason}"))
    }

    #[cold]
    pub(super) fn reset(room: &str) -> Self {
        Self::new(Kind::Protocol, format!("{room}: the position means nothing any more (reset)"))
    }

    #[cold]
    pub(super) fn refused(code: &str, message: &str) -> Self {
        Self::new(Kind::Refused, format!("{code}: {message}"))
    }
}
