//! A client's side of the bytes.

use chat_core::protocol::Codec;
use serde_json::Value;

/// The objects in a run of whole frames.
pub(crate) fn objects(codec: Codec, mut bytes: &[u8]) -> Result<Vec<Value>, String> {
    let mut objects = Vec::new();
    while !bytes.is_empty() {
        let (payload, rest) = frame(bytes).ok_or("a run ends within a frame, or a frame is none of ours")?;
        bytes = rest;
        match (codec, serde_json::from_slice(payload).map_err(|error| error.to_string())?) {
            (Codec::Single, object @ Value::Object(_)) => objects.push(object),
            (Codec::Batch, Value::Array(array)) if !array.is_empty() => objects.extend(array),
            (_, other) => return Err(format!("not what {codec:?} frames hold: {other}")),
        }
    }
    Ok(objects)
}

/// The payload of an unmasked text frame with the shortest form of its length, and what follows it
/// (RFC 6455, section 5.2).
fn frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[first, short], rest) = bytes.split_first_chunk()?;
    let (len, rest) = match short {
        0..=125 => (usize::from(short), rest),
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            let len = u16::from_be_bytes(*len);
            (usize::from((len > 125).then_some(len)?), rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            let len = u64::from_be_bytes(*len);
            (usize::try_from((len > 65_535).then_some(len)?).ok()?, rest)
        }
        _ => return None,
    };
    (first == 0x81).then_some(())?;
    rest.split_at_checked(len)
}
