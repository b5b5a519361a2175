//! Frames, as they go out: written by the engine, read by tungstenite.

use std::io::{self, Read, Write};

use chat_core::protocol::{
    Codec,
    codec::{put_frame, put_one},
};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    error::ProtocolError,
    protocol::{Role, WebSocket, WebSocketConfig},
};

/// A text is repeated up to 2^this times: so that a small input has frames with headers of all three lengths.
const DOUBLINGS_MAX: u8 = 14;

/// Bytes of one text, and about those of all: an input costs some milliseconds at most.
const TEXT_BYTES_MAX: usize = 1 << 17;

/// Bytes that the client reads at once, at most.
const READ_BUFFER_BYTES: usize = 512;

/// Writes texts as frames, and reads them back as a client whose socket gives the bytes in small pieces.
///
/// The first line gives the sizes of the pieces, in turn; a byte 0 is a moment in which there is nothing to read. Every
/// line after it is a text; its first byte says how often it is repeated, as a power of two.
///
/// # Panics
/// Where something else is read than was written.
pub fn frames(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let pieces = lines.next().unwrap_or_default().to_vec();
    let (mut bytes, mut texts) = (Vec::new(), Vec::new());
    for line in lines {
        let text = text_of(line);
        if bytes.len() > TEXT_BYTES_MAX {
            break;
        }
        put_frame(&mut bytes, |out| out.extend_from_slice(text.as_bytes()));
        texts.push(text.clone());
        for codec in Codec::ALL {
            put_one(&mut bytes, codec, &text);
            let json = serde_json::to_string(&text).expect("a string is JSON");
            texts.push(match codec {
                Codec::Single => json,
                Codec::Batch => format!("[{json}]"),
            });
        }
    }
    let socket = Trickle { bytes, taken: 0, pieces, turn: 0 };
    // tungstenite clears this much before each read: more would make small pieces slow.
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let mut client = WebSocket::from_raw_socket(socket, Role::Client, Some(config));
    for text in texts {
        assert!(
            next(&mut client).as_ref() == Some(&text),
            "another text than was written: {} bytes",
            text.len()
        );
    }
    assert_eq!(next(&mut client), None, "more than was written");
}

fn text_of(line: &[u8]) -> String {
    let Some((first, rest)) = line.split_first() else { return String::new() };
    let times = 1_usize << (first % (DOUBLINGS_MAX + 1));
    let text = String::from_utf8_lossy(rest);
    text.repeat(times.min(1 + TEXT_BYTES_MAX / text.len().max(1)))
}

/// The next text; `None` at the end of the bytes.
fn next(client: &mut WebSocket<Trickle>) -> Option<String> {
    loop {
        match client.read() {
            Ok(Message::Text(text)) => return Some(text.as_str().to_owned()),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return None,
            other => panic!("no text but {other:?}"),
        }
    }
}

/// A socket that gives its bytes in pieces.
struct Trickle {
    bytes: Vec<u8>,
    taken: usize,
    pieces: Vec<u8>,
    turn: usize,
}

impl Read for Trickle {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // Beside the pieces given there is a large one, or zeroes alone would never end.
        let piece = self.pieces.get(self.turn).map_or(4096, |piece| usize::from(*piece));
        self.turn = (self.turn + 1) % (self.pieces.len() + 1);
        if piece == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let rest = &self.bytes[self.taken..];
        let read = piece.min(rest.len()).min(buf.len());
        buf[..read].copy_from_slice(&rest[..read]);
        self.taken += read;
        Ok(read)
    }
}

impl Write for Trickle {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        panic!("a client that only reads has {} bytes to write", buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
