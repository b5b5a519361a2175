//! Connections of the embedding program itself.

use std::{
    collections::VecDeque,
    future::poll_fn,
    ops::Range,
    sync::Arc,
    task::{Context, Poll},
};

use super::Engine;
use crate::{
    ids::{Epoch, RoomId, Seq},
    presence::Spoken,
    protocol::{
        Ack, Command, CommandError, CommandId, Draft, Ephemeral, ErrorCode, Event, HistoryPage, HistoryQuery,
        Joined, LeftReason, Reply, Request, RoomCommand, Welcome,
    },
    session::Session,
    sink::Sink,
    tail::Block,
};

/// From where a joined room is heard.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum After {
    /// What happens from now on.
    #[default]
    Live,
    /// Everything after this number, then what happens.
    Seq(Seq),
    /// The same, where the room is still in this incarnation.
    Position(Epoch, Seq),
}

/// What a joined room brings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// The next event of a room's timeline, this session's own among them.
    Event(Arc<Event>),
    /// Something told but not kept.
    Ephemeral(Ephemeral),
    /// The right to read a room has ended, or the room has.
    Left {
        /// Which room.
        room: RoomId,
        /// Why.
        reason: LeftReason,
    },
    /// What came next in a room is kept no longer: read its history anew; live begins after `last_seq`.
    Reset(Joined),
}

/// A connection without a socket.
///
/// Commands resolve when they are done; what rooms bring comes out of [`LocalSession::next`], in each room in order of
/// numbers and without a gap from where it was joined. Nothing is lost while nobody asks: the session holds positions,
/// not a queue. Dropping it leaves every room.
#[derive(Debug)]
pub struct LocalSession {
    engine: Engine,
    session: Session,
    inbox: Inbox,
    next_id: CommandId,
}

impl LocalSession {
    pub(super) fn new(engine: Engine, session: Session) -> Self {
        Self { engine, session, inbox: Inbox::default(), next_id: 0 }
    }

    /// Attaches to a room.
    ///
    /// # Errors
    /// `not_found` where there is no such room for this user, and whatever the policy says.
    ///
    /// # Cancel safety
    /// A dropped call may still have attached the session.
    pub async fn join(&mut self, room: &str, after: After) -> Result<Joined, CommandError> {
        let (after, epoch) = match after {
            After::Live => (None, None),
            After::Seq(seq) => (Some(seq), None),
            After::Position(epoch, seq) => (Some(seq), Some(epoch)),
        };
        match self.call(room, RoomCommand::Join { after, epoch }).await? {
            Reply::Joined(joined) => Ok(joined),
            _ => Err(unexpected()),
        }
    }

    /// Detaches from a room.
    ///
    /// # Errors
    /// `not_joined` where it was not joined.
    ///
    /// # Cancel safety
    /// A dropped call may still have detached the session.
    pub async fn leave(&mut self, room: &str) -> Result<(), CommandError> {
        self.call(room, RoomCommand::Leave).await.map(drop)
    }

    /// Says something: it is committed when this resolves.
    ///
    /// # Errors
    /// What the limits, the policy and the rights say; `unavailable` where the store does not answer: then a second
    /// call with the same key settles it.
    ///
    /// # Cancel safety
    /// A dropped call may still be committed; a second one with the same key commits nothing twice.
    pub async fn send(&mut self, room: &str, draft: Draft) -> Result<Ack, CommandError> {
        self.change(room, RoomCommand::Send(draft)).await
    }

    /// Gives an own message another text.
    ///
    /// # Errors
    /// As [`LocalSession::send`]; `not_found` without such a message.
    ///
    /// # Cancel safety
    /// A dropped call may still be committed.
    pub async fn edit(&mut self, room: &str, target: Seq, text: &str) -> Result<Ack, CommandError> {
        self.change(room, RoomCommand::Edit { target, text: text.into() }).await
    }

    /// Deletes a message.
    ///
    /// # Errors
    /// As [`LocalSession::edit`].
    ///
    /// # Cancel safety
    /// A dropped call may still be committed.
    pub async fn delete(&mut self, room: &str, target: Seq) -> Result<Ack, CommandError> {
        self.change(room, RoomCommand::Delete { target }).await
    }

    /// Puts a reaction under a message.
    ///
    /// # Errors
    /// As [`LocalSession::edit`].
    ///
    /// # Cancel safety
    /// A dropped call may still be committed.
    pub async fn react(&mut self, room: &str, target: Seq, emoji: &str) -> Result<Ack, CommandError> {
        self.change(room, RoomCommand::React { target, emoji: emoji.into(), remove: false }).await
    }

    /// Takes a reaction back.
    ///
    /// # Errors
    /// As [`LocalSession::edit`].
    ///
    /// # Cancel safety
    /// A dropped call may still be committed.
    pub async fn unreact(&mut self, room: &str, target: Seq, emoji: &str) -> Result<Ack, CommandError> {
        self.change(room, RoomCommand::React { target, emoji: emoji.into(), remove: true }).await
    }

    /// Moves the user's read mark forward, never past the end.
    ///
    /// # Errors
    /// `not_joined` where the room was not joined.
    ///
    /// # Cancel safety
    /// A dropped call may still have moved it.
    pub async fn read(&mut self, room: &str, seq: Seq) -> Result<(), CommandError> {
        self.call(room, RoomCommand::Read { seq }).await.map(drop)
    }

    /// Tells the others that the user is writing.
    ///
    /// # Errors
    /// `not_joined` where the room was not joined.
    ///
    /// # Cancel safety
    /// A dropped call may still have told them.
    pub async fn typing(&mut self, room: &str) -> Result<(), CommandError> {
        self.call(room, RoomCommand::Typing).await.map(drop)
    }

    /// Reads a page of a room's timeline, joined or not.
    ///
    /// # Errors
    /// `not_found` where there is no such room for this user, `unavailable` where the store does not answer.
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn history(&mut self, room: &str, query: HistoryQuery) -> Result<HistoryPage, CommandError> {
        match self.call(room, RoomCommand::History(query)).await? {
            Reply::History { page, .. } => Ok(page),
            _ => Err(unexpected()),
        }
    }

    /// What the joined rooms bring next; rooms take turns. It is always `Some`: the shape is that of a stream.
    ///
    /// # Cancel safety
    /// A dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Incoming> {
        Some(poll_fn(|cx| self.poll_next(cx)).await)
    }

    /// The same for whoever polls.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        loop {
            if let Some(incoming) = self.inbox.incoming.pop_front() {
                return Poll::Ready(incoming);
            }
            self.session.drain(self.engine.inner.clock.now(), &mut self.inbox);
            self.inbox.replies.clear(); // nobody waits for them any more
            if self.inbox.incoming.is_empty() && self.session.bell().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    async fn change(&mut self, room: &str, command: RoomCommand) -> Result<Ack, CommandError> {
        match self.call(room, command).await? {
            Reply::Ack(ack) => Ok(ack),
            _ => Err(unexpected()),
        }
    }

    async fn call(&mut self, room: &str, command: RoomCommand) -> Result<Reply, CommandError> {
        let room = RoomId::new(room).map_err(|e| CommandError::invalid("room", &e.to_string()))?;
        self.next_id += 1;
        let id = self.next_id;
        let request = Request { id: Some(id), command: Command::InRoom(room, command) };
        self.session.handle_request(self.engine.inner.clock.now(), Ok(request));
        match poll_fn(|cx| self.poll_reply(cx, id)).await {
            Reply::Error(error) => Err(error),
            reply => Ok(reply),
        }
    }

    fn poll_reply(&mut self, cx: &Context<'_>, id: CommandId) -> Poll<Reply> {
        loop {
            let mut replies = Replies(&mut self.inbox.replies);
            self.session.drain_replies(self.engine.inner.clock.now(), &mut replies);
            while let Some((answered, reply)) = self.inbox.replies.pop_front() {
                if answered == id {
                    return Poll::Ready(reply);
                }
            }
            if self.session.bell().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for LocalSession {
    fn drop(&mut self) {
        self.session.close(self.engine.inner.clock.now());
    }
}

fn unexpected() -> CommandError {
    CommandError::new(ErrorCode::Internal, "the reply is of another kind than the command")
}

/// What a session has said and nobody has taken yet: bounded by [`Inbox::INCOMING_MAX`] and one block of events.
#[derive(Debug, Default)]
struct Inbox {
    incoming: VecDeque<Incoming>,
    replies: VecDeque<(CommandId, Reply)>,
}

impl Inbox {
    const INCOMING_MAX: usize = 64;
}

impl Sink for Inbox {
    fn is_full(&self) -> bool {
        self.incoming.len() >= Self::INCOMING_MAX
    }

    fn welcome(&mut self, _: &Welcome) {}

    fn answer(&mut self, id: Option<CommandId>, reply: &Reply) {
        match (id, reply) {
            (Some(id), reply) => self.replies.push_back((id, reply.clone())),
            (None, Reply::Left { room, reason: Some(reason) }) => {
                self.incoming.push_back(Incoming::Left { room: room.clone(), reason: *reason });
            }
            (None, Reply::Joined(joined)) => self.incoming.push_back(Incoming::Reset(joined.clone())),
            (None, _) => {}
        }
    }

    fn run(&mut self, block: &Block, range: Range<usize>) {
        self.incoming.extend(block.events()[range].iter().cloned().map(Incoming::Event));
    }

    fn event(&mut self, event: Event) {
        self.incoming.push_back(Incoming::Event(Arc::new(event)));
    }

    fn spoken(&mut self, spoken: &Arc<Spoken>) {
        self.incoming.push_back(Incoming::Ephemeral(spoken.what.clone()));
    }
}

/// Takes the replies alone: it is never full, as a call takes all of them.
struct Replies<'a>(&'a mut VecDeque<(CommandId, Reply)>);

impl Sink for Replies<'_> {
    fn is_full(&self) -> bool {
        false
    }

    fn welcome(&mut self, _: &Welcome) {}

    fn answer(&mut self, id: Option<CommandId>, reply: &Reply) {
        self.0.extend(id.map(|id| (id, reply.clone())));
    }

    fn run(&mut self, _: &Block, _: Range<usize>) {}

    fn event(&mut self, _: Event) {}

    fn spoken(&mut self, _: &Arc<Spoken>) {}
}
