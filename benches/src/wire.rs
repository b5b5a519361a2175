//! Bytes of a WebSocket (RFC 6455, section 5.2), as far as a bench reads and writes them.

use bytes::{Buf, BytesMut};

/// How the payload of a message's event begins.
pub const MESSAGE: &[u8] = br#"{"type":"message","#;

/// How many events of messages a run of whole frames holds. It reads how each frame begins.
pub fn messages_in(bytes: &[u8]) -> usize {
    frames_with(bytes, MESSAGE)
}

/// How many acks it holds.
pub fn acks_in(bytes: &[u8]) -> usize {
    frames_with(bytes, br#"{"type":"ack","#)
}

fn frames_with(mut bytes: &[u8], beginning: &[u8]) -> usize {
    let mut frames = 0;
    while let [_, length, rest @ ..] = bytes {
        let (payload, length) = match (length, rest) {
            (126, [high, low, payload @ ..]) => (payload, usize::from(u16::from_be_bytes([*high, *low]))),
            (length, payload) => (payload, usize::from(*length)),
        };
        frames += usize::from(payload.starts_with(beginning));
        bytes = payload.get(length..).unwrap_or_default();
    }
    frames
}

/// Takes the frames of a server out of what was read so far: the payloads of those that are whole.
///
/// # Panics
/// At a frame of more than 64 KiB: no bench has one.
pub fn take_frame(read: &mut BytesMut) -> Option<BytesMut> {
    let (header, payload) = match *read.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes([*read.get(2)?, *read.get(3)?]))),
        127 => unreachable!("a frame of more than 64 KiB"),
        length => (2, usize::from(length)),
    };
    if read.len() < header + payload {
        return None;
    }
    read.advance(header);
    Some(read.split_to(payload))
}

/// A short text frame as a client sends it, masked with zeroes.
///
/// # Panics
/// Where it is not short: 125 bytes.
pub fn masked(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length <= 125);
    let header = [0x81, 0x80 | length.expect("a short text"), 0, 0, 0, 0];
    [&header, text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use chat_core::protocol::{Codec, codec::put_one};

    use super::*;
    use crate::event;

    #[test]
    fn events_are_counted_among_other_frames() {
        let mut out = Vec::new();
        assert_eq!(messages_in(&out), 0);
        for messages in 1..4 {
            for other in ["", "short", &"x".repeat(125), &"x".repeat(60_000)] {
                put_one(&mut out, Codec::Single, &other);
            }
            put_one(&mut out, Codec::Single, &event(messages));
            assert_eq!(messages_in(&out) as u64, messages);
        }
        assert_eq!(acks_in(&out), 0);
    }

    #[test]
    fn frames_come_whole_however_their_bytes_arrive() {
        let mut out = Vec::new();
        for text in ["short", &"x".repeat(300)] {
            put_one(&mut out, Codec::Single, &text);
        }
        let (mut read, mut lengths) = (BytesMut::new(), Vec::new());
        for byte in out {
            read.extend_from_slice(&[byte]);
            lengths.extend(take_frame(&mut read).map(|payload| payload.len()));
        }
        assert_eq!(lengths, [7, 302]);
    }

    #[test]
    fn an_event_of_a_message_is_known_by_its_beginning() {
        let mut out = Vec::new();
        put_one(&mut out, Codec::Single, &event(1));
        let payload = take_frame(&mut BytesMut::from(&*out)).unwrap();
        assert!(payload.starts_with(MESSAGE));
    }
}
