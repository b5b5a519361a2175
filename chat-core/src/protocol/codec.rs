//! The bytes of frames.

use serde::Serialize;

/// How a connection's output is written. Both are WebSocket text frames (RFC 6455, section 5.2) as a server sends
/// them: unmasked, and so the same for every reader.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// `chat.v1`: one JSON object a frame.
    #[default]
    Single,
    /// `chat.v1.batch`: a JSON array of one or more objects a frame.
    Batch,
}

impl Codec {
    /// Every codec.
    pub const ALL: [Self; 2] = [Self::Single, Self::Batch];

    /// The name of the WebSocket subprotocol.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Single => "chat.v1",
            Self::Batch => "chat.v1.batch",
        }
    }
}

/// Longest header of an unmasked frame: two bytes and a 64-bit length.
const HEADER_BYTES_MAX: usize = 10;

/// FIN and opcode 1: a whole text message.
const TEXT: u8 = 0x81;

/// Appends a text frame whose payload `write` appends, and returns what that returned.
///
/// The payload is written first, after room for the longest header; then both are moved together. So nothing is
/// measured twice and nothing is allocated beyond `out`.
pub fn put_frame<T>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let start = out.len();
    out.resize(start + HEADER_BYTES_MAX, 0);
    let written = write(out);
    let payload = start + HEADER_BYTES_MAX;
    let mut header = [0; HEADER_BYTES_MAX];
    let header_bytes = header_of(out.len() - payload, &mut header);
    out.copy_within(payload.., start + header_bytes);
    out.truncate(out.len() - (HEADER_BYTES_MAX - header_bytes));
    out[start..start + header_bytes].copy_from_slice(&header[..header_bytes]);
    written
}

fn header_of(payload_bytes: usize, header: &mut [u8; HEADER_BYTES_MAX]) -> usize {
    header[0] = TEXT;
    match payload_bytes {
        0..=125 => {
            header[1] = payload_bytes.to_le_bytes()[0];
            2
        }
        126..=0xffff => {
            let [.., high, low] = (payload_bytes as u64).to_be_bytes();
            header[1..4].copy_from_slice(&[126, high, low]);
            4
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
            10
        }
    }
}

/// Appends `value` as JSON.
///
/// # Panics
/// Where the value cannot be JSON: a map with keys that are no strings. None of the protocol's types is one.
pub fn put_json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("our own types have string keys, and a Vec takes every write");
}

/// Appends `value` as a frame of its own under `codec`.
pub fn put_one(out: &mut Vec<u8>, codec: Codec, value: &impl Serialize) {
    put_frame(out, |out| match codec {
        Codec::Single => put_json(out, value),
        Codec::Batch => put_array(out, [value]),
    });
}

/// Appends the values as one JSON array.
pub fn put_array(out: &mut Vec<u8>, values: impl IntoIterator<Item = impl Serialize>) {
    out.push(b'[');
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_json(out, &value);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_shortest_length_form() {
        for (payload, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 255, 255]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = b"before".to_vec();
            put_frame(&mut out, |out| out.resize(out.len() + payload, b'x'));
            assert_eq!(&out[..6], b"before");
            assert_eq!(&out[6..6 + header.len()], header.as_slice(), "{payload}");
            assert_eq!(out.len(), 6 + header.len() + payload);
            assert!(out[6 + header.len()..].iter().all(|b| *b == b'x'));
        }
    }

    #[test]
    fn a_batch_frame_holds_an_array() {
        let mut out = Vec::new();
        put_one(&mut out, Codec::Single, &1);
        put_one(&mut out, Codec::Batch, &1);
        put_frame(&mut out, |out| put_array(out, [1, 2]));
        assert_eq!(out, b"\x81\x011\x81\x03[1]\x81\x05[1,2]");
    }
}
