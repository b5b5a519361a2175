//! The reading side of a connection.

use std::{
    mem::MaybeUninit,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use chat_core::protocol::CloseCode;
use tokio::{io::ReadBuf, time::Instant};
use tungstenite::{
    Error, Message, Utf8Bytes,
    error::ProtocolError,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

use super::{
    Exit,
    gate::{Fault, Gate, Passage},
    pace::ControlPace,
    transport::Transport,
};
use crate::limits::{ASSEMBLY_BYTES, CONTROL_BYTES_MAX, DISCARD_BYTES, FRAGMENTATION_MAX, READ_BYTES};

/// A whole message.
#[derive(Debug)]
pub(super) enum Received {
    Text(Utf8Bytes),
    Binary(Bytes),
}

/// Whether tungstenite still looks for frames in what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FramesLeft {
    Some,
    /// The peer has sent its last.
    NoneAfterClose,
    /// tungstenite failed on what came.
    NoneAfterFault,
}

/// The messages of one peer, put together by tungstenite.
#[derive(Debug)]
pub(super) struct Input<S> {
    gate: Gate<S>,
    /// tungstenite, while it has something in hand: between two messages it has no state, and most connections are.
    machine: Option<Box<WebSocketContext>>,
    message_bytes_max: u32,
    /// Since when a message, or a frame, has begun and not ended.
    unfinished_since: Option<Instant>,
    control_pace: ControlPace,
    frames: FramesLeft,
}

impl<S: Transport> Input<S> {
    /// Reads `part` first: what came together with the request.
    pub(super) fn new(stream: S, part: Bytes, message_bytes_max: usize) -> Self {
        let message_bytes_max = u32::try_from(message_bytes_max).unwrap_or(u32::MAX);
        Self {
            gate: Gate::new(stream, part, message_bytes_max.saturating_mul(FRAGMENTATION_MAX)),
            machine: None,
            message_bytes_max,
            unfinished_since: None,
            control_pace: ControlPace::new(Instant::now()),
            frames: FramesLeft::Some,
        }
    }

    pub(super) const fn gate(&mut self) -> &mut Gate<S> {
        &mut self.gate
    }

    pub(super) const fn unfinished_since(&self) -> Option<Instant> {
        self.unfinished_since
    }

    /// The next message; pings and pongs are dealt with on the way.
    pub(super) fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Exit>> {
        loop {
            let message = match ready!(self.poll_message(cx)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(Err(self.exit_after(&error))),
                None => return Poll::Ready(Err(Exit::Gone)),
            };
            let received = match message {
                Message::Text(text) => Received::Text(text),
                Message::Binary(bytes) => Received::Binary(bytes),
                Message::Ping(_) | Message::Pong(_) => {
                    if !self.control_pace.allows() {
                        return Poll::Ready(Err(Exit::Close(CloseCode::Policy)));
                    }
                    continue;
                }
                Message::Close(frame) => {
                    self.frames = FramesLeft::NoneAfterClose;
                    return Poll::Ready(Err(Exit::Answer(frame)));
                }
                // tungstenite reads none of these.
                Message::Frame(_) => return Poll::Ready(Err(Exit::Close(CloseCode::Unsupported))),
            };
            self.unfinished_since = None;
            return Poll::Ready(Ok(received));
        }
    }

    /// The next message of any kind; `None` once the stream has ended or broken.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        let mut room = [const { MaybeUninit::uninit() }; READ_BYTES];
        loop {
            let kept = self.gate.take_unread();
            if !kept.is_empty() {
                let (message, left_bytes) = self.assemble(&kept);
                self.gate.keep_unread(kept.slice(kept.len() - left_bytes..));
                if message.is_some() {
                    return Poll::Ready(message);
                }
            }
            let mut read = ReadBuf::uninit(&mut room);
            match self.gate.poll_read(cx, &mut read) {
                Poll::Pending => {
                    self.rest();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(None),
            }
            let fresh = read.filled();
            let (message, left_bytes) = self.assemble(fresh);
            if left_bytes > 0 {
                self.gate.keep_unread(Bytes::copy_from_slice(&fresh[fresh.len() - left_bytes..]));
            }
            if message.is_some() {
                return Poll::Ready(message);
            }
        }
    }

    /// Looks for a message in what came, and says how many bytes there are behind it.
    fn assemble(&mut self, bytes: &[u8]) -> (Option<Result<Message, Error>>, usize) {
        let machine = self.machine.get_or_insert_with(|| machine(self.message_bytes_max));
        let mut passage = Passage { gate: &mut self.gate, bytes };
        let message = match machine.read(&mut passage) {
            Err(error) if is_would_block(&error) => None,
            message => Some(message),
        };
        let left_bytes = passage.bytes.len();
        if matches!(message, Some(Ok(Message::Ping(_)))) {
            self.pong();
        }
        (message, left_bytes)
    }

    /// Has tungstenite write the pong that it owes, as far as the gate has room for it.
    fn pong(&mut self) {
        let Some(machine) = &mut self.machine else { return };
        // The second time takes the newest pong, which had no room behind those that the gate had refused before.
        for _ in 0..2 {
            // What the gate refuses it remembers, and it fails in no other way.
            let _ = machine.flush(&mut Passage { gate: &mut self.gate, bytes: &[] });
        }
    }

    /// There is nothing more for now.
    fn rest(&mut self) {
        let is_unfinished = self.gate.is_unfinished();
        self.unfinished_since = is_unfinished.then(|| self.unfinished_since.unwrap_or_else(Instant::now));
        if !is_unfinished && !self.gate.has_refused() {
            self.machine = None;
        }
    }

    fn exit_after(&mut self, error: &Error) -> Exit {
        self.frames = FramesLeft::NoneAfterFault;
        match error {
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Exit::Gone,
            Error::Protocol(_) => Exit::Close(CloseCode::Protocol),
            Error::Utf8(_) => Exit::Close(CloseCode::BadUtf8),
            Error::Capacity(_) => Exit::Close(CloseCode::TooLarge),
            _ => match self.gate.fault() {
                Some(Fault::Overrun) => Exit::Close(CloseCode::Policy),
                Some(Fault::Malformed) => Exit::Close(CloseCode::Protocol),
                None => Exit::Gone,
            },
        }
    }

    /// Nothing is read for now: the time that this takes is not the peer's.
    pub(super) const fn pause(&mut self) {
        self.unfinished_since = None;
    }

    /// Queues pongs that had no room before, if there is some now. Whether it did.
    pub(super) fn catch_up_pongs(&mut self) -> bool {
        let owed = self.gate.take_refused();
        if owed {
            self.pong();
        }
        owed
    }

    /// Whether the peer has sent its close frame, after which it may send nothing.
    pub(super) fn has_close_frame(&self) -> bool {
        self.frames == FramesLeft::NoneAfterClose
    }

    /// Reads on, after the last message that counts; ready once the peer has shut its side too, or just gone.
    ///
    /// A socket that is closed with bytes unread resets the connection, and the peer may lose our close frame.
    pub(super) fn poll_peer_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.frames == FramesLeft::Some {
            match ready!(self.poll_message(cx)) {
                None => return Poll::Ready(()),
                Some(Ok(Message::Close(_))) => self.frames = FramesLeft::NoneAfterClose,
                Some(Err(_)) => self.frames = FramesLeft::NoneAfterFault,
                Some(Ok(_)) => {}
            }
        }
        let mut room = [const { MaybeUninit::uninit() }; DISCARD_BYTES];
        loop {
            let mut read = ReadBuf::uninit(&mut room);
            match ready!(self.gate.poll_read(cx, &mut read)) {
                Ok(()) if !read.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}

/// tungstenite at the beginning of a message.
fn machine(message_bytes_max: u32) -> Box<WebSocketContext> {
    let message_bytes_max = usize::try_from(message_bytes_max).unwrap_or(usize::MAX);
    let config = WebSocketConfig::default()
        .read_buffer_size(ASSEMBLY_BYTES)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max))
        // tungstenite writes pongs only, and those at once.
        .write_buffer_size(0)
        .max_write_buffer_size(CONTROL_BYTES_MAX);
    Box::new(WebSocketContext::new(Role::Server, Some(config)))
}

fn is_would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use futures_util::future::poll_fn;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const MESSAGE_BYTES_MAX: usize = 100_000;

    /// A client's frame, masked with zeroes.
    fn frame(first: u8, payload_bytes: usize) -> Vec<u8> {
        let mut frame = vec![first, 0x80 | 127];
        frame.extend((payload_bytes as u64).to_be_bytes());
        match payload_bytes {
            0..126 => frame.splice(1.., [0x80 | u8::try_from(payload_bytes).unwrap()]).for_each(drop),
            _ => assert!(payload_bytes > u16::MAX.into(), "a length in between is not needed here"),
        }
        frame.extend([0; 4]);
        frame.resize(frame.len() + payload_bytes, b'x');
        frame
    }

    /// Reads until nothing more is there: the lengths of the messages.
    async fn read_all(input: &mut Input<DuplexStream>) -> Vec<usize> {
        let mut lengths = Vec::new();
        poll_fn(|cx| {
            while let Poll::Ready(received) = input.poll_received(cx) {
                let Received::Text(text) = received.unwrap() else { panic!("it is text") };
                lengths.push(text.len());
            }
            Poll::Ready(())
        })
        .await;
        lengths
    }

    #[tokio::test]
    async fn between_two_messages_nothing_is_held() {
        let (mut peer, stream) = duplex(1 << 20);
        let mut input = Input::new(stream, frame(0x81, 3).into(), MESSAGE_BYTES_MAX);
        assert_eq!(read_all(&mut input).await, [3]);
        for lengths in [vec![70_000], vec![5, 0, 7], vec![70_000, 1, 80_000], vec![2; 5000]] {
            let wire: Vec<u8> = lengths.iter().flat_map(|length| frame(0x81, *length)).collect();
            // A ping in between leaves nothing either, once its pong has gone to the gate.
            peer.write_all(&[wire, frame(0x89, 4)].concat()).await.unwrap();
            assert_eq!(read_all(&mut input).await, lengths);
            assert!(input.machine.is_none() && input.gate.take_unread().is_empty());
            assert_eq!(input.gate.writer().1.split_off(0), b"\x8a\x04xxxx");
        }
    }

    #[tokio::test]
    async fn what_is_unfinished_is_held() {
        let (mut peer, stream) = duplex(1 << 20);
        let mut input = Input::new(stream, Bytes::new(), MESSAGE_BYTES_MAX);
        let message = [frame(0x01, 10), frame(0x89, 0), frame(0x80, 20)].concat();
        for (at, byte) in message.iter().enumerate() {
            assert_eq!(input.machine.is_some(), at > 0, "{at}");
            peer.write_all(&[*byte]).await.unwrap();
            let is_last = at + 1 == message.len();
            assert_eq!(read_all(&mut input).await, if is_last { vec![30] } else { vec![] });
        }
        assert!(input.machine.is_none());
    }

    #[tokio::test]
    async fn a_pong_that_had_no_room_comes_later() {
        let (mut peer, stream) = duplex(1 << 20);
        let mut input = Input::new(stream, Bytes::new(), MESSAGE_BYTES_MAX);
        let pings = 10;
        peer.write_all(&frame(0x89, 125).repeat(pings)).await.unwrap();
        assert_eq!(read_all(&mut input).await, [0; 0]);
        let pong_bytes = 2 + 125;
        let mut pongs = 0;
        while input.gate.has_refused() {
            assert!(input.machine.is_some());
            assert!(!input.catch_up_pongs(), "there is no room yet");
            pongs += input.gate.writer().1.split_off(0).len() / pong_bytes;
            assert!(input.catch_up_pongs());
        }
        pongs += input.gate.writer().1.len() / pong_bytes;
        assert!((5..=pings).contains(&pongs), "{pongs}");
        assert_eq!(read_all(&mut input).await, [0; 0]);
        assert!(input.machine.is_none());
    }
}
