//! What the benches share.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a bench that cannot go on has failed")]

pub mod cpu;
pub mod house;
pub mod readers;
pub mod tally;
pub mod wire;

use std::time::Duration;

use chat_core::{
    Limits,
    ids::{RoomId, Seq, Timestamp, UserId},
    protocol::{Event, EventBody, Message},
};

/// Bytes of a message's text: with its fields it makes an event of some 200 bytes.
pub const TEXT_BYTES: usize = 120;

/// The room of every bench.
pub const ROOM: &str = "lobby";

/// The engine's limits, except that nothing gathers before readers are woken. How much comes at once is what a bench
/// varies; waits between would only leave everything cold, which the baselines beside it are not.
pub fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.gathering.max = Duration::ZERO;
    limits
}

/// A message as a reader gets it.
pub fn event(seq: u64) -> Event {
    Event {
        room: RoomId::new(ROOM).unwrap(),
        seq: Seq(seq),
        at: Timestamp(1_764_000_000_000),
        from: UserId::new("ann").unwrap(),
        body: EventBody::Message(Message { text: Some("x".repeat(TEXT_BYTES).into()), ..Message::default() }),
    }
}

#[cfg(test)]
mod tests {
    use chat_core::protocol::{Codec, codec::put_one};

    use super::*;

    #[test]
    fn an_event_has_some_200_bytes() {
        let mut out = Vec::new();
        put_one(&mut out, Codec::Single, &event(1000));
        assert!((195..=215).contains(&out.len()), "{}", out.len());
    }
}
