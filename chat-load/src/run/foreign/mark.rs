//! The mark with which each text begins at another's server, which gives messages no numbers that we know.

use std::time::Duration;

/// Bytes of a mark: `@`, the moment in nanoseconds, the author, the author's how-manieth message it is, and a blank.
pub(crate) const MARK_BYTES: usize = 1 + MOMENT_DIGITS + 1 + TALKER_DIGITS + 1 + COUNT_DIGITS + 1;

/// Enough for eleven days.
const MOMENT_DIGITS: usize = 15;

/// More than there may be users.
const TALKER_DIGITS: usize = 7;

/// Whatever a count has.
const COUNT_DIGITS: usize = 10;

/// What a text is filled up with.
const FILL: u8 = b'x';

/// Which message a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// When it was said.
    pub(super) at: Duration,
    /// By whom, and in which room: a place in the run's list of those who talk somewhere.
    pub(super) talker: usize,
    /// 1 for the first that it said.
    pub(super) count: u32,
}

/// Makes and reads texts of one length.
#[derive(Debug)]
pub(super) struct Marks {
    fill: Vec<u8>,
}

impl Marks {
    pub(super) fn new(text_bytes: usize) -> Self {
        Self { fill: vec![FILL; text_bytes.saturating_sub(MARK_BYTES)] }
    }

    pub(super) const fn text_bytes(&self) -> usize {
        MARK_BYTES + self.fill.len()
    }

    pub(super) fn text(&self, mark: &Mark) -> Vec<u8> {
        let Mark { at, talker, count } = mark;
        let at = at.as_nanos();
        let mut text =
            format!("@{at:0MOMENT_DIGITS$}.{talker:0TALKER_DIGITS$}.{count:0COUNT_DIGITS$} ").into_bytes();
        text.extend_from_slice(&self.fill);
        text
    }

    /// Which message a text is; `None` where it is none, or is not whole.
    #[inline]
    pub(super) fn read(&self, text: &[u8]) -> Option<Mark> {
        let (at, rest) = digits::<MOMENT_DIGITS>(text.strip_prefix(b"@")?, b'.')?;
        let (talker, rest) = digits::<TALKER_DIGITS>(rest, b'.')?;
        let (count, fill) = digits::<COUNT_DIGITS>(rest, b' ')?;
        let mark = Mark {
            at: Duration::from_nanos(at),
            talker: usize::try_from(talker).ok()?,
            count: u32::try_from(count).ok()?,
        };
        (fill == self.fill).then_some(mark)
    }
}

/// A number of exactly so many digits, at most 16, and what comes behind the byte that ends it. Every delivery has three:
/// so there is one turn for a digit, and one look whether all of them were some.
#[inline]
fn digits<const COUNT: usize>(bytes: &[u8], end: u8) -> Option<(u64, &[u8])> {
    let (digits, rest) = bytes.split_first_chunk::<COUNT>()?;
    let (mut number, mut is_number) = (0_u64, true);
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        is_number &= digit < 10;
        number = number * 10 + u64::from(digit);
    }
    let (first, rest) = rest.split_first()?;
    (is_number && *first == end).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_which_message_it_is_and_any_other_byte_spoils_it() {
        let mark = Mark { at: Duration::from_nanos(1_234_567_890_123), talker: 4711, count: u32::MAX };
        for bytes in [0, MARK_BYTES, 200] {
            let marks = Marks::new(bytes);
            let text = marks.text(&mark);
            assert_eq!(text.len(), bytes.max(MARK_BYTES));
            assert_eq!(text.len(), marks.text_bytes());
            assert_eq!(marks.read(&text), Some(mark));
            for at in 0..text.len() {
                let mut other = text.clone();
                other[at] = b'y';
                assert_eq!(marks.read(&other), None, "at {at}");
            }
            assert_eq!(marks.read(&text[1..]), None);
            assert_eq!(marks.read(&[&text[..], b"x"].concat()), None);
        }
    }
}
