//! A walk over JSON that looks at every string and number.
//!
//! `serde_json` skips the values of fields that nobody asked for, and a `RawValue` likewise: a lone surrogate escape
//! or `1e999` in them would pass, be stored, and break the next reader.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// One JSON value whose every string is Unicode and whose every number is finite; its content is dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

/// Whether every string and number of the JSON in `text` is one that another reader can take, as far as a reader
/// that skips unknown fields would not see it. Whether it is JSON at all is for that reader to say.
///
/// ```
/// use chat_core::protocol::hides_nothing;
/// assert!(hides_nothing(r#"{"text":"\ud83d\ude00"}"#));
/// assert!(!hides_nothing(r#"{"text":"\ud83d"}"#), "half a character");
/// assert!(!hides_nothing(r#"{"price":1e999}"#), "more than a number can be");
/// ```
pub fn hides_nothing(text: &str) -> bool {
    // Only an escape, an exponent or very many digits can hide what skipping lets pass.
    let may_hide = text.contains("\\u") || may_hold_exponent(text) || may_hold_digits(text);
    !may_hide || serde_json::from_str::<Strict>(text).is_ok()
}

/// Whether an exponent can be in `text`. It looks at all of it, as that is what a compiler makes wide steps of: one that
/// stops at the first costs ten times as much where there is none.
fn may_hold_exponent(text: &str) -> bool {
    let bytes = text.as_bytes();
    let behind = bytes.get(1..).unwrap_or_default();
    bytes
        .iter()
        .zip(behind)
        .fold(false, |found, (byte, next)| found | matches!((byte, next), (b'0'..=b'9' | b'.', b'e' | b'E')))
}

/// An integer of so many digits is finite: the largest finite number has one more (1.8e308).
const DIGITS_MAX: usize = 308;

/// Whether a run of more than [`DIGITS_MAX`] digits can be in `text`. Such a run covers one of the places
/// that are looked at here; what else has a digit there only costs a closer look.
fn may_hold_digits(text: &str) -> bool {
    text.bytes().skip(DIGITS_MAX).step_by(DIGITS_MAX + 1).any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exponent_is_seen_wherever_it_stands() {
        for before in 0..100 {
            for number in ["1e999", "1E999", "1.e999", "0.5E+999"] {
                let text = |number| format!(r#"{{"y":"{}E.","x":{number}}}"#, "e".repeat(before));
                assert!(may_hold_exponent(&text(number)) && !hides_nothing(&text(number)), "{before}");
                assert!(!may_hold_exponent(&text("1")) && hides_nothing(&text("1")), "{before}");
            }
        }
        assert!(!may_hold_exponent("") && !may_hold_exponent("e"));
    }

    #[test]
    fn a_number_past_every_reader_is_seen_wherever_it_stands() {
        for before in 0..700 {
            let text = |digits: usize| {
                format!(r#"{{"type":"ping","y":"{}","x":{}}}"#, "y".repeat(before), "9".repeat(digits))
            };
            assert!(hides_nothing(&text(308)), "{before}");
            assert!(!hides_nothing(&text(309)), "{before}");
        }
    }
}
