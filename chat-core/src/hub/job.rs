//! What a node asks the store besides commits, and how.

use std::{sync::Arc, time::Duration};

use super::{MissingRooms, rooms::Ask};
use crate::{
    ids::{Epoch, RoomId, RoomNo, Seq},
    limits::Limits,
    mail::{Letter, Mailbox, News},
    protocol::{CommandError, ErrorCode, HistoryFrom, HistoryPage, HistoryQuery},
    rights::{Identity, Visibility},
    room::RoomCell,
    store::{Created, NewRoom, NoPage, Page, PageQuery, ReadMark, RoomKind, RoomView, Store, StoreError},
    time::Now,
};

/// Where an answer goes.
#[derive(Debug)]
pub(crate) struct Address {
    /// Whose mailbox.
    pub mailbox: Arc<Mailbox>,
    /// The session's own number of what it asked.
    pub ticket: u64,
}

impl Address {
    pub(super) fn send(self, news: News) {
        self.mailbox.post(Letter { ticket: self.ticket, news });
    }
}

/// A job and how long to wait before it is tried again.
#[derive(Debug)]
pub(crate) struct Task {
    pub(super) job: Job,
    pub(super) pause: Duration,
}

/// Something to ask the store.
#[derive(Debug)]
pub(crate) enum Job {
    /// The room for a `join`.
    Open {
        /// Which.
        room: RoomId,
        /// For whom.
        who: Identity,
        /// What to do where it is not there.
        missing: MissingRooms,
        /// The number of this question.
        ask: Ask,
        /// Who waits.
        address: Address,
    },
    /// Whether a user may see a room.
    View {
        /// Which.
        room: RoomId,
        /// Who.
        who: Identity,
        /// Who waits.
        address: Address,
    },
    /// A room as a user in it now sees it.
    Renew {
        /// Which.
        room: RoomId,
        /// Who.
        who: Identity,
        /// Who waits.
        address: Address,
    },
    /// A page for a user.
    History {
        /// Of which room.
        room: RoomId,
        /// For whom.
        who: Identity,
        /// Which page.
        query: HistoryQuery,
        /// Who waits.
        address: Address,
    },
    /// A page for a reader who is behind the tail.
    Page(PageJob),
    /// A page for a room's tail, which has a hole.
    Fill {
        /// The room.
        cell: Arc<RoomCell>,
        /// Where its tail ends.
        after: Seq,
        /// How long a page may be.
        limits: Limits,
    },
    /// Where these rooms end, of all that are in memory.
    Look(Vec<RoomNo>),
    /// Where rooms end.
    Ends(Vec<RoomNo>),
    /// Read marks to write.
    SaveMarks(Vec<ReadMark>),
}

/// A page to catch up with.
#[derive(Debug)]
pub(crate) struct PageJob {
    /// Which page.
    pub query: PageQuery,
    /// Who waits.
    pub address: Address,
}

/// What the store said.
#[derive(Debug)]
pub(crate) enum Done {
    /// To [`Job::Open`], [`Job::View`] and [`Job::Renew`].
    View(Result<Option<RoomView>, OpenError>),
    /// To [`Job::History`].
    History(Result<HistoryPage, CommandError>),
    /// To [`Job::Page`] and [`Job::Fill`].
    Page(Result<Result<Page, NoPage>, StoreError>),
    /// To [`Job::Look`] and [`Job::Ends`].
    Ends(Result<Vec<(RoomNo, Option<Seq>)>, StoreError>),
    /// To [`Job::SaveMarks`].
    Saved(Result<(), StoreError>),
}

/// Why a room could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OpenError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are as many rooms as are allowed.
    #[error("there are too many rooms")]
    Full,
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::unavailable(),
            StoreError::Rejected(_) => Self::new(ErrorCode::Internal, "the store refuses this command"),
        }
    }
}

impl From<OpenError> for CommandError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => error.into(),
            OpenError::Full => Self::new(ErrorCode::Forbidden, "there are as many rooms as are allowed"),
        }
    }
}

/// Ids that only direct rooms have.
pub(crate) const DIRECT_PREFIX: &str = "direct.";

impl Task {
    /// What it comes to where the store fails.
    pub(crate) fn failed(&self, error: StoreError) -> Done {
        match &self.job {
            Job::Open { .. } | Job::View { .. } | Job::Renew { .. } => Done::View(Err(error.into())),
            Job::History { .. } => Done::History(Err(error.into())),
            Job::Page(_) | Job::Fill { .. } => Done::Page(Err(error)),
            Job::Look(_) | Job::Ends(_) => Done::Ends(Err(error)),
            Job::SaveMarks(_) => Done::Saved(Err(error)),
        }
    }
}

/// Does what a task asks for. `now` and `random` are for a room that it may have to make.
///
/// # Cancel safety
/// What was written may or may not have been.
pub(crate) async fn run(store: &dyn Store, limits: &Limits, task: &Task, now: Now, random: u128) -> Done {
    match &task.job {
        Job::Open { room, who, missing, .. } => {
            Done::View(open(store, room, who, *missing, (now, random)).await)
        }
        Job::View { room, who, .. } | Job::Renew { room, who, .. } => {
            Done::View(store.room(room.clone(), who.user.clone()).await.map_err(OpenError::from))
        }
        Job::History { room, who, query, .. } => {
            Done::History(read_history(store, limits, who, room, query).await)
        }
        Job::Page(PageJob { query, .. }) => Done::Page(store.page(query.clone()).await),
        Job::Fill { cell, after, limits } => {
            Done::Page(store.page(fill_query(cell.no, *after, limits)).await)
        }
        Job::Look(rooms) | Job::Ends(rooms) => {
            let ends = store.ends(rooms.clone()).await;
            Done::Ends(ends.map(|ends| rooms.iter().copied().zip(ends).collect()))
        }
        Job::SaveMarks(marks) => Done::Saved(store.save_read_marks(marks.clone()).await),
    }
}

const fn fill_query(room: RoomNo, after: Seq, limits: &Limits) -> PageQuery {
    let from = HistoryFrom::After(after);
    PageQuery {
        room,
        reader: None,
        from,
        limit: limits.history_page,
        bytes: limits.page_bytes,
        kinds: Vec::new(),
    }
}

async fn open(
    store: &dyn Store,
    room: &RoomId,
    who: &Identity,
    missing: MissingRooms,
    (now, random): (Now, u128),
) -> Result<Option<RoomView>, OpenError> {
    let view = store.room(room.clone(), who.user.clone()).await?;
    let (None, MissingRooms::Create { rooms_max }) = (&view, missing) else { return Ok(view) };
    if room.as_str().starts_with(DIRECT_PREFIX) {
        return Ok(view);
    }
    let new = NewRoom {
        id: room.clone(),
        epoch: Epoch::from_random(random),
        kind: RoomKind::Group,
        visibility: Visibility::Public,
        name: room.as_str().into(),
        topic: "".into(),
        creator: who.user.clone(),
        members: Vec::new(),
        at: now.wall,
    };
    match store.create_room(new, rooms_max).await? {
        Created::Full => Err(OpenError::Full),
        Created::New(_) | Created::Exists(_) => Ok(store.room(room.clone(), who.user.clone()).await?),
    }
}

/// Reads a page of a room's timeline for a user.
///
/// # Errors
/// `not_found` where there is no such room for this user, `unavailable` where the store does not answer.
///
/// # Cancel safety
/// It only reads.
pub(crate) async fn read_history(
    store: &dyn Store,
    limits: &Limits,
    who: &Identity,
    room: &RoomId,
    query: &HistoryQuery,
) -> Result<HistoryPage, CommandError> {
    let view = store.room(room.clone(), who.user.clone()).await?.ok_or_else(CommandError::no_such_room)?;
    let page = PageQuery {
        room: view.room.no,
        reader: Some(who.actor()),
        from: query.from,
        limit: query.limit.unwrap_or(usize::MAX).clamp(1, limits.history_page.max(1)),
        bytes: limits.page_bytes,
        kinds: query.kinds.clone(),
    };
    match store.page(page).await? {
        // Who lost the right may finish a stream, but reads no history.
        Ok(page) if page.end.is_none() => Ok(HistoryPage { events: page.events, more: page.more }),
        Ok(_) | Err(_) => Err(CommandError::no_such_room()),
    }
}
