//! A connection that is open.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::{Told, heard::Heard};
use crate::client::{
    Client, End, Link, Loss,
    frames::{Frame, put_ping},
};

/// After so long a silence the server is asked whether it is there. It pings every 25 s by itself.
pub(super) const QUIET_MAX: Duration = Duration::from_secs(20);

/// It has so long to answer.
pub(super) const PONG_MAX: Duration = Duration::from_secs(10);

/// An open connection.
pub(super) struct Socket {
    pub(super) link: Link,
    pub(super) since: Instant,
    heard: Instant,
    /// Whether a ping has gone out since something was heard.
    is_asked: bool,
    /// Goes off where nothing was heard for too long.
    alarm: Pin<Box<Sleep>>,
    /// When to send again what was refused for the moment.
    retry: Option<Pin<Box<Sleep>>>,
    was_live: bool,
}

impl Socket {
    pub(super) fn new(link: Link) -> Self {
        let now = Instant::now();
        let alarm = Box::pin(sleep(QUIET_MAX));
        Self { link, since: now, heard: now, is_asked: false, alarm, retry: None, was_live: false }
    }

    /// Reads once, and tells what came.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        buffer: &mut [u8],
        told: &mut VecDeque<Told>,
    ) -> Poll<Result<(), Loss>> {
        while let Some(retry) = &mut self.retry
            && retry.as_mut().poll(cx).is_ready()
        {
            self.retry = None;
            client.resend();
            self.retry_later(client);
        }
        self.write(client);
        // Here, and not only where there is nothing to read: who reads slower than others talk would say nothing. An error
        // is told by the next read.
        let _ = self.link.poll_flush(cx);
        match self.link.poll_read(cx, buffer) {
            Poll::Ready(Ok([])) => return Poll::Ready(Err(Loss::Closed(None))),
            Poll::Ready(Ok(bytes)) => return Poll::Ready(self.hear(bytes, client, told)),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            Poll::Pending => {}
        }
        ready!(self.poll_alarm(cx));
        Poll::Ready(Err(Loss::Silent))
    }

    /// Asks after a silence whether the server is there, and is ready where it is not.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // An error is told by the next read.
            let _ = self.link.poll_flush(cx);
            ready!(self.alarm.as_mut().poll(cx));
            match due(self.heard, self.is_asked, Instant::now()) {
                Due::GiveUp => return Poll::Ready(()),
                Due::Later(at) => self.alarm.as_mut().reset(at),
                Due::Ask => {
                    self.is_asked = true;
                    self.alarm.as_mut().reset(Instant::now() + PONG_MAX);
                    let mut ping = Vec::new();
                    put_ping(&mut ping);
                    self.link.write(&ping);
                }
            }
        }
    }

    pub(super) fn hear(
        &mut self,
        bytes: &[u8],
        client: &mut Client,
        told: &mut VecDeque<Told>,
    ) -> Result<(), Loss> {
        self.heard = Instant::now();
        if std::mem::take(&mut self.is_asked) {
            self.alarm.as_mut().reset(self.heard + QUIET_MAX);
        }
        let mut heard = Heard::new(told);
        let mut closed = None;
        let answers_pings = self.link.answers_pings();
        let fed = self.link.frames.feed(bytes, |frame| match frame {
            Frame::Text(text) => client.hear(text, &mut heard),
            Frame::Ping(payload) if answers_pings => client.pong(payload),
            Frame::Ping(_) | Frame::Pong => {}
            Frame::Close(code) => closed = Some(code),
        });
        let fault = heard.fault;
        self.write(client);
        if !self.was_live && client.is_live() {
            self.was_live = true;
            told.push_back(Told::Live);
        }
        if let Some(code) = closed {
            return Err(Loss::Closed(code));
        }
        fed?;
        if let Some(end) = client.take_end() {
            return Err(Loss::Client(end));
        }
        if let Some(fault) = fault {
            return Err(Loss::Client(End::Astray(fault.text)));
        }
        self.retry_later(client);
        Ok(())
    }

    /// Of two waits the longer one is kept.
    fn retry_later(&mut self, client: &mut Client) {
        let Some(wait) = client.take_retry_after() else { return };
        let later = sleep(wait);
        if self.retry.as_ref().is_none_or(|retry| retry.deadline() < later.deadline()) {
            self.retry = Some(Box::pin(later));
        }
    }

    pub(super) fn write(&mut self, client: &mut Client) {
        let output = client.output();
        if !output.is_empty() {
            self.link.write(output);
            output.clear();
        }
    }
}

/// What an alarm is for.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// Something was heard since it was set: it is to go off then.
    Later(Instant),
    Ask,
    GiveUp,
}

fn due(heard: Instant, is_asked: bool, now: Instant) -> Due {
    match heard + QUIET_MAX {
        _ if is_asked => Due::GiveUp,
        later if now < later => Due::Later(later),
        _ => Due::Ask,
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::client::Subprotocol;

    /// What a driver has of a connection, and the other side of it.
    struct Scene {
        socket: Socket,
        client: Client,
        server: TcpStream,
    }

    impl Scene {
        async fn set() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
            let client = Client::new(Subprotocol::Batch, "k", []).healing();
            Self { socket: Socket::new(Link::new(ours.unwrap())), client, server: theirs.unwrap().0 }
        }

        /// Reads once.
        async fn hear(&mut self) -> Result<(), Loss> {
            let (mut buffer, mut told) = ([0; 4096], VecDeque::new());
            poll_fn(|cx| self.socket.poll(cx, &mut self.client, &mut buffer, &mut told)).await
        }
    }

    /// More than two sockets hold.
    const MUCH_BYTES: usize = 32 << 20;

    #[tokio::test]
    async fn what_is_to_be_said_goes_out_where_there_is_always_more_to_hear() {
        let mut scene = Scene::set().await;
        scene.socket.link.write(&vec![0; MUCH_BYTES]);
        let unwritten = scene.socket.link.unwritten_bytes();
        scene.server.read_exact(&mut vec![0; MUCH_BYTES - unwritten]).await.unwrap();
        scene.server.write_all(&[0x8a, 0]).await.unwrap();
        scene.socket.link.stream().writable().await.unwrap();
        scene.socket.link.stream().readable().await.unwrap();
        scene.hear().await.unwrap();
        assert!(scene.socket.link.unwritten_bytes() < unwritten);
    }

    #[tokio::test]
    async fn pings_without_end_of_a_server_that_does_not_read_take_no_memory_without_end() {
        let mut scene = Scene::set().await;
        let ping = [&[0x89, 125][..], &[7; 125]].concat();
        let pings = ping.repeat(MUCH_BYTES / ping.len());
        let mut most = 0;
        let mut said = pin!(scene.server.write_all(&pings));
        let mut buffer = [0; 4096];
        loop {
            tokio::select! {
                biased;
                heard = poll_fn(|cx| {
                    scene.socket.poll(cx, &mut scene.client, &mut buffer, &mut VecDeque::new())
                }) => heard.unwrap(),
                said = &mut said => break said.unwrap(),
            }
            most = most.max(scene.socket.link.unwritten_bytes());
        }
        assert!(((1 << 20)..(2 << 20)).contains(&most), "{most}");
    }

    #[test]
    fn whatever_is_heard_puts_the_question_off() {
        let heard = Instant::now();
        assert_eq!(due(heard, false, heard + QUIET_MAX / 2), Due::Later(heard + QUIET_MAX));
        assert_eq!(due(heard, false, heard + QUIET_MAX), Due::Ask);
        assert_eq!(due(heard, true, heard + QUIET_MAX + PONG_MAX), Due::GiveUp);
    }
}
