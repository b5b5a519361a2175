//! What reads from a peer by itself, from a socket whose bytes are known.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Exit,
    input::{Input, Received},
    transport::Transport,
};

/// What came of the bytes of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The messages, in order.
    pub messages: Vec<Sent>,
    /// How it ended.
    pub ending: Ending,
    /// What tungstenite answers, as frames.
    pub answers: Vec<u8>,
}

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// One of text.
    Text(String),
    /// One of bytes.
    Binary(Vec<u8>),
}

/// How the connection of a peer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It does not: more may come.
    Open,
    /// The server closes it with this code.
    Closed(u16),
    /// The peer closes it, and gets this code back; `None` where it gave none.
    Answered(Option<u16>),
    /// The peer is gone.
    Gone,
}

/// Reads a socket that gives these pieces, one in each read, and then nothing more. The first piece came together with
/// the request.
pub fn read_all(pieces: &[&[u8]], message_bytes_max: usize) -> Heard {
    let mut pieces = pieces.iter().map(|piece| piece.to_vec());
    let part = pieces.next().unwrap_or_default();
    let socket = Socket(pieces.collect());
    let (mut messages, mut answers) = (Vec::new(), Vec::new());
    let mut input = Input::new(socket, part.into(), message_bytes_max);
    let mut cx = Context::from_waker(Waker::noop());
    let ending = loop {
        let received = input.poll_received(&mut cx);
        // As if the socket took all of it at once.
        answers.append(input.gate().writer().1);
        match received {
            Poll::Ready(Ok(Received::Text(text))) => messages.push(Sent::Text(text.as_str().to_owned())),
            Poll::Ready(Ok(Received::Binary(bytes))) => messages.push(Sent::Binary(bytes.to_vec())),
            Poll::Ready(Err(Exit::Close(code))) => break Ending::Closed(code.number()),
            Poll::Ready(Err(Exit::Answer(frame))) => {
                break Ending::Answered(frame.map(|frame| frame.code.into()));
            }
            Poll::Ready(Err(Exit::Gone)) => break Ending::Gone,
            Poll::Pending if input.catch_up_pongs() || !input.gate().stream().0.is_empty() => {}
            Poll::Pending => break Ending::Open,
        }
    };
    Heard { messages, ending, answers }
}

#[derive(Debug)]
struct Socket(VecDeque<Vec<u8>>);

impl Transport for Socket {}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.0.pop_front() else { return Poll::Pending };
        // An empty one would be the end of the stream: here it is a moment in which there is nothing.
        if piece.is_empty() {
            return Poll::Pending;
        }
        let rest = piece.split_off(piece.len().min(buf.remaining()));
        buf.put_slice(&piece);
        if !rest.is_empty() {
            self.0.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
