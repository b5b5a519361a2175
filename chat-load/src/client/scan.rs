//! What a frame says, as far as a client under load must know it: no JSON is parsed.
//!
//! The server writes `type` first, then the room and the number; texts come after them. A field is found by its name in
//! quotes: inside of a JSON text quotes are escaped, so `"seq":` cannot stand in one.

use memchr::{memchr, memmem};

/// The fields that are looked for stand within so many bytes: ids are at most 64 bytes long, as are keys.
const HEAD_BYTES: usize = 256;

/// What stands between two objects of a batch.
const SEAM: &[u8] = br#",{"type":""#;

const TYPE: &[u8] = br#"{"type":""#;
const MESSAGE: &[u8] = br#"{"type":"message","room":""#;
const SEQ_AFTER_ROOM: &[u8] = br#"","seq":"#;

/// How a connection's text frames are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subprotocol {
    /// `chat.v1`: one object a frame.
    Plain,
    /// `chat.v1.batch`: an array of objects a frame.
    Batch,
}

impl Subprotocol {
    /// As it stands in the handshake.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "chat.v1",
            Self::Batch => "chat.v1.batch",
        }
    }
}

/// An object of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen<'a> {
    /// An event of a room's timeline.
    Event {
        /// Where.
        room: &'a [u8],
        /// Its number.
        seq: u64,
    },
    /// A change of one's own was committed.
    Ack {
        /// The command.
        id: u64,
        /// Where.
        room: &'a [u8],
        /// The number of the change.
        seq: u64,
        /// Whether it was there already. Then it has no place in the stream.
        is_duplicate: bool,
    },
    /// `welcome`, `joined`, `left` or `error`, for whoever reads JSON.
    Reply,
    /// Something without a number, or that this client does not know.
    Told,
}

/// It does not begin as the protocol's objects do, or lacks a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame is none of the protocol")]
pub struct Unreadable;

/// Hands each object of a text frame to `take`, in order.
///
/// # Errors
/// [`Unreadable`] where a frame of a batch is no array.
#[inline]
pub fn objects(text: &[u8], subprotocol: Subprotocol, mut take: impl FnMut(&[u8])) -> Result<(), Unreadable> {
    if subprotocol == Subprotocol::Plain {
        take(text);
        return Ok(());
    }
    let text = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")).ok_or(Unreadable)?;
    let mut begin = 0;
    for comma in memmem::find_iter(text, SEAM) {
        take(&text[begin..comma]);
        begin = comma + 1;
    }
    take(&text[begin..]);
    Ok(())
}

/// What an object says.
///
/// # Errors
/// [`Unreadable`] where it does not look like one.
#[inline]
pub fn see(object: &[u8]) -> Result<Seen<'_>, Unreadable> {
    // Nearly all of them, and so by fixed places.
    if let Some(rest) = object.strip_prefix(MESSAGE)
        && let Some(end) = memchr(b'"', rest)
        && let Some(number) = rest[end..].strip_prefix(SEQ_AFTER_ROOM)
        && let Some(seq) = number_at(number)
    {
        return Ok(Seen::Event { room: &rest[..end], seq });
    }
    see_another(object)
}

fn see_another(object: &[u8]) -> Result<Seen<'_>, Unreadable> {
    let rest = object.strip_prefix(TYPE).ok_or(Unreadable)?;
    let kind = &rest[..memchr(b'"', rest).ok_or(Unreadable)?];
    let head = &object[..object.len().min(HEAD_BYTES)];
    match kind {
        b"ack" => Ok(Seen::Ack {
            id: number(head, b"\"id\":").ok_or(Unreadable)?,
            room: text(head, b"\"room\":\"").ok_or(Unreadable)?,
            seq: number(head, b"\"seq\":").ok_or(Unreadable)?,
            is_duplicate: memmem::find(head, b"\"duplicate\":true").is_some(),
        }),
        b"welcome" | b"joined" | b"left" | b"error" => Ok(Seen::Reply),
        // It has a number, but is none of the timeline's.
        b"read" => Ok(Seen::Told),
        // Events of whatever kind have a number and an author; what is only told has none of the latter.
        _ if memmem::find(head, b"\"from\":\"").is_some() => Ok(Seen::Event {
            room: text(head, b"\"room\":\"").ok_or(Unreadable)?,
            seq: number(head, b"\"seq\":").ok_or(Unreadable)?,
        }),
        _ => Ok(Seen::Told),
    }
}

/// The number behind the first `field`.
pub(super) fn number(object: &[u8], field: &[u8]) -> Option<u64> {
    number_at(&object[memmem::find(object, field)? + field.len()..])
}

/// The text behind the first `field`, which ends with the quote that opens it. It must have no escapes.
pub(crate) fn text<'a>(object: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let rest = &object[memmem::find(object, field)? + field.len()..];
    Some(&rest[..memchr(b'"', rest)?])
}

/// The number that `bytes` begins with: at most 19 digits, which always fit.
#[inline]
pub(crate) fn number_at(bytes: &[u8]) -> Option<u64> {
    let mut number = 0;
    let mut digits = 0;
    for byte in bytes.iter().take(19) {
        match byte.wrapping_sub(b'0') {
            digit @ 0..10 => number = number * 10 + u64::from(digit),
            _ => break,
        }
        digits += 1;
    }
    (digits > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::Value;

    use super::*;

    /// The examples of the protocol's page.
    fn golden() -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/server");
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let frames: Vec<_> = files
            .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
            .collect();
        assert!(frames.len() > 20);
        frames
    }

    /// The same by a parser of JSON.
    fn wanted(object: &[u8]) -> (String, Option<u64>) {
        let value: Value = serde_json::from_slice(object).unwrap();
        let kind = value["type"].as_str().unwrap().to_owned();
        let is_event = value.get("from").is_some();
        (kind, value["seq"].as_u64().filter(|_| is_event))
    }

    fn assert_seen(name: &str, object: &[u8]) {
        let seen = see(object).unwrap();
        match (wanted(object), seen) {
            ((_, Some(wanted)), Seen::Event { room: b"lobby", seq }) => assert_eq!(seq, wanted, "{name}"),
            ((kind, None), Seen::Ack { id: 3, room: b"lobby", seq: 21, is_duplicate }) if kind == "ack" => {
                assert_eq!(is_duplicate, name.contains("duplicate"), "{name}");
            }
            ((kind, None), Seen::Reply) => {
                assert!(["welcome", "joined", "left", "error"].contains(&kind.as_str()), "{name}");
            }
            ((kind, None), Seen::Told) => {
                let told = ["presence", "typing", "read", "ok", "pong", "history"];
                assert!(told.contains(&kind.as_str()), "{name}");
            }
            other => unreachable!("{name}: {other:?}"),
        }
    }

    #[test]
    fn every_frame_of_the_protocol_is_seen_as_what_it_is() {
        for (name, object) in golden() {
            // A page has events of its own, and this client asks for none.
            if !name.starts_with("history") {
                assert_seen(&name, &object);
            }
        }
    }

    #[test]
    fn a_batch_comes_apart_where_its_objects_end() {
        let frames: Vec<_> = golden().into_iter().filter(|(name, _)| !name.starts_with("history")).collect();
        let objects_in: Vec<_> = frames.iter().map(|(_, object)| object.as_slice()).collect();
        let batch = [&b"["[..], &objects_in.join(&b","[..]), &b"]"[..]].concat();
        let mut objects_out = Vec::new();
        objects(&batch, Subprotocol::Batch, |object| objects_out.push(object.to_vec())).unwrap();
        assert_eq!(objects_out, objects_in);
        assert_eq!(objects(objects_in[0], Subprotocol::Batch, |_| unreachable!()), Err(Unreadable));
    }

    #[test]
    fn a_text_that_looks_like_fields_changes_nothing() {
        let text = r#"","seq":99,"from":"x"},{"type":"message","room":"other","seq":7"#;
        let object = serde_json::json!({ "type": "message", "room": "r", "seq": 3, "at": 1, "from": "a", "text": text });
        // As the server has it: the type first.
        let fields = object.to_string();
        let quoted = serde_json::to_string(text).unwrap();
        assert!(fields.contains(&quoted));
        let object = format!(r#"{{"type":"message","room":"r","seq":3,"at":1,"from":"a","text":{quoted}}}"#);
        let batch = format!("[{object},{object}]");
        let mut seen = Vec::new();
        objects(batch.as_bytes(), Subprotocol::Batch, |object| {
            seen.push(format!("{:?}", see(object)));
        })
        .unwrap();
        let wanted = format!("{:?}", Ok::<_, Unreadable>(Seen::Event { room: b"r", seq: 3 }));
        assert_eq!(seen, [wanted.clone(), wanted]);
    }

    #[test]
    fn what_is_none_of_the_protocol_is_not_passed_over() {
        for object in [
            &b""[..],
            b"null",
            b"{}",
            br#"{"type":1}"#,
            br#"{"type":"ack"}"#,
            br#"{"seq":1,"type":"message"}"#,
        ] {
            assert_eq!(see(object), Err(Unreadable), "{}", String::from_utf8_lossy(object));
        }
        let no_number = br#"{"type":"message","room":"r","from":"a"}"#;
        assert_eq!(see(no_number), Err(Unreadable));
    }
}
