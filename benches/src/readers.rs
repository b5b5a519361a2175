//! Readers of sockets in a process of their own, so that what they do is not measured.
//!
//! A bench starts its own program once more, with an argument that `main` gives to [`Readers::be_if_asked`] first. The
//! child reads everything on all connections, counts the events of messages, and writes a byte to its output when
//! all of a round have come: nobody polls.

use std::{
    env,
    io::{Read, Write, stdout},
    iter,
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime,
    task::JoinSet,
};

use crate::{
    ROOM,
    wire::{MESSAGE, masked, take_frame},
};

/// The argument that makes a bench's program the readers.
const ARGUMENT: &str = "--readers";

/// Bytes that one read takes: all of a round, mostly.
const READ_BYTES: usize = 16 << 10;

/// What a reader says before it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// Nothing: frames may come at once.
    None,
    /// It opens a WebSocket.
    WebSocket,
    /// The same, and it joins the room.
    Join,
}

impl Greeting {
    const ALL: [(Self, &str); 3] =
        [(Self::None, "none"), (Self::WebSocket, "websocket"), (Self::Join, "join")];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(greeting, _)| *greeting == self).expect("all are in it").1
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, its)| *its == name).map(|(greeting, _)| *greeting)
    }
}

/// So many connections, and how many events make a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// Readers, a connection each.
    pub connections: usize,
    /// Events that each of them gets.
    pub events: usize,
}

impl Round {
    /// All deliveries of a round.
    pub const fn deliveries(self) -> usize {
        self.connections * self.events
    }
}

/// A child process full of readers. It ends with this.
#[derive(Debug)]
pub struct Readers {
    child: Child,
    said: ChildStdout,
}

impl Readers {
    /// Starts readers that connect to `address`. Until [`Self::wait`] has returned once, they are not there yet.
    pub fn start(address: SocketAddr, greeting: Greeting, round: Round) -> Self {
        let numbers = [round.connections, round.events].map(|number| number.to_string());
        let mut child = Command::new(env::current_exe().unwrap())
            .args([ARGUMENT, &address.to_string(), greeting.name()])
            .args(numbers)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = child.stdout.take().unwrap();
        Self { child, said }
    }

    /// Waits until all connections are there, and after that, each time, until a round has come everywhere.
    pub fn wait(&mut self) {
        self.said.read_exact(&mut [0]).expect("the readers are there");
    }

    /// Where this program was started to be the readers it is them, and returns true at their end.
    pub fn be_if_asked() -> bool {
        let mut arguments = env::args().skip_while(|argument| argument != ARGUMENT);
        if arguments.next().is_none() {
            return false;
        }
        let mut next = || arguments.next().unwrap();
        let (address, greeting) = (next().parse().unwrap(), Greeting::parse(&next()).unwrap());
        let round = Round { connections: next().parse().unwrap(), events: next().parse().unwrap() };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(read_all(address, greeting, round));
        true
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        // It may have ended by itself, with its connections.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads until the connections are closed.
async fn read_all(address: SocketAddr, greeting: Greeting, round: Round) {
    let arrived = Arc::new(AtomicUsize::new(0));
    let mut readers = JoinSet::new();
    let mut streams = Vec::new();
    for _ in 0..round.connections {
        streams.push(open(address, greeting).await);
    }
    say_so();
    for (stream, read) in streams {
        readers.spawn(count_messages(stream, read, round.deliveries(), arrived.clone()));
    }
    readers.join_all().await;
}

/// A byte for whoever started this process.
fn say_so() {
    let mut out = stdout();
    out.write_all(b".").and_then(|()| out.flush()).expect("whoever started the readers is there");
}

async fn open(address: SocketAddr, greeting: Greeting) -> (TcpStream, BytesMut) {
    let (mut stream, mut read) = (TcpStream::connect(address).await.unwrap(), BytesMut::new());
    if greeting != Greeting::None {
        let request = format!(
            "GET /ws?user=bob HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = read_until(&mut stream, &mut read, |read| {
            let end = read.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
            Some(read.split_to(end + 4))
        });
        assert!(head.await.starts_with(b"HTTP/1.1 101 "), "it is not upgraded");
    }
    if greeting == Greeting::Join {
        let join = masked(&format!(r#"{{"type":"join","id":1,"room":"{ROOM}"}}"#));
        stream.write_all(&join).await.unwrap();
        let is_joined = |payload: &BytesMut| payload.starts_with(br#"{"type":"joined","#);
        read_until(&mut stream, &mut read, |read| iter::from_fn(|| take_frame(read)).find(is_joined)).await;
    }
    (stream, read)
}

async fn read_until<T>(
    stream: &mut TcpStream,
    read: &mut BytesMut,
    mut take: impl FnMut(&mut BytesMut) -> Option<T>,
) -> T {
    loop {
        if let Some(taken) = take(read) {
            return taken;
        }
        assert_ne!(stream.read_buf(read).await.unwrap(), 0, "it is closed");
    }
}

async fn count_messages(
    mut stream: TcpStream,
    mut read: BytesMut,
    deliveries: usize,
    arrived: Arc<AtomicUsize>,
) {
    loop {
        let messages = iter::from_fn(|| take_frame(&mut read)).filter(|frame| frame.starts_with(MESSAGE));
        let messages = messages.count();
        let before = arrived.fetch_add(messages, Ordering::Relaxed);
        if (before + messages) / deliveries > before / deliveries {
            say_so();
        }
        read.reserve(READ_BYTES);
        // Closed or reset: the bench has what it wanted.
        if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_known_by_its_name() {
        for (greeting, name) in Greeting::ALL {
            assert_eq!((greeting.name(), Greeting::parse(name)), (name, Some(greeting)));
        }
        assert_eq!(Greeting::parse("other"), None);
    }
}
