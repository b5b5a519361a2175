//! Frames, as strangers send them.

use std::collections::{BTreeSet, VecDeque};

use chat_server::testing::{Ending, Heard, Sent, read_all};

/// Bytes of one message. Small, so that a small input is past it.
const MESSAGE_BYTES_MAX: usize = 300;

/// A message may take so many times as much on the wire.
const FRAGMENTATION_MAX: usize = 4;

/// Bytes that count: fewer than the control frames that a peer may send at once.
const BYTES_MAX: usize = 2900;

/// Has the bytes behind the first line read as a peer's, and holds what comes of them against a plain reading.
///
/// The first line gives the sizes of the pieces in which they come, in turn; a byte 0 is a moment in which nothing does.
///
/// # Panics
/// Where another message is heard than was sent, a broken frame is let pass, a good one is not, or the code is another.
pub fn reader(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let sizes = parts.next().unwrap_or_default();
    let wire = parts.next().unwrap_or_default();
    let wire = &wire[..wire.len().min(BYTES_MAX)];
    let heard = read_all(&pieces(wire, sizes), MESSAGE_BYTES_MAX);
    let plain = Plain::read(wire);
    plain.check(&heard);
}

fn pieces<'a>(mut wire: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    let mut sizes = sizes.iter().map(|size| usize::from(*size)).chain([BYTES_MAX]).cycle();
    let mut pieces = Vec::new();
    while !wire.is_empty() {
        let (piece, rest) = wire.split_at(sizes.next().unwrap_or(BYTES_MAX).min(wire.len()));
        pieces.push(piece);
        wire = rest;
    }
    pieces
}

/// What a plain reading finds.
#[derive(Debug, Default)]
struct Plain {
    messages: Vec<Sent>,
    pings: VecDeque<Vec<u8>>,
    /// The codes that the connection may end with.
    codes: BTreeSet<u16>,
    /// Whether it must end: what is wrong is there whole.
    is_over: bool,
    /// How its own close frame ends it.
    closed: Option<Ending>,
    /// Whether the end may come before the whole of what is wrong is there.
    may_lose: bool,
    fragments: Option<(u8, Vec<u8>)>,
    /// What the message under way has taken on the wire.
    wire_bytes: usize,
}

/// A frame (RFC 6455, section 5.2), as far as it is there.
struct Frame<'a> {
    first: u8,
    is_masked: bool,
    length: u64,
    is_shortest: bool,
    payload: Vec<u8>,
    is_whole: bool,
    bytes: usize,
    rest: &'a [u8],
}

impl<'a> Frame<'a> {
    /// `None` where not even the header is whole.
    fn read(wire: &'a [u8]) -> Option<Self> {
        let [first, second, rest @ ..] = wire else { return None };
        let (length, shortest, rest) = match second & 0x7f {
            126 => {
                let (bytes, rest) = rest.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*bytes)), 126, rest)
            }
            127 => {
                let (bytes, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*bytes), 0x1_0000, rest)
            }
            short => (u64::from(short), 0, rest),
        };
        let is_masked = second & 0x80 != 0;
        let (mask, rest) = if is_masked { rest.split_first_chunk()? } else { (&[0; 4], rest) };
        let here = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
        let (payload, behind) = rest.split_at(here);
        Some(Self {
            first: *first,
            is_masked,
            length,
            is_shortest: length >= shortest,
            payload: payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect(),
            is_whole: here as u64 == length,
            bytes: wire.len() - behind.len(),
            rest: behind,
        })
    }

    const fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    const fn is_last(&self) -> bool {
        self.first & 0x80 != 0
    }
}

impl Plain {
    fn read(mut wire: &[u8]) -> Self {
        let mut plain = Self::default();
        while !plain.is_over && plain.closed.is_none() && !wire.is_empty() {
            let Some(frame) = Frame::read(wire) else {
                plain.look_at_start(wire);
                break;
            };
            plain.take(&frame);
            wire = frame.rest;
            if !frame.is_whole {
                break;
            }
        }
        // The bytes of a message are counted at the end of each read: what ends before that is let pass.
        plain.is_over |= plain.is_overrun();
        plain
    }

    fn may_end(&mut self, code: u16) {
        self.codes.insert(code);
    }

    /// A header that is not whole may be refused, or read on.
    fn look_at_start(&mut self, wire: &[u8]) {
        self.may_end(1002);
        self.count(wire[0], wire.len());
    }

    const fn is_overrun(&self) -> bool {
        self.wire_bytes > FRAGMENTATION_MAX * MESSAGE_BYTES_MAX
    }

    /// Counts bytes of a frame with this first byte, where it is part of a message.
    fn count(&mut self, first: u8, bytes: usize) {
        self.wire_bytes += if first & 0x08 == 0 { bytes } else { 0 };
        if self.is_overrun() {
            self.may_end(1008);
            self.may_lose = true;
        }
    }

    fn take(&mut self, frame: &Frame<'_>) {
        let codes = self.faults(frame);
        if !codes.is_empty() {
            self.codes.extend(codes);
            self.is_over |= frame.is_whole;
            // Its length alone is enough to see it.
            if !frame.is_shortest {
                (self.is_over, self.may_lose) = (true, true);
            }
        }
        self.count(frame.first, frame.bytes);
        if !self.is_over && frame.is_whole {
            self.take_payload(frame);
        }
    }

    /// What is wrong with a frame, or may be found to be as soon as its header is there.
    fn faults(&self, frame: &Frame<'_>) -> BTreeSet<u16> {
        let mut codes = BTreeSet::new();
        let is_started = self.fragments.is_some();
        let before = self.fragments.as_ref().map_or(0, |(_, bytes)| bytes.len()) as u64;
        let is_out_of_turn = match frame.opcode() {
            0 => !is_started,
            1 | 2 => is_started,
            8..=10 => !frame.is_last() || frame.length > 125,
            _ => true,
        };
        if frame.first & 0x70 != 0 || is_out_of_turn || !frame.is_masked || !frame.is_shortest {
            codes.insert(1002);
        }
        let payload = if frame.opcode() == 0 { before.saturating_add(frame.length) } else { frame.length };
        if payload > MESSAGE_BYTES_MAX as u64 {
            codes.insert(1009);
        }
        codes
    }

    fn take_payload(&mut self, frame: &Frame<'_>) {
        match frame.opcode() {
            8 => self.take_close(&frame.payload),
            9 => self.pings.push_back(frame.payload.clone()),
            10 => {}
            opcode => {
                let (opcode, mut bytes) = self.fragments.take().unwrap_or((opcode, Vec::new()));
                bytes.extend_from_slice(&frame.payload);
                self.take_data(opcode, bytes, frame.is_last());
            }
        }
    }

    fn take_data(&mut self, opcode: u8, bytes: Vec<u8>, is_last: bool) {
        if opcode == 1
            && let Err(error) = std::str::from_utf8(&bytes)
        {
            // It may be seen at once, where it cannot become a character any more, and must be at the end.
            if error.error_len().is_some() || is_last {
                self.may_end(1007);
            }
            self.is_over |= is_last;
        }
        if self.is_over {
            return;
        }
        if !is_last {
            self.fragments = Some((opcode, bytes));
            return;
        }
        self.wire_bytes = 0;
        self.messages.push(match opcode {
            1 => Sent::Text(String::from_utf8(bytes).expect("it was looked at")),
            _ => Sent::Binary(bytes),
        });
    }

    fn take_close(&mut self, payload: &[u8]) {
        match payload {
            [] => self.closed = Some(Ending::Answered(None)),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                let is_code = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
                if code == 1014 {
                    // It was registered after the RFC, for gateways: tungstenite does not know it.
                    self.may_end(1002);
                }
                match (is_code, std::str::from_utf8(reason)) {
                    (true, Ok(_)) => self.closed = Some(Ending::Answered(Some(code))),
                    (false, Ok(_)) => self.end(&[1002]),
                    (_, Err(_)) => self.end(&[1002, 1007]),
                }
            }
            [_] => self.end(&[1002]),
        }
    }

    fn end(&mut self, codes: &[u16]) {
        self.codes.extend(codes);
        self.is_over = true;
    }

    fn check(mut self, heard: &Heard) {
        let is_prefix = self.messages.starts_with(&heard.messages);
        let is_all = heard.messages.len() == self.messages.len();
        // Bad text in a message that goes on may be seen before what comes behind it.
        let is_early = matches!(heard.ending, Ending::Closed(_)) && self.may_lose;
        assert!(is_prefix && (is_all || is_early), "{heard:?} is heard, and sent was {self:?}");
        match heard.ending {
            Ending::Closed(code) | Ending::Answered(Some(code)) if self.codes.contains(&code) => {}
            ending @ Ending::Answered(_) => assert_eq!(Some(ending), self.closed, "{self:?}"),
            Ending::Open => {
                assert!(!self.is_over && self.closed.is_none(), "{self:?} and it goes on");
            }
            ending => panic!("it ends as {ending:?}, and not so: {self:?}"),
        }
        self.check_answers(&heard.answers);
    }

    /// Pings are answered in order, where there is room, each with its own bytes.
    fn check_answers(&mut self, mut answers: &[u8]) {
        while let [first, length, rest @ ..] = answers {
            if *first == 0x88 {
                return; // its own close frame, which the gate drops once ours is there
            }
            let (payload, behind) = rest.split_at(usize::from(*length));
            assert_eq!(*first, 0x8a, "no pong");
            let is_answered = std::iter::from_fn(|| self.pings.pop_front()).any(|ping| ping == payload);
            assert!(is_answered, "{payload:?} answers no ping");
            answers = behind;
        }
        assert!(answers.is_empty(), "half a frame: {answers:?}");
    }
}
