//! What makes a page, whatever database its rows are from.

use std::ops::ControlFlow;

use chat_core::{
    ids::Seq,
    protocol::{Event, EventBody, EventKind, HistoryFrom, Message, Reactions},
    rights::{Authority, Visibility, role_in_room},
    store::{NoPage, PageQuery},
};

use crate::people::{Person, lost};

/// Where a reader's right ended; `None` where it has not.
pub(crate) fn right_ends(
    visibility: Visibility,
    private_seq: Option<Seq>,
    person: Option<Person>,
    authority: Authority,
) -> Result<Option<Seq>, NoPage> {
    let standing = person.map(|person| person.standing).unwrap_or_default();
    match role_in_room(visibility, standing, authority) {
        Some(_) => Ok(None),
        None => lost(person, private_seq).map(Some).ok_or(NoPage::Unreadable),
    }
}

/// Which events a page is chosen from, and from which end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// Those with higher numbers than this one,
    pub(crate) after: Seq,
    /// and lower ones than this.
    pub(crate) before: Seq,
    pub(crate) direction: Direction,
}

/// In which direction a page is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Upwards,
    Downwards,
}

impl Span {
    /// For a reader whose right ended at `end`, if it did.
    pub(crate) fn of(query: &PageQuery, last_seq: Seq, end: Option<Seq>) -> Self {
        let past = end.unwrap_or(last_seq).next();
        let (after, before, direction) = match query.from {
            HistoryFrom::After(seq) => (seq, past, Direction::Upwards),
            HistoryFrom::Before(seq) => (Seq::ZERO, seq.min(past), Direction::Downwards),
            HistoryFrom::Newest => (Seq::ZERO, past, Direction::Downwards),
        };
        Self { after, before, direction }
    }
}

/// One bit for each kind that is wanted, at its number.
pub(crate) fn kinds_mask(kinds: &[EventKind]) -> i64 {
    let kinds = if kinds.is_empty() { &EventKind::ALL[..] } else { kinds };
    kinds.iter().fold(0, |mask, kind| mask | 1 << kind.number())
}

/// Takes events in the order of reading until a page is full.
#[derive(Debug)]
pub(crate) struct Cut {
    events: Vec<Event>,
    bytes: usize,
    is_over: bool,
    limit: usize,
    bytes_max: usize,
}

impl Cut {
    pub(crate) const fn new(query: &PageQuery) -> Self {
        Self { events: Vec::new(), bytes: 0, is_over: false, limit: query.limit, bytes_max: query.bytes }
    }

    /// Takes an event, or says that the page was full before it.
    pub(crate) fn take(&mut self, event: Event) -> ControlFlow<()> {
        self.bytes += event.body.weight_bytes();
        let fits = self.bytes <= self.bytes_max || self.events.is_empty();
        if self.events.len() >= self.limit || !fits {
            self.is_over = true;
            return ControlFlow::Break(());
        }
        self.events.push(event);
        ControlFlow::Continue(())
    }

    /// The events that fit, oldest first, and whether another one would follow.
    pub(crate) fn finish(mut self, direction: Direction) -> (Vec<Event>, bool) {
        if direction == Direction::Downwards {
            self.events.reverse();
        }
        (self.events, self.is_over)
    }
}

/// The messages of a page, to put reactions under them.
pub(crate) struct Messages<'a>(Vec<(Seq, &'a mut Message)>);

impl<'a> Messages<'a> {
    /// Of events in order.
    pub(crate) fn of(events: &'a mut [Event]) -> Self {
        let message = |event: &'a mut Event| match &mut event.body {
            EventBody::Message(message) => Some((event.seq, message)),
            _ => None,
        };
        Self(events.iter_mut().filter_map(message).collect())
    }

    /// The first and the last of them.
    pub(crate) fn span(&self) -> Option<(Seq, Seq)> {
        Some((self.0.first()?.0, self.0.last()?.0))
    }

    /// Puts one emoji under its message, after those before it. What is under none of them is passed over.
    pub(crate) fn add(&mut self, target: Seq, reactions: Reactions) {
        if let Ok(index) = self.0.binary_search_by_key(&target, |(seq, _)| *seq) {
            self.0[index].1.reactions.push(reactions);
        }
    }
}
