//! Bytes of a WebSocket (RFC 6455, section 5.2), as far as a bench reads and writes them.

use bytes::{Buf, BytesMut};

/// How the payload of a message's event begins.
pub const MESSAGE: &[u8] = br#"{"type":"message","#;

/// How many text frames of a server a run of bytes holds. It reads headers only.
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
    fn frames_are_counted_by_their_headers() {
        let mut out = Vec::new();
        assert_eq!(frames_in(&out), 0);
        for (frames, text) in [(1, ""), (2, "short"), (3, &"x".repeat(125)), (4, &"x".repeat(60_000))] {
            put_one(&mut out, Codec::Single, &text);
            assert_eq!(frames_in(&out), frames);
        }
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
