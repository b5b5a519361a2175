//! Frames of RFC 6455, as a client reads and writes them.

use std::fmt;

/// A frame longer than this is taken for rubbish, 16 MiB: the server sends at most a page in one.
pub const FRAME_BYTES_MAX: u64 = 16 << 20;

/// RFC 6455 lets no ping, pong or close be longer.
const CONTROL_BYTES_MAX: u64 = 125;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a server has sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole message of text. That it is UTF-8 is not looked at.
    Text(&'a [u8]),
    /// It wants a pong with the same bytes.
    Ping(&'a [u8]),
    /// An answer to a ping.
    Pong,
    /// The end, with its code where it has one.
    Close(Option<u16>),
}

/// Why what has come cannot be a frame for this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadFrame {
    /// Only clients mask.
    #[error("a server's frame is masked")]
    Masked,
    /// No extension was asked for.
    #[error("a frame has reserved bits")]
    Reserved,
    /// The chat protocols have none, and a server of ours never sends one.
    #[error("a frame is a fragment")]
    Fragment,
    /// The chat protocols are text.
    #[error("a frame is binary")]
    Binary,
    /// RFC 6455 knows none.
    #[error("a frame has the unknown opcode {0}")]
    Opcode(u8),
    /// Longer than [`FRAME_BYTES_MAX`], or a ping, pong or close of more than 125 bytes.
    #[error("a frame says that it has {0} bytes")]
    TooLong(u64),
}

/// Cuts what is read from a socket into frames.
///
/// Whole frames are handed on where they are; only one that a read has cut is copied, until the next read brings its
/// rest.
#[derive(Default)]
pub struct Frames {
    /// The beginning of a frame, at most [`FRAME_BYTES_MAX`] and a header.
    cut: Vec<u8>,
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("cut", &self.cut.len()).finish()
    }
}

impl Frames {
    /// Takes what was read, and hands each whole frame to `take`, in order.
    ///
    /// # Errors
    /// [`BadFrame`]: nothing that comes after it can be read.
    pub fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(Frame<'_>)) -> Result<(), BadFrame> {
        while !self.cut.is_empty() {
            let head = Head::of(&self.cut)?;
            // Without a whole header nobody knows how much is missing: then it grows by single bytes, at most ten.
            let missing = head.as_ref().map_or(1, |head| head.whole() - self.cut.len());
            let Some((rest, after)) = bytes.split_at_checked(missing) else { break };
            self.cut.extend_from_slice(rest);
            bytes = after;
            if let Some(head) = head {
                take(head.frame(&self.cut));
                self.cut.clear();
            }
        }
        if !self.cut.is_empty() {
            self.cut.extend_from_slice(bytes);
            return Ok(());
        }
        while let Some(head) = Head::of(bytes)?
            && let Some((whole, after)) = bytes.split_at_checked(head.whole())
        {
            take(head.frame(whole));
            bytes = after;
        }
        self.cut.extend_from_slice(bytes);
        Ok(())
    }
}

/// The header of a frame.
struct Head {
    opcode: u8,
    /// Its own length.
    bytes: usize,
    payload_bytes: usize,
}

impl Head {
    /// `None` where it is not there in full.
    #[inline]
    fn of(bytes: &[u8]) -> Result<Option<Self>, BadFrame> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        let (length, bytes) = match second & 0x7f {
            126 => match rest.first_chunk::<2>() {
                Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(length) => (u64::from_be_bytes(*length), 10),
                None => return Ok(None),
            },
            length => (u64::from(length), 2),
        };
        let opcode = first & 0x0f;
        if first & 0x80 == 0 || opcode == CONTINUATION {
            return Err(BadFrame::Fragment);
        }
        if first & 0x70 != 0 {
            return Err(BadFrame::Reserved);
        }
        if second & 0x80 != 0 {
            return Err(BadFrame::Masked);
        }
        let longest = match opcode {
            TEXT => FRAME_BYTES_MAX,
            CLOSE | PING | PONG => CONTROL_BYTES_MAX,
            BINARY => return Err(BadFrame::Binary),
            _ => return Err(BadFrame::Opcode(opcode)),
        };
        let payload_bytes = usize::try_from(length).ok().filter(|_| length <= longest);
        let payload_bytes = payload_bytes.ok_or(BadFrame::TooLong(length))?;
        Ok(Some(Self { opcode, bytes, payload_bytes }))
    }

    const fn whole(&self) -> usize {
        self.bytes + self.payload_bytes
    }

    fn frame<'a>(&self, whole: &'a [u8]) -> Frame<'a> {
        let payload = whole.get(self.bytes..).unwrap_or_default();
        match self.opcode {
            TEXT => Frame::Text(payload),
            PING => Frame::Ping(payload),
            CLOSE => Frame::Close(payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code))),
            _ => Frame::Pong,
        }
    }
}

/// What stands in the place of a length of up to 64 KiB, with the bit that says that a mask follows.
const LENGTH_IN_2: u8 = 0xfe;

/// The same of any other length.
const LENGTH_IN_8: u8 = 0xff;

/// Appends a frame of text.
pub fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put(out, TEXT, text);
}

/// Appends the answer to a ping.
pub fn put_pong(out: &mut Vec<u8>, payload: &[u8]) {
    put(out, PONG, payload);
}

/// Appends a question whether the other side is there.
pub fn put_ping(out: &mut Vec<u8>) {
    put(out, PING, &[]);
}

/// Appends the end of a connection that has done what it was for.
pub fn put_close(out: &mut Vec<u8>) {
    put(out, CLOSE, &1000_u16.to_be_bytes());
}

/// The mask's key is random, though not of the strength that RFC 6455 asks of a browser: it keeps whoever can choose what
/// is sent from writing what a proxy on the way takes for a request. Here nobody else chooses what is sent.
fn put(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match u16::try_from(payload.len()) {
        Ok(length @ 0..126) => out.push(0x80 | length.to_be_bytes()[1]),
        Ok(length) => {
            out.push(LENGTH_IN_2);
            out.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            out.push(LENGTH_IN_8);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    let key = fastrand::u32(..).to_ne_bytes();
    out.extend_from_slice(&key);
    let begin = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[begin..], key);
}

/// Eight bytes a turn: the compiler makes wide instructions of it.
fn mask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (eights, rest) = payload.as_chunks_mut::<8>();
    for eight in eights {
        *eight = (u64::from_ne_bytes(*eight) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::{
        Message,
        protocol::{Role, WebSocket},
    };

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Owned {
        Text(Vec<u8>),
        Ping(Vec<u8>),
        Pong,
        Close(Option<u16>),
    }

    fn own(frame: &Frame<'_>) -> Owned {
        match frame {
            Frame::Text(text) => Owned::Text(text.to_vec()),
            Frame::Ping(payload) => Owned::Ping(payload.to_vec()),
            Frame::Pong => Owned::Pong,
            Frame::Close(code) => Owned::Close(*code),
        }
    }

    /// Frames of all three forms of a length, as a server writes them.
    fn stream() -> (Vec<u8>, Vec<Owned>) {
        let mut bytes = Vec::new();
        let mut wanted = Vec::new();
        for (head, length) in [
            (&[0][..], 0),
            (&[1], 1),
            (&[125], 125),
            (&[126, 0, 126], 126),
            (&[126, 1, 44], 300),
            (&[126, 0xff, 0xff], 65_535),
            (&[127, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
        ] {
            let text: Vec<u8> = (b'a'..=b'z').cycle().take(length).collect();
            bytes.push(0x81);
            bytes.extend(head);
            bytes.extend(&text);
            wanted.push(Owned::Text(text));
        }
        bytes.extend([0x89, 2, 7, 8, 0x8a, 0, 0x88, 2, 0x0f, 0xa8]);
        wanted.extend([Owned::Ping(vec![7, 8]), Owned::Pong, Owned::Close(Some(4008))]);
        (bytes, wanted)
    }

    #[test]
    fn frames_come_out_whole_wherever_reads_cut_them() {
        let (bytes, wanted) = stream();
        for step in [1, 2, 3, 7, 100, 1000, 65_000, bytes.len()] {
            let mut frames = Frames::default();
            let mut got = Vec::new();
            for part in bytes.chunks(step) {
                frames.feed(part, |frame| got.push(own(&frame))).unwrap();
            }
            assert!(got == wanted, "in steps of {step}");
            assert!(frames.cut.is_empty());
        }
    }

    #[test]
    fn what_no_server_may_send_is_refused() {
        for (bytes, wanted) in [
            (&[0x81, 0x81, 0, 0, 0, 0, 0][..], BadFrame::Masked),
            (&[0xc1, 0], BadFrame::Reserved),
            (&[0x01, 0], BadFrame::Fragment),
            (&[0x80, 0], BadFrame::Fragment),
            (&[0x82, 0], BadFrame::Binary),
            (&[0x8b, 0], BadFrame::Opcode(11)),
            (&[0x81, 127, 0, 0, 0, 0, 1, 0, 0, 1], BadFrame::TooLong((16 << 20) + 1)),
            (&[0x89, 126, 0, 126], BadFrame::TooLong(126)),
        ] {
            assert_eq!(Frames::default().feed(bytes, |_| unreachable!()), Err(wanted));
        }
    }

    #[test]
    fn another_implementation_reads_what_is_written() {
        let mut bytes = Vec::new();
        let texts: Vec<String> = [0, 5, 125, 126, 300, 70_000].iter().map(|n| "é".repeat(*n)).collect();
        for text in &texts {
            put_text(&mut bytes, text.as_bytes());
        }
        put_pong(&mut bytes, b"back");
        put_close(&mut bytes);
        let mut peer = WebSocket::from_raw_socket(std::io::Cursor::new(bytes), Role::Server, None);
        for text in texts {
            assert_eq!(peer.read().unwrap(), Message::text(text));
        }
        assert_eq!(peer.read().unwrap(), Message::Pong((&b"back"[..]).into()));
        assert!(peer.read().unwrap().is_close());
    }
}
