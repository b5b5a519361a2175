//! The lines of scripts that build values: fields with bars between.

use std::str::Split;

/// The fields of one line, one after the other. One that is missing is like an empty one.
///
/// So that every text can be written, `¦` is a bar, `␤` ends a line, and `~` alone is the empty text.
pub(crate) struct Fields<'a>(Split<'a, char>);

impl<'a> Fields<'a> {
    pub(crate) fn of(line: &'a str) -> Self {
        Self(line.split('|'))
    }

    /// A text that may be left out.
    pub(crate) fn given(&mut self) -> Option<Box<str>> {
        match self.0.next() {
            None | Some("") => None,
            Some("~") => Some("".into()),
            Some(text) => Some(text.replace('¦', "|").replace('␤', "\n").into()),
        }
    }

    /// A text.
    pub(crate) fn text(&mut self) -> Box<str> {
        self.given().unwrap_or_default()
    }

    /// A number that may be left out, as whatever is no number is.
    pub(crate) fn numbered(&mut self) -> Option<u64> {
        self.0.next().and_then(|text| text.parse().ok())
    }

    /// A number.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbered().unwrap_or_default()
    }

    /// Whether the field is there.
    pub(crate) fn is_given(&mut self) -> bool {
        self.given().is_some()
    }
}
