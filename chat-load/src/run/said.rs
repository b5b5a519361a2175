//! What was said, for whoever looks at what came of it.

use std::{collections::VecDeque, time::Duration};

use memchr::memmem;

use crate::{
    client::{number_at, text_of},
    scenario::TEXT_BYTES_MIN,
};

/// So many messages are remembered, 24 MiB of them: the last ones. What comes later than so many others is not looked at.
const SAID_MAX: usize = 1 << 20;

/// With what a text begins; the moment of its sending follows, in nanoseconds.
const STAMP: &[u8] = br#""text":"@"#;

/// Digits of a moment: enough for eleven days.
const STAMP_DIGITS: usize = 15;

/// The text of a message that is sent at this moment of the run.
pub(super) fn stamped(at: Duration, bytes: usize) -> String {
    let fill = bytes.saturating_sub(TEXT_BYTES_MIN);
    format!("@{:0digits$} {:x<fill$}", at.as_nanos(), "", digits = STAMP_DIGITS)
}

/// The moment at which an event's message was sent.
pub(super) fn stamp_of(event: &[u8]) -> Option<Duration> {
    let at = memmem::find(event, STAMP)? + STAMP.len();
    let digits = event.get(at..at + STAMP_DIGITS)?;
    digits.iter().all(u8::is_ascii_digit).then(|| number_at(digits).map(Duration::from_nanos))?
}

/// A message that was said. Its moment is that of no other.
#[derive(Debug, Clone, Copy)]
struct One {
    at: Duration,
    /// The number in the author's name, where the tool has given the name.
    author: Option<u32>,
    /// Which of the plan's rooms.
    room: u32,
}

/// The last messages that were said, by the moment.
#[derive(Debug, Default)]
pub(super) struct Said {
    last: VecDeque<One>,
    has_forgotten: bool,
}

impl Said {
    /// This moment, or a little later, so that no two messages have one.
    pub(super) fn moment(&self, now: Duration) -> Duration {
        self.last.back().map_or(now, |one| now.max(one.at + Duration::from_nanos(1)))
    }

    /// Remembers what is said at a [`moment`](Self::moment).
    pub(super) fn remember(&mut self, at: Duration, author: Option<usize>, room: usize) {
        if self.last.len() >= SAID_MAX {
            self.last.pop_front();
            self.has_forgotten = true;
        }
        let author = author.and_then(|author| u32::try_from(author).ok());
        self.last.push_back(One { at, author, room: u32::try_from(room).unwrap_or(u32::MAX) });
    }

    /// What was said at a moment. An error where nothing was; nothing where that is forgotten.
    fn at(&self, at: Duration) -> Result<Option<&One>, &'static str> {
        match self.last.binary_search_by_key(&at, |one| one.at) {
            Ok(place) => Ok(self.last.get(place)),
            Err(_) if self.has_forgotten && self.last.front().is_some_and(|oldest| at < oldest.at) => {
                Ok(None)
            }
            Err(_) => Err("nobody said it at its moment"),
        }
    }

    /// What is not as it was said, where only moment, author and room are to be looked at.
    pub(super) fn difference_of(&self, at: Duration, author: usize, room: usize) -> Option<&'static str> {
        match self.at(at) {
            Err(why) => Some(why),
            Ok(None) => None,
            Ok(Some(one)) => {
                let is_author = one.author.is_none_or(|wanted| usize::try_from(wanted) == Ok(author));
                (!is_author || usize::try_from(one.room) != Ok(room)).then_some("its moment is another's")
            }
        }
    }

    /// What of an event is not as it was said; its text must have so many bytes.
    pub(super) fn difference(&self, event: &[u8], room: usize, text_bytes: usize) -> Option<&'static str> {
        let Some(at) = stamp_of(event) else { return Some("nobody said what it says") };
        let one = match self.at(at) {
            Ok(one) => one?,
            Err(why) => return Some(why),
        };
        let fill = text_of(event, br#""text":""#).filter(|text| text.len() == text_bytes.max(TEXT_BYTES_MIN));
        let fill = fill.and_then(|text| text.get(STAMP_DIGITS + 1..)?.strip_prefix(b" "));
        let author = || text_of(event, br#""from":"u"#).and_then(number_at);
        if !fill.is_some_and(|fill| fill.iter().all(|byte| *byte == b'x')) {
            Some("its text is another one")
        } else if one.author.is_some_and(|wanted| author() != Some(u64::from(wanted))) {
            Some("somebody else said it")
        } else if usize::try_from(one.room) != Ok(room) {
            Some("it was said in another room")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(from: &str, text: &str) -> Vec<u8> {
        format!(r#"{{"type":"message","room":"r","seq":1,"at":1,"from":"{from}","text":"{text}"}}"#)
            .into_bytes()
    }

    #[test]
    fn a_text_has_its_length_and_its_moment() {
        let at = Duration::from_nanos(1_234_567_890_123);
        for bytes in [TEXT_BYTES_MIN, 200] {
            let text = stamped(at, bytes);
            assert_eq!(text.len(), bytes);
            assert_eq!(stamp_of(&event("a", &text)), Some(at));
        }
        assert_eq!(stamp_of(br#"{"type":"message","text":"@12"}"#), None);
        assert_eq!(stamp_of(br#"{"type":"message","text":"hello @000000000000012"}"#), None);
    }

    #[test]
    fn what_differs_from_what_was_said_is_named() {
        let mut said = Said::default();
        let first = said.moment(Duration::from_secs(1));
        said.remember(first, Some(7), 3);
        let second = said.moment(Duration::from_secs(1));
        assert!(second > first, "each moment is of one message");
        said.remember(second, None, 3);
        let text = stamped(first, 20);
        assert_eq!(said.difference(&event("u7", &text), 3, 20), None);
        assert_eq!(said.difference(&event("u8", &text), 3, 20), Some("somebody else said it"));
        assert_eq!(said.difference(&event("u7", &text), 4, 20), Some("it was said in another room"));
        assert_eq!(said.difference(&event("u7", &text), 3, 21), Some("its text is another one"));
        let other = text.replace('x', "y");
        assert_eq!(said.difference(&event("u7", &other), 3, 20), Some("its text is another one"));
        let never = stamped(Duration::from_secs(2), 20);
        assert_eq!(said.difference(&event("u7", &never), 3, 20), Some("nobody said it at its moment"));
        assert_eq!(said.difference(&event("u7", "hello"), 3, 20), Some("nobody said what it says"));
        let by_token = event("whoever", &stamped(second, 20));
        assert_eq!(said.difference(&by_token, 3, 20), None, "the token says who it is, and not the tool");
    }

    #[test]
    fn only_the_last_ones_are_remembered() {
        let mut said = Said::default();
        for nanos in 0..=SAID_MAX as u64 {
            said.remember(Duration::from_nanos(nanos), Some(1), 0);
        }
        assert_eq!(said.last.len(), SAID_MAX);
        let of = |nanos| event("u2", &stamped(Duration::from_nanos(nanos), 20));
        assert_eq!(said.difference(&of(0), 0, 20), None, "it is forgotten");
        assert_eq!(said.difference(&of(1), 0, 20), Some("somebody else said it"));
    }
}
