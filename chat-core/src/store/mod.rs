//! What the engine asks of a database.
//!
//! [`Store`] is small and object-safe; [`judge`] has the rules that every store applies inside its transaction, so
//! that they stand in one place; [`MemoryStore`] is the reference.

pub mod judge;
mod memory;

use std::{fmt, future::Future, pin::Pin, sync::Arc};

pub use memory::MemoryStore;

use crate::{
    ids::{Epoch, RoomId, RoomNo, Seq, Timestamp, UserId},
    protocol::{Draft, Event, EventKind, HistoryFrom, Json, RoomPatch},
    rights::{Actor, Authority, Role, Standing, Visibility, role_in_room},
};

/// A boxed future, as object-safe traits return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The database did not do what it was asked, whatever was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No answer, or none that tells: a change may or may not have been committed. Ask again later.
    #[error("the store does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database refused and rolled back: for certain nothing was changed, and the same again would be refused too.
    #[error("the store refuses")]
    Rejected(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// An [`StoreError::Unavailable`] from any error or text.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }

    /// A [`StoreError::Rejected`] from any error or text.
    pub fn rejected(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Rejected(source.into())
    }
}

/// One item was refused by the rules; its neighbours in the batch were not touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// No such room, or none for this actor.
    #[error("there is no such room")]
    NoRoom,
    /// No such message, or a deleted one.
    #[error("there is no such message")]
    NoTarget,
    /// The actor may not do this here.
    #[error("this is not yours to do")]
    Forbidden,
    /// The message has as many different emojis under it as it may have.
    #[error("there are too many different reactions")]
    TooMany,
    /// The room's version is another than required: the one that it has.
    #[error("the room has changed meanwhile")]
    Conflict(u64),
}

/// One change to one room's timeline, and what must hold for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The room's incarnation.
    pub room: RoomNo,
    /// Who changes it.
    pub actor: Actor,
    /// The server's clock when it was handed in.
    pub at: Timestamp,
    /// What changes.
    pub change: Change,
    /// What must hold beyond what the change itself asks for.
    pub require: Require,
}

/// Conditions of an [`Append`], judged inside the transaction, before a number is taken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Require {
    /// The least role in the room; `Member` asks only for the right to write there.
    pub role: Role,
    /// The version that the room must have.
    pub version: Option<u64>,
}

/// What an [`Append`] changes. Which rights each needs stands in [`judge`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A new message.
    Message(Draft),
    /// Another text for a message.
    Edit {
        /// The message.
        target: Seq,
        /// Its new text.
        text: Box<str>,
    },
    /// A message goes.
    Delete {
        /// The message.
        target: Seq,
    },
    /// A reaction comes or goes.
    React {
        /// The message.
        target: Seq,
        /// Which one.
        emoji: Box<str>,
        /// Whether it goes.
        remove: bool,
    },
    /// A user gets another standing.
    Member {
        /// Whose.
        user: UserId,
        /// Which.
        standing: Standing,
    },
    /// The room itself changes; its version goes up by one.
    Room(RoomPatch),
}

impl Append {
    /// About how many bytes it will take: for the bounds of batches and queues.
    pub fn weight_bytes(&self) -> usize {
        const ROW_BYTES: usize = 128;
        ROW_BYTES
            + match &self.change {
                Change::Message(draft) => {
                    draft.text.len() + draft.meta.as_ref().map_or(0, |meta| meta.as_str().len())
                }
                Change::Edit { text, .. } => text.len(),
                Change::Room(patch) => patch.state.as_ref().map_or(0, |state| state.as_str().len()),
                Change::Delete { .. } | Change::React { .. } | Change::Member { .. } => 0,
            }
    }
}

/// An event that stands in the database. Only a [`Store`] makes one, after its transaction, and only this can be
/// broadcast. A clone shares the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    room: RoomNo,
    event: Arc<Event>,
}

impl Committed {
    /// For implementations of [`Store`]: says that `event` is committed.
    pub fn new(room: RoomNo, event: Event) -> Self {
        Self { room, event: Arc::new(event) }
    }

    /// The room's incarnation.
    pub const fn room(&self) -> RoomNo {
        self.room
    }

    /// The event.
    pub const fn event(&self) -> &Arc<Event> {
        &self.event
    }
}

/// What became of an accepted [`Append`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It has a number now.
    New(Committed),
    /// It had been done before, or changes nothing: the number and time of what did it.
    Duplicate {
        /// The earlier event.
        seq: Seq,
        /// When that was committed.
        at: Timestamp,
    },
}

/// What became of each item of a batch, in the batch's order.
pub type Outcomes = Vec<Result<Appended, Refused>>;

/// A room's incarnation as it stands in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRecord {
    /// The store's number of it.
    pub no: RoomNo,
    /// Its id.
    pub id: RoomId,
    /// Its random id.
    pub epoch: Epoch,
    /// What kind of room it is.
    pub kind: RoomKind,
    /// Who may come in.
    pub visibility: Visibility,
    /// Its name to show.
    pub name: Box<str>,
    /// What it is about.
    pub topic: Box<str>,
    /// JSON of the embedding service's own.
    pub state: Option<Json>,
    /// How often [`Change::Room`] changed it.
    pub version: u64,
    /// The oldest event that is kept; `last_seq` + 1 where there is none.
    pub first_seq: Seq,
    /// The newest event; 0 where there was none yet.
    pub last_seq: Seq,
}

/// What kind of room it is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RoomKind {
    /// Any number of members.
    #[default]
    Group,
    /// Two members.
    Direct,
}

impl RoomKind {
    /// The kind as it stands on the wire and in a store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Direct => "direct",
        }
    }

    /// Reads a kind; `None` where there is none of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Group, Self::Direct].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A room to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRoom {
    /// Its id.
    pub id: RoomId,
    /// Its incarnation, drawn by the caller.
    pub epoch: Epoch,
    /// What kind of room it is.
    pub kind: RoomKind,
    /// Who may come in.
    pub visibility: Visibility,
    /// Its name to show.
    pub name: Box<str>,
    /// What it is about.
    pub topic: Box<str>,
    /// Who makes it: `from` of its first events.
    pub creator: UserId,
    /// Its first members, each an `added` event, in this order from number 1.
    pub members: Vec<(UserId, Role)>,
    /// The server's clock.
    pub at: Timestamp,
}

/// What became of a [`NewRoom`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The room, which is there now.
    New(RoomRecord),
    /// There was one of this id: that one.
    Exists(RoomRecord),
    /// The store has as many rooms as the caller allowed.
    Full,
}

/// A room as one user sees it, all read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomView {
    /// The room.
    pub room: RoomRecord,
    /// The user's standing there.
    pub standing: Standing,
    /// The user's read mark; 0 where there is none.
    pub read: Seq,
    /// Messages after the read mark that are not the user's own and not deleted, counted up to [`UNREAD_MAX`].
    pub unread: u64,
}

/// Unread messages are counted up to here.
pub const UNREAD_MAX: u64 = 1000;

impl RoomView {
    /// The role with which `authority` acts here; `None` where the room does not exist for them.
    pub fn role(&self, authority: Authority) -> Option<Role> {
        role_in_room(self.room.visibility, self.standing, authority)
    }
}

/// A member of a room.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// With which role.
    pub role: Role,
}

/// One page of a timeline to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// The room's incarnation.
    pub room: RoomNo,
    /// For whom: judged in the same read transaction. With `None` the engine reads for a room's live tail, which
    /// everybody shares: nobody is judged, and reactions are left out.
    pub reader: Option<Actor>,
    /// Where to start.
    pub from: HistoryFrom,
    /// Most events.
    pub limit: usize,
    /// Bytes of text and meta after which the page ends; it holds at least one event.
    pub bytes: usize,
    /// Only these kinds; all where empty.
    pub kinds: Vec<EventKind>,
}

/// One page of a timeline, all read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Oldest first. Messages are as they now are; a text that was deleted is in none of them.
    pub events: Vec<Event>,
    /// Whether there are more in the direction read (up to [`Page::end`]).
    pub more: bool,
    /// The oldest event that is kept.
    pub first_seq: Seq,
    /// The newest event.
    pub last_seq: Seq,
    /// Where the reader's right ended, if it did: no event after it is in the page, or ever will be.
    pub end: Option<Seq>,
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPage {
    /// The room is gone.
    #[error("there is no such room")]
    Gone,
    /// The reader never had, or has lost, the right to read, and no number says where it ended.
    #[error("there is no such room for this reader")]
    Unreadable,
}

/// How far a user has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadMark {
    /// The room's incarnation.
    pub room: RoomNo,
    /// Whose.
    pub user: UserId,
    /// The last event read.
    pub seq: Seq,
}

/// A durable place for rooms and their timelines.
///
/// # Contract
/// Every implementation passes [`testing::conformance`](crate::testing::conformance).
///
/// - **Durable**: a change is on stable storage when its future resolves to `Ok`; [`StoreError::Rejected`] says that
///   for certain it is not; [`StoreError::Unavailable`] leaves it open.
/// - **Dense**: events of a room are numbered 1, 2, 3 …; the order of numbers is the order of commits.
/// - **Atomic**: a batch is one transaction. A refused item takes no number and leaves no trace.
/// - **Judged inside**: what an item requires is judged by [`judge::judge`] within that transaction, in batch order,
///   each item seeing those before it.
/// - **Seen**: what was committed is seen by every read that starts later, on this store and on every other one over
///   the same database.
/// - **Kept**: text and meta come back byte for byte, NUL and all.
/// - **Gone**: a deleted message's texts, its former ones in `edited` events too, come back from no read; nothing of a
///   deleted room does, and a room of the same id made later has another number.
/// - Methods may be called at the same time. A dropped future leaves open whether its change happened.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Commits a batch: one outcome an item, in order. An item whose room is unknown is refused as [`Refused::NoRoom`].
    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Outcomes, StoreError>>;

    /// Makes a room unless one of its id is there, or `rooms_max` are.
    fn create_room(&self, room: NewRoom, rooms_max: u64) -> BoxFuture<'_, Result<Created, StoreError>>;

    /// Deletes a room with all that hangs on it, where `actor` manages it.
    fn delete_room(
        &self,
        room: RoomNo,
        actor: Actor,
    ) -> BoxFuture<'_, Result<Result<(), Refused>, StoreError>>;

    /// Drops the events before `first`, which then is the oldest kept; at most up to `last_seq` + 1. Keys of dropped
    /// messages go with them. A `first` that is not above today's changes nothing. The answer is the oldest now kept;
    /// `None` for an unknown room.
    fn trim(&self, room: RoomNo, first: Seq) -> BoxFuture<'_, Result<Option<Seq>, StoreError>>;

    /// Moves read marks forward, never back; marks of unknown rooms are passed over.
    fn save_read_marks(&self, marks: Vec<ReadMark>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The room of this id as `user` sees it; `None` where there is none. Rights are for the caller to judge.
    fn room(&self, id: RoomId, user: UserId) -> BoxFuture<'_, Result<Option<RoomView>, StoreError>>;

    /// The public rooms and those that `user` is a member of, less those that banned them: in order of ids, after
    /// `after`, at most `limit`.
    fn rooms(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<RoomView>, StoreError>>;

    /// Members in order of ids, after `after`, at most `limit`.
    fn members(
        &self,
        room: RoomNo,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Member>, StoreError>>;

    /// The newest number of each room, in the order asked; `None` where there is no such room. It sees every commit
    /// whose outcome was left open before.
    fn ends(&self, rooms: Vec<RoomNo>) -> BoxFuture<'_, Result<Vec<Option<Seq>>, StoreError>>;

    /// Reads a page.
    ///
    /// A reader who is no longer allowed reads up to the event that ended the right ([`Page::end`]). A page that is
    /// read after a number below `first_seq` starts at `first_seq`.
    fn page(&self, query: PageQuery) -> BoxFuture<'_, Result<Result<Page, NoPage>, StoreError>>;

    /// Whether the store answers.
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}
