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
    let exponent = |pair: &[u8]| matches!(pair, [b'0'..=b'9' | b'.', b'e' | b'E']);
    let may_hide = text.contains("\\u") || text.as_bytes().windows(2).any(exponent) || may_hold_digits(text);
    !may_hide || serde_json::from_str::<Strict>(text).is_ok()
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
