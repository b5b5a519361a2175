//! Where frames and messages begin and end in what a peer sends.
//!
//! tungstenite tells of whole messages only. What has begun and not ended holds memory and could go on for ever, so its
//! bytes and its time have bounds, and for these its beginning must be known, wherever in a read it stands.

/// Most bytes of a frame's header (RFC 6455, section 5.2): two, eight of length, four of the mask.
const HEADER_BYTES_MAX: usize = 14;

const FIN: u8 = 0x80;
const CONTROL: u8 = 0x08;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// A length was written with more bytes than it needs, which section 5.2 forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overlong;

/// How far the peer's frames have come.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The header of the frame under way, as far as it came.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    /// What its payload still lacks, once its header is whole.
    payload_left_bytes: u64,
    /// Whether a message has begun whose last fragment is still to come.
    is_fragmented: bool,
    /// All that went into the message under way, headers too, control frames left out.
    message_bytes: u64,
}

impl Frames {
    /// Follows what was read next, to the end of the frame under way. Returns how many of the bytes that took.
    ///
    /// # Errors
    /// [`Overlong`]: what came after it was not followed.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<usize, Overlong> {
        let mut followed = 0;
        while let Some(first) = bytes.get(followed) {
            if self.payload_left_bytes > 0 {
                let here_bytes = bytes.len() - followed;
                let here_bytes =
                    usize::try_from(self.payload_left_bytes).map_or(here_bytes, |left| left.min(here_bytes));
                self.payload_left_bytes -= here_bytes as u64;
                followed += here_bytes;
                self.count(here_bytes as u64);
            } else {
                self.header[usize::from(self.header_bytes)] = *first;
                self.header_bytes += 1;
                followed += 1;
                self.count(1);
                let Some(payload_bytes) = self.announced()? else { continue };
                self.payload_left_bytes = payload_bytes;
            }
            if self.payload_left_bytes == 0 {
                self.end_frame();
                break;
            }
        }
        Ok(followed)
    }

    /// Whether a frame or a message has begun and not ended.
    pub(super) const fn is_unfinished(&self) -> bool {
        self.header_bytes > 0 || self.is_fragmented
    }

    /// Bytes of the message under way.
    pub(super) const fn message_bytes(&self) -> u64 {
        self.message_bytes
    }

    /// The length of the payload, once the header is whole.
    fn announced(&self) -> Result<Option<u64>, Overlong> {
        let [_, second, rest @ ..] = &self.header;
        let mask_bytes = if second & MASKED == 0 { 0 } else { 4 };
        let length_bytes = match second & LENGTH {
            LENGTH_16 => 2,
            LENGTH_64 => 8,
            _ => 0,
        };
        if usize::from(self.header_bytes) < 2 + length_bytes + mask_bytes {
            return Ok(None);
        }
        let length = rest[..length_bytes].iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        match length_bytes {
            0 => Ok(Some((second & LENGTH).into())),
            2 if length < LENGTH_16.into() => Err(Overlong),
            8 if length <= u16::MAX.into() => Err(Overlong),
            _ => Ok(Some(length)),
        }
    }

    const fn end_frame(&mut self) {
        self.header_bytes = 0;
        if self.header[0] & CONTROL == 0 {
            self.is_fragmented = self.header[0] & FIN == 0;
            if !self.is_fragmented {
                self.message_bytes = 0;
            }
        }
    }

    const fn count(&mut self, bytes: u64) {
        if self.header[0] & CONTROL == 0 {
            self.message_bytes = self.message_bytes.saturating_add(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload_bytes: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match payload_bytes {
            0..126 => frame.push(MASKED | u8::try_from(payload_bytes).unwrap()),
            126..65_536 => {
                frame.push(MASKED | LENGTH_16);
                frame.extend(u16::try_from(payload_bytes).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(MASKED | LENGTH_64);
                frame.extend((payload_bytes as u64).to_be_bytes());
            }
        }
        frame.extend(vec![0x88; 4 + payload_bytes]);
        frame
    }

    fn follow_all(frames: &mut Frames, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[frames.follow(bytes).unwrap()..];
        }
    }

    #[test]
    fn one_frame_is_followed_at_a_time() {
        let wire = [frame(0x01, 300), frame(0x89, 0), frame(0x80, 5)].concat();
        let mut frames = Frames::default();
        let mut at = 0;
        for (frame_bytes, cut) in [(308, 100), (6, 1), (11, 0)] {
            assert_eq!(frames.follow(&wire[at..at + cut]), Ok(cut));
            assert_eq!(frames.follow(&wire[at + cut..]), Ok(frame_bytes - cut));
            at += frame_bytes;
        }
        assert_eq!((at, frames.is_unfinished()), (wire.len(), false));
    }

    /// After each byte: whether something is unfinished, and how many bytes of a message.
    fn states(wire: &[u8], step: usize) -> Vec<(bool, u64)> {
        let mut frames = Frames::default();
        let mut states = Vec::new();
        for bytes in wire.chunks(step) {
            follow_all(&mut frames, bytes);
            states.push((frames.is_unfinished(), frames.message_bytes()));
        }
        states
    }

    #[test]
    fn ends_are_found_however_the_bytes_are_cut() {
        let wire: Vec<u8> = [(0x81, 5), (0x89, 0), (0x01, 126), (0x8a, 125), (0x80, 65_536), (0x81, 0)]
            .into_iter()
            .flat_map(|(first, payload_bytes)| frame(first, payload_bytes))
            .collect();
        let by_one = states(&wire, 1);
        for step in [2, 3, 7, 100, 4096, wire.len()] {
            let expected: Vec<_> =
                by_one.chunks(step).map(|states| *states.last().expect("chunks are not empty")).collect();
            assert_eq!(states(&wire, step), expected, "{step}");
        }
        let ends: Vec<_> = (0..wire.len()).filter(|at| by_one[*at] == (false, 0)).map(|at| at + 1).collect();
        let fragmented = 8 + 126 + 6 + 125 + 14 + 65_536;
        assert_eq!(ends, [11, 17, 17 + fragmented, 17 + fragmented + 6]);
    }

    #[test]
    fn a_control_frame_is_no_part_of_a_message() {
        let mut frames = Frames::default();
        frames.follow(&frame(0x01, 10)).unwrap();
        let before = frames.message_bytes();
        frames.follow(&frame(0x89, 100)).unwrap();
        assert_eq!((frames.is_unfinished(), frames.message_bytes()), (true, before));
        frames.follow(&frame(0x00, 0)).unwrap();
        assert_eq!((frames.is_unfinished(), frames.message_bytes()), (true, before + 6));
        frames.follow(&frame(0x80, 0)).unwrap();
        assert_eq!((frames.is_unfinished(), frames.message_bytes()), (false, 0));
    }

    #[test]
    fn a_length_is_as_short_as_can_be() {
        for (header, is_good) in [
            (&[0x81, 0xfe, 0, 125][..], false),
            (&[0x81, 0xfe, 0, 126], true),
            (&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], false),
            (&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], true),
            (&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], true),
        ] {
            let masked = [header, &[0; 4]].concat();
            assert_eq!(Frames::default().follow(&masked).is_ok(), is_good, "{header:x?}");
        }
    }
}
