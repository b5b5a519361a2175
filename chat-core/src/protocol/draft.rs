//! What a user wants to say, before it is a message.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::codes::CommandError;
use crate::{ids::Seq, limits::Limits};

/// An idempotency key: the same author's second send with it in the same room finds the first.
pub type Key = Box<str>;

/// JSON text that the engine keeps byte for byte and never looks into. A clone shares it.
#[derive(Debug, Clone)]
pub struct Json(Arc<RawValue>);

impl Json {
    /// Takes JSON text of one value. Every string in it must be Unicode: a lone surrogate escape is refused.
    ///
    /// # Errors
    /// `serde_json`'s own where `text` is not one JSON value.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<super::strict::Strict>(text)?;
        RawValue::from_string(text.to_owned()).map(|raw| Self(raw.into()))
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.as_str().trim_start().starts_with('{')
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Json {}

impl serde::Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A message as its author wrote it. It is checked against the limits when it is sent.
///
/// ```
/// use chat_core::Draft;
/// let draft = Draft::text("hello").key("k1");
/// assert_eq!(draft.text, "hello".into());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Draft {
    /// The text: 1 byte up to [`Limits::text_bytes`], kept byte for byte.
    pub text: Box<str>,
    /// Where given: sending it twice commits it once.
    pub key: Option<Key>,
    /// The message that this one answers.
    pub reply_to: Option<Seq>,
    /// A JSON object of the sender's own.
    pub meta: Option<Json>,
}

impl Draft {
    /// A draft of this text and nothing else.
    pub fn text(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), key: None, reply_to: None, meta: None }
    }

    /// The same with an idempotency key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same as an answer to message `target`.
    #[must_use]
    pub const fn reply_to(mut self, target: Seq) -> Self {
        self.reply_to = Some(target);
        self
    }

    /// The same with data of the sender's own.
    #[must_use]
    pub fn meta(mut self, meta: Json) -> Self {
        self.meta = Some(meta);
        self
    }

    /// Holds the draft against the limits.
    ///
    /// # Errors
    /// `invalid` or `too_large`, with the field's name.
    pub fn check(&self, limits: &Limits) -> Result<(), CommandError> {
        check_text(&self.text, limits)?;
        if let Some(key) = &self.key {
            check_label("key", key, limits.key_bytes)?;
        }
        match &self.meta {
            Some(meta) if !meta.is_object() => Err(CommandError::invalid("meta", "must be a JSON object")),
            Some(meta) if meta.as_str().len() > limits.meta_bytes => {
                Err(CommandError::too_large("meta", limits.meta_bytes))
            }
            _ => Ok(()),
        }
    }
}

/// Holds a message's text against the limits.
///
/// # Errors
/// `invalid` where it is empty, `too_large` where it is too long.
pub fn check_text(text: &str, limits: &Limits) -> Result<(), CommandError> {
    match text.len() {
        0 => Err(CommandError::invalid("text", "must not be empty")),
        n if n > limits.text_bytes => Err(CommandError::too_large("text", limits.text_bytes)),
        _ => Ok(()),
    }
}

/// Holds a short text that people or programs use as a name against `bytes_max`: not empty, no control characters,
/// none that turn the direction of writing (Unicode's `Bidi_Control`) or break a line.
///
/// # Errors
/// `invalid` or `too_large`, with `field` in the message.
pub fn check_label(field: &str, text: &str, bytes_max: usize) -> Result<(), CommandError> {
    let turns = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match text {
        "" => Err(CommandError::invalid(field, "must not be empty")),
        _ if text.len() > bytes_max => Err(CommandError::too_large(field, bytes_max)),
        _ if text.chars().any(|c| c.is_control() || turns(c)) => {
            Err(CommandError::invalid(field, "must not hold control characters"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::codes::ErrorCode;

    #[test]
    fn each_field_has_its_limit() {
        let limits = Limits::default();
        let code = |draft: Draft| draft.check(&limits).map_err(|e| e.code);
        assert_eq!(code(Draft::text("x".repeat(4096))), Ok(()));
        assert_eq!(code(Draft::text("x".repeat(4097))), Err(ErrorCode::TooLarge));
        assert_eq!(code(Draft::text("")), Err(ErrorCode::Invalid));
        assert_eq!(code(Draft::text("a\0\u{202e}")), Ok(()), "text is kept as it is");
        assert_eq!(code(Draft::text("a").key("k\0")), Err(ErrorCode::Invalid));
        assert_eq!(code(Draft::text("a").key("")), Err(ErrorCode::Invalid));
        assert_eq!(code(Draft::text("a").key("k".repeat(65))), Err(ErrorCode::TooLarge));
        assert_eq!(code(Draft::text("a").meta(Json::parse("[1]").unwrap())), Err(ErrorCode::Invalid));
        assert_eq!(code(Draft::text("a").meta(Json::parse(" {}").unwrap())), Ok(()));
    }

    #[test]
    fn json_keeps_its_bytes_and_refuses_what_is_no_text() {
        assert_eq!(Json::parse("{\"a\": 1.0}").unwrap().as_str(), "{\"a\": 1.0}");
        for bad in [r#"{"a":"\ud800"}"#, r#"{"\udc00":1}"#, "{", "1e999", "{} {}"] {
            Json::parse(bad).expect_err(bad);
        }
    }
}
