//! The one writer of a socket: frames as they go out in pieces, read by tungstenite.

use std::io::{self, Read, Write};

use chat_core::protocol::codec::put_frame;
use chat_server::testing::Writer;
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

/// Most bytes in a control frame (RFC 6455, section 5.5), and in the reason of a close frame beside its code.
const CONTROL_BYTES_MAX: usize = 125;

/// Plays the bytes as a script on the one writer of a socket, and reads what came out as a client does.
///
/// The first line gives the sizes of the pieces in which the client reads, in turn; a byte 0 is a moment in which there
/// is nothing to read. Every line after it is a step, by its first byte:
///
/// | line | step |
/// |---|---|
/// | `+…` | the next run gets a frame with this text; the byte after `+` says how often it is repeated, as a power of two |
/// | `=` | the run is loaded, once all before it is written |
/// | `w…` | the socket takes so many bytes as each byte says, in one write each; a 0 is one that it does not take |
/// | `!` | a ping of ours is due |
/// | `?…` | tungstenite answers a ping with this payload |
/// | `c…` | the connection is closed with this reason |
/// | `k` | the socket breaks: what comes after it is not played, and what waits not written |
///
/// # Panics
/// Where the client reads something else than what was to be written: in order, whole, and nothing after a close frame.
pub fn writer(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let pieces = lines.next().unwrap_or_default().to_vec();
    let mut stage = Stage::default();
    let is_whole = lines.all(|line| stage.play(line));
    if is_whole {
        stage.finish();
    }
    let bytes = stage.writer.written().to_vec();
    check(bytes, pieces, &stage.items);
}

/// A frame that was handed to the writer.
struct Item {
    message: Message,
    /// Its first byte's place in all that is written.
    start: usize,
    end: usize,
}

#[derive(Default)]
struct Stage {
    writer: Writer,
    /// The next run, its texts, and how many bytes all runs have.
    run: Vec<u8>,
    texts: Vec<(String, usize)>,
    run_bytes: usize,
    /// All that was handed over, in the order in which it must come out.
    items: Vec<Item>,
    /// How many of the items were there before the run that is under way.
    before_run: usize,
    is_closed: bool,
}

impl Stage {
    /// False where nothing more is played.
    fn play(&mut self, line: &[u8]) -> bool {
        match line {
            [b'+', text @ ..] => self.gather(text),
            [b'='] => self.load(),
            [b'w', takes @ ..] => {
                let takes: Vec<usize> = takes.iter().map(|take| usize::from(*take)).collect();
                self.flush(&takes);
            }
            [b'!'] => {
                self.writer.ping();
                self.control(Message::Ping("".into()), 2);
            }
            [b'?', payload @ ..] => {
                let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
                if self.writer.pong(payload) {
                    self.control(Message::Pong(payload.to_vec().into()), 2 + payload.len());
                }
            }
            [b'c', reason @ ..] if !self.is_closed => self.close(&String::from_utf8_lossy(reason)),
            [b'k'] => return false,
            _ => {}
        }
        true
    }

    fn gather(&mut self, text: &[u8]) {
        let text = text_of(text);
        self.run_bytes += text.len();
        if self.run_bytes <= TEXT_BYTES_MAX {
            let before = self.run.len();
            put_frame(&mut self.run, |out| out.extend_from_slice(text.as_bytes()));
            self.texts.push((text, self.run.len() - before));
        }
    }

    fn load(&mut self) {
        // A session says nothing once its connection is being closed.
        if self.writer.is_idle() && !self.is_closed {
            self.before_run = self.items.len();
            self.writer.load(std::mem::take(&mut self.run).into());
            for (text, bytes) in std::mem::take(&mut self.texts) {
                self.push(Message::text(text), bytes);
            }
        }
    }

    fn control(&mut self, message: Message, bytes: usize) {
        if !self.is_closed {
            self.push(message, bytes);
        }
    }

    fn push(&mut self, message: Message, bytes: usize) {
        let start = self.end();
        self.items.push(Item { message, start, end: start + bytes });
    }

    fn end(&self) -> usize {
        self.items.last().map_or(0, |item| item.end)
    }

    fn close(&mut self, reason: &str) {
        let reason: String = reason.chars().take(CONTROL_BYTES_MAX / 4 - 2).collect();
        self.writer.close(1001, &reason);
        // Of the run under way what has not begun is dropped; the control frames behind it stay.
        let written = self.writer.written().len();
        let waiting = self.items.split_off(self.before_run);
        for Item { message, start, end } in waiting {
            if start < written || !message.is_text() {
                self.push(message, end - start);
            }
        }
        let bytes = 4 + reason.len();
        self.push(Message::Close(None), bytes);
        self.is_closed = true;
    }

    fn flush(&mut self, takes: &[usize]) {
        let before = self.writer.written().len();
        self.writer.flush(takes).expect("this socket has no errors");
        let (written, end) = (self.writer.written().len(), self.end());
        assert!(written <= end, "{written} bytes, where there are {end}");
        assert!(!self.writer.is_idle() || written == end, "{written} bytes of {end}, and it is idle");
        let may_write = takes.iter().any(|take| *take > 0);
        assert!(!may_write || self.writer.is_idle() || written > before, "nothing was written");
    }

    fn finish(&mut self) {
        self.flush(&[]);
        self.flush(&[usize::MAX, usize::MAX, usize::MAX]);
        if !self.run.is_empty() {
            self.load();
            self.flush(&[usize::MAX, usize::MAX]);
        }
        assert!(self.writer.is_idle(), "it writes all of it to a socket that takes all");
        assert_eq!(self.writer.written().len(), self.end(), "all of it is written");
    }
}

fn text_of(line: &[u8]) -> String {
    let Some((first, rest)) = line.split_first() else { return String::new() };
    let times = 1_usize << (first % (DOUBLINGS_MAX + 1));
    let text = String::from_utf8_lossy(rest);
    text.repeat(times.min(1 + TEXT_BYTES_MAX / text.len().max(1)))
}

/// Reads the bytes as a client whose socket gives them in pieces: every frame that is there whole, in order, and no more.
fn check(bytes: Vec<u8>, pieces: Vec<u8>, items: &[Item]) {
    let written = bytes.len();
    let socket = Trickle { bytes, taken: 0, pieces, turn: 0 };
    // tungstenite clears this much before each read: more would make small pieces slow.
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let mut client = WebSocket::from_raw_socket(socket, Role::Client, Some(config));
    let whole = items.iter().filter(|item| item.end <= written);
    for Item { message, .. } in whole {
        let read = next(&mut client).unwrap_or_else(|| panic!("{message:?} did not come"));
        let is_same = if message.is_close() { read.is_close() } else { read == *message };
        assert!(is_same, "{} bytes of {message:.99?} were read as {read:.99?}", message.len());
    }
    assert_eq!(next(&mut client), None, "more than was written");
}

/// The next message; `None` at the end of the bytes, or behind a close frame.
fn next(client: &mut WebSocket<Trickle>) -> Option<Message> {
    loop {
        match client.read() {
            Ok(message) => return Some(message),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::ConnectionClosed) => {
                return None;
            }
            Err(error) => panic!("no message but {error:?}"),
        }
    }
}

/// A socket that gives its bytes in pieces, and does nothing with what is written to it: pongs, a close frame.
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
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
