//! What the benches share: readers that run as tasks, and the count of what has reached them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use chat_core::{
    ids::{RoomId, Seq, Timestamp, UserId},
    protocol::{Event, EventBody, Message},
};
use tokio::sync::Notify;

/// Bytes of a message's text: with its fields it makes an event of some 200 bytes.
pub const TEXT_BYTES: usize = 120;

/// A message as a reader gets it.
///
/// # Panics
/// Never: its ids are ids.
pub fn event(seq: u64) -> Event {
    let (room, from) = (RoomId::new("lobby"), UserId::new("ann"));
    Event {
        room: room.expect("an id"),
        seq: Seq(seq),
        at: Timestamp(1_764_000_000_000),
        from: from.expect("an id"),
        body: EventBody::Message(Message { text: Some("x".repeat(TEXT_BYTES).into()), ..Message::default() }),
    }
}

/// Counts deliveries, and wakes who waits for the last of them. A clone is the same count.
#[derive(Debug, Default, Clone)]
pub struct Tally(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    missing: AtomicUsize,
    done: Notify,
}

impl Tally {
    /// From now on so many more are missing.
    pub fn expect(&self, deliveries: usize) {
        self.0.missing.fetch_add(deliveries, Ordering::Relaxed);
    }

    /// So many have arrived.
    ///
    /// # Panics
    /// Where more arrive than were missing: then something else is counted than was sent.
    pub fn arrived(&self, deliveries: usize) {
        let missing = self.0.missing.fetch_sub(deliveries, Ordering::AcqRel);
        assert!(deliveries <= missing, "{deliveries} came where {missing} were missing");
        if deliveries > 0 && deliveries == missing {
            self.0.done.notify_one();
        }
    }

    /// Waits for the last one.
    ///
    /// # Cancel safety
    /// A dropped wait loses nothing.
    pub async fn all_arrived(&self) {
        while self.0.missing.load(Ordering::Acquire) > 0 {
            self.0.done.notified().await;
        }
    }
}

/// How many text frames of a server a run of bytes holds (RFC 6455, section 5.2). It reads headers only.
pub fn frames_in(mut bytes: &[u8]) -> usize {
    let mut frames = 0;
    while let [_, length, rest @ ..] = bytes {
        let end = match (length, rest) {
            (126, [high, low, ..]) => 2 + usize::from(u16::from_be_bytes([*high, *low])),
            (length, _) => usize::from(*length),
        };
        bytes = rest.get(end..).unwrap_or_default();
        frames += 1;
    }
    frames
}

#[cfg(test)]
mod tests {
    use chat_core::protocol::{Codec, codec::put_one};

    use super::*;

    #[test]
    fn frames_are_counted_by_their_headers() {
        let mut out = Vec::new();
        assert_eq!(frames_in(&out), 0);
        for (frames, text) in [(1, ""), (2, "short"), (3, &"x".repeat(125)), (4, &"x".repeat(60_000))] {
            put_one(&mut out, Codec::Single, &text);
            assert_eq!(frames_in(&out), frames);
        }
    }

    #[test]
    fn an_event_has_some_200_bytes() {
        let mut out = Vec::new();
        put_one(&mut out, Codec::Single, &event(1000));
        assert!((195..=215).contains(&out.len()), "{}", out.len());
    }
}
