//! What others leave for a session: the answers to what it has asked for.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    bell::Attention,
    few,
    protocol::{CommandError, HistoryPage},
    rights::Role,
    room::RoomCell,
    store::{Appended, NoPage, Page, RoomView},
};

/// What became of an append, as its sender is told.
pub(crate) type Outcome = Result<Appended, CommandError>;

/// An answer to something that a session has asked for.
#[derive(Debug)]
pub(crate) struct Letter {
    /// The session's own number of what it asked for.
    pub ticket: u64,
    /// The answer.
    pub news: News,
}

/// What a session can be told.
#[derive(Debug)]
pub(crate) enum News {
    /// What became of an append.
    Settled(Outcome),
    /// The room to join, in memory, and as this user sees it.
    Opened(Result<Opened, CommandError>),
    /// Whether this user may see the room.
    Viewed(Result<(), CommandError>),
    /// The room as this user now sees it, if there is one.
    Renewed(Option<Box<RoomView>>),
    /// A page to catch up with.
    Page(Result<Page, NoPage>),
    /// A page for the user.
    History(Result<HistoryPage, CommandError>),
}

/// A room in memory, for a user who may join it.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The room.
    pub cell: Arc<RoomCell>,
    /// As this user sees it.
    pub view: Box<RoomView>,
    /// With which role.
    pub role: Role,
}

/// Where a session finds its answers. They are bounded by what it has asked for.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    attention: Arc<Attention>,
    letters: Mutex<VecDeque<Letter>>,
}

impl Mailbox {
    /// What the session's task waits for.
    pub(crate) const fn attention(&self) -> &Arc<Attention> {
        &self.attention
    }

    /// Brings an answer.
    pub(crate) fn post(&self, letter: Letter) {
        few::push_back(&mut self.letters(), letter);
        self.attention.announce_letter();
    }

    /// Takes the oldest answer.
    pub(crate) fn take(&self) -> Option<Letter> {
        self.letters().pop_front()
    }

    fn letters(&self) -> MutexGuard<'_, VecDeque<Letter>> {
        // A queue cannot be left half done by a panic.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
