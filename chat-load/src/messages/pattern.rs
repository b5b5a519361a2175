//! What is heard from another's server: a text with places, and `*` for whatever is of no interest.

use memchr::memmem::Finder;

use super::{InvalidMessages, Part, Slot, parts};
use crate::client::number_at;

/// How frames of one kind look. Matching looks at a frame once, from its beginning to its end.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(Vec<Piece>);

#[derive(Debug, Clone)]
enum Piece {
    /// It stands right here.
    Literal(Vec<u8>),
    /// Anything, up to the next place where the literal stands; without one, up to the end.
    Until { slot: Option<Slot>, literal: Option<Box<Finder<'static>>> },
    /// Digits.
    Id,
    /// As many bytes as texts have.
    Text,
}

/// What a frame is to a pattern.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading<'a> {
    /// Something else.
    Other,
    /// It looks so up to its text, and is not as it should be from there on.
    Spoilt,
    /// What it has in its places.
    Found(Found<'a>),
}

/// What stands in the places of a pattern.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    pub(crate) user: Option<&'a [u8]>,
    pub(crate) room: Option<&'a [u8]>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) id: Option<u64>,
    pub(crate) text: Option<&'a [u8]>,
}

impl Pattern {
    /// Reads a flag, which may have these places.
    pub(super) fn new(flag: &'static str, text: &str, allowed: &[Slot]) -> Result<Self, InvalidMessages> {
        let mut pieces = Vec::new();
        let mut open: Option<Option<Slot>> = None;
        let mut chosen = Vec::new();
        for part in parts(flag, text)?.iter().flat_map(stars) {
            let (slot, literal) = match part {
                Seen::Literal(literal) => (None, literal.as_bytes()),
                Seen::Star => (None, &b""[..]),
                Seen::Slot(slot) if !allowed.contains(&slot) => {
                    return Err(InvalidMessages::Misplaced { flag, slot: slot.name() });
                }
                Seen::Slot(slot) if chosen.contains(&slot) => {
                    return Err(InvalidMessages::Twice { flag, slot: slot.name() });
                }
                Seen::Slot(slot) => {
                    chosen.push(slot);
                    (Some(slot), &b""[..])
                }
            };
            match (open.take(), literal) {
                (Some(_), b"") => return Err(InvalidMessages::Endless { flag }),
                (Some(slot), literal) => {
                    pieces.push(Piece::Until {
                        slot,
                        literal: Some(Box::new(Finder::new(literal).into_owned())),
                    });
                }
                (None, b"") => match slot {
                    Some(Slot::Id) => pieces.push(Piece::Id),
                    Some(Slot::Text) => pieces.push(Piece::Text),
                    slot => open = Some(slot),
                },
                (None, literal) => pieces.push(Piece::Literal(literal.to_vec())),
            }
        }
        if let Some(slot) = open {
            pieces.push(Piece::Until { slot, literal: None });
        }
        Ok(Self(pieces))
    }

    pub(super) fn has(&self, slot: Slot) -> bool {
        self.0.iter().any(|piece| match piece {
            Piece::Until { slot: other, .. } => *other == Some(slot),
            Piece::Id => slot == Slot::Id,
            Piece::Text => slot == Slot::Text,
            Piece::Literal(_) => false,
        })
    }

    /// What a frame is, where texts have so many bytes.
    #[inline]
    pub(crate) fn read<'a>(&self, frame: &'a [u8], text_bytes: usize) -> Reading<'a> {
        let mut found = Found::default();
        let mut rest = frame;
        for piece in &self.0 {
            match piece.take(rest, text_bytes, &mut found) {
                Some(after) => rest = after,
                None if found.text.is_some() || matches!(piece, Piece::Text) => return Reading::Spoilt,
                None => return Reading::Other,
            }
        }
        match rest {
            [] => Reading::Found(found),
            _ if found.text.is_some() => Reading::Spoilt,
            _ => Reading::Other,
        }
    }
}

impl Piece {
    /// What comes after it.
    #[inline]
    fn take<'a>(&self, rest: &'a [u8], text_bytes: usize, found: &mut Found<'a>) -> Option<&'a [u8]> {
        match self {
            Self::Literal(literal) => rest.strip_prefix(literal.as_slice()),
            Self::Until { slot, literal } => {
                let end = literal.as_ref().map_or(Some(rest.len()), |literal| literal.find(rest))?;
                let what = Some(&rest[..end]);
                match slot {
                    Some(Slot::User) => found.user = what,
                    Some(Slot::Room) => found.room = what,
                    Some(Slot::Key) => found.key = what,
                    _ => {}
                }
                Some(&rest[end + literal.as_ref().map_or(0, |literal| literal.needle().len())..])
            }
            Self::Id => {
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                found.id = Some(number_at(rest)?);
                Some(&rest[digits..])
            }
            Self::Text => {
                let (text, after) = rest.split_at_checked(text_bytes)?;
                found.text = Some(text);
                Some(after)
            }
        }
    }
}

enum Seen<'a> {
    Literal(&'a str),
    Star,
    Slot(Slot),
}

/// The same with each `*` by itself.
fn stars(part: &Part) -> Vec<Seen<'_>> {
    let Part::Literal(literal) = part else {
        let Part::Slot(slot) = part else { return Vec::new() };
        return vec![Seen::Slot(*slot)];
    };
    let mut seen = Vec::new();
    for (at, between) in literal.split('*').enumerate() {
        if at > 0 {
            seen.push(Seen::Star);
        }
        if !between.is_empty() {
            seen.push(Seen::Literal(between));
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Slot] = &[Slot::User, Slot::Room, Slot::Text, Slot::Key, Slot::Id];

    fn pattern(text: &str) -> Pattern {
        Pattern::new("--delivery", text, ALL).unwrap()
    }

    #[test]
    fn what_stands_in_the_places_is_found_and_the_rest_must_be_as_it_is_written() {
        let pattern = pattern(r#"{"type":"message",*"room":"{room}","user":"{user}",*"text":"{text}"*}"#);
        let frame =
            br#"{"type":"message","n":{"a":1},"room":"r1","user":"u7","role":"x","text":"12345","at":3}"#;
        let wanted = Found { user: Some(b"u7"), room: Some(b"r1"), text: Some(b"12345"), ..Found::default() };
        assert_eq!(pattern.read(frame, 5), Reading::Found(wanted));
        assert_eq!(pattern.read(br#"{"type":"ack","room":"r1"}"#, 5), Reading::Other);
        assert_eq!(pattern.read(frame, 4), Reading::Spoilt, "its text is longer");
        assert_eq!(pattern.read(frame, 6), Reading::Spoilt);
        assert_eq!(pattern.read(frame, 600), Reading::Spoilt);
    }

    #[test]
    fn a_whole_frame_is_meant_where_no_star_ends_the_pattern() {
        let ack = pattern(r#"{"ack":{id}}"#);
        assert_eq!(ack.read(br#"{"ack":17}"#, 5), Reading::Found(Found { id: Some(17), ..Found::default() }));
        for other in [&br#"{"ack":17,"x":1}"#[..], br#"{"ack":}"#, br#"{"ack":17}}"#, br#"{"ack":17"#, b""] {
            assert_eq!(ack.read(other, 5), Reading::Other, "{}", String::from_utf8_lossy(other));
        }
        let key = pattern("ok {key}");
        let found = Found { key: Some(b"k.3"), ..Found::default() };
        assert_eq!(key.read(b"ok k.3", 5), Reading::Found(found));
        assert_eq!(pattern("{text}").read(b"hello", 5), {
            Reading::Found(Found { text: Some(b"hello"), ..Found::default() })
        });
        assert_eq!(pattern("*").read(b"whatever", 5), Reading::Found(Found::default()));
    }

    #[test]
    fn a_pattern_that_would_not_know_where_a_place_ends_is_refused() {
        for (text, wanted) in [
            ("{user}{room}", "--delivery: after * or a name there must be something that ends it"),
            ("**", "--delivery: after * or a name there must be something that ends it"),
            ("*{text}", "--delivery: after * or a name there must be something that ends it"),
            ("{id},{id}", "--delivery: {id} is in it twice"),
            ("{role}", "--delivery: {role} has no place in it"),
        ] {
            assert_eq!(Pattern::new("--delivery", text, ALL).unwrap_err().to_string(), wanted, "{text}");
        }
    }
}
