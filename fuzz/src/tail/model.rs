//! What a room must show, worked out from lists.

use std::collections::{BTreeMap, BTreeSet};

use chat_core::{
    Seq, UserId,
    protocol::{Event, EventBody, LeftReason, MemberChange},
    store::Page,
    testing::{LiveRoom, Source},
};

use super::timeline::Timeline;

pub(super) struct Model {
    tail_bytes: usize,
    /// The tail begins after this event.
    start: u64,
    /// Everything that went live after it, in the runs in which it did, with deleted texts blanked.
    blocks: Vec<Vec<Event>>,
    /// The first of them that still is in the tail.
    oldest: usize,
    live: u64,
    known: u64,
    is_filling: bool,
    is_closed: bool,
    /// From which event on the room can know who may come in: past a hole that is lost, only somebody's rights tell.
    visibility_since: u64,
    people: BTreeMap<u64, Person>,
}

struct Person {
    user: UserId,
    /// Rights were read here.
    as_of: u64,
    is_unsure: bool,
    end: Option<(Seq, LeftReason)>,
    /// Whether something new is there, and whether it was told so.
    is_owed: bool,
    is_listed: bool,
}

/// What a reader must find.
pub(super) struct Expected<'a> {
    pub(super) source: Source,
    pub(super) end: Option<(Seq, LeftReason)>,
    /// The events, by blocks, and how many frames they are under batch.
    pub(super) blocks: Vec<&'a [Event]>,
    pub(super) arrays: usize,
}

impl Model {
    pub(super) const fn new(tail_bytes: usize, last: u64) -> Self {
        Self {
            tail_bytes,
            start: last,
            blocks: Vec::new(),
            oldest: 0,
            live: last,
            known: last,
            is_filling: false,
            is_closed: false,
            visibility_since: last,
            people: BTreeMap::new(),
        }
    }

    pub(super) const fn live(&self) -> u64 {
        self.live
    }

    pub(super) fn connections(&self) -> impl Iterator<Item = u64> {
        self.people.keys().copied()
    }

    pub(super) fn commit(&mut self, events: &[Event], timeline: &Timeline) {
        let mut block = Vec::new();
        for event in events {
            self.known = self.known.max(event.seq.0);
            if event.seq.0 == self.live + 1 {
                self.live += 1;
                block.push(event.clone());
                let since = self.visibility_since;
                self.people.values_mut().for_each(|person| person.hear(event, timeline, since));
                if matches!(&event.body, EventBody::Room(patch) if patch.visibility.is_some())
                    && since == u64::MAX
                {
                    self.visibility_since = event.seq.0;
                }
            }
        }
        if !block.is_empty() {
            self.blocks.push(block);
            self.blank();
            self.cut();
            self.owe_all();
        }
    }

    /// No text of a deleted message is shown, wherever it stands.
    fn blank(&mut self) {
        let all = || self.blocks.iter().flatten();
        let deleted: BTreeSet<Seq> = all()
            .filter_map(|event| match &event.body {
                EventBody::Deleted { target } => Some(*target),
                _ => None,
            })
            .collect();
        for event in self.blocks.iter_mut().flatten() {
            match &mut event.body {
                EventBody::Message(message) if deleted.contains(&event.seq) => {
                    (message.text, message.meta, message.edited_at) = (None, None, None);
                }
                EventBody::Edited { target, text } if deleted.contains(target) => *text = None,
                _ => {}
            }
        }
    }

    /// The tail has as many of the newest blocks as fit, and the newest of all; what was dropped does not come back.
    fn cut(&mut self) {
        let newest = self.blocks.len() - 1;
        let fits = |from: &usize| {
            let held: usize = self.blocks[*from..].iter().map(|block| weight_bytes(block)).sum();
            held <= self.tail_bytes
        };
        self.oldest = (self.oldest..newest).find(fits).unwrap_or(newest);
    }

    pub(super) fn see_end(&mut self, last: u64) {
        self.known = self.known.max(last);
    }

    pub(super) const fn wants_page(&mut self) -> Option<u64> {
        if self.known > self.live && !self.is_filling && !self.is_closed {
            self.is_filling = true;
            return Some(self.live);
        }
        None
    }

    pub(super) fn fill(&mut self, page: &Page, timeline: &Timeline) {
        self.is_filling = false;
        if page.first_seq.0 > self.live + 1 {
            self.start = page.first_seq.0 - 1;
            self.live = self.start;
            self.blocks.clear();
            self.oldest = 0;
            self.visibility_since = u64::MAX;
            self.people.values_mut().for_each(|person| person.is_unsure = true);
            self.owe_all();
        }
        if page.events.is_empty() {
            self.known = self.live;
        }
        self.commit(&page.events, timeline);
    }

    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.owe_all();
    }

    fn owe_all(&mut self) {
        self.people.values_mut().for_each(|person| person.is_owed = true);
    }

    /// These were told that there is something for them.
    pub(super) fn listed(&mut self, connections: impl Iterator<Item = u64>) {
        for conn in connections {
            if let Some(person) = self.people.get_mut(&conn) {
                person.is_listed = true;
            }
        }
        let missed = self.people.iter().find(|(_, person)| person.is_owed && !person.is_listed);
        assert!(missed.is_none(), "nobody told connection {:?}", missed.map(|(conn, _)| conn));
    }

    pub(super) fn looked(&mut self, conn: u64) {
        // Who finds the room closed leaves it: it may or may not be told again.
        if let Some(person) = self.people.get_mut(&conn).filter(|_| !self.is_closed) {
            (person.is_owed, person.is_listed) = (false, false);
        }
    }

    pub(super) fn is_in(&self, conn: u64) -> bool {
        self.people.contains_key(&conn)
    }

    /// Whether what was read of a user's rights at `as_of` holds at the live end.
    fn holds(&self, user: &UserId, as_of: u64) -> bool {
        let concerns = |event: &Event| match &event.body {
            EventBody::Member { user: other, .. } => other == user,
            EventBody::Room(patch) => patch.visibility.is_some(),
            _ => false,
        };
        let mut later = self.blocks.iter().flatten().filter(|event| event.seq.0 > as_of);
        as_of >= self.start && !later.any(concerns)
    }

    pub(super) fn enter(&mut self, conn: u64, user: &UserId, as_of: u64) -> Option<u64> {
        if self.is_closed || !self.holds(user, as_of) {
            return None;
        }
        let person = Person {
            user: user.clone(),
            as_of,
            is_unsure: false,
            end: None,
            is_owed: false,
            is_listed: false,
        };
        self.people.insert(conn, person);
        self.learn_visibility(as_of);
        Some(self.live)
    }

    const fn learn_visibility(&mut self, as_of: u64) {
        if self.visibility_since == u64::MAX && as_of >= self.start {
            self.visibility_since = as_of;
        }
    }

    /// The user of a connection whose rights are not known.
    pub(super) fn unsure(&self, conn: u64) -> Option<String> {
        let person = self.people.get(&conn).filter(|_| !self.is_closed)?;
        (person.is_unsure && person.end.is_none()).then(|| person.user.to_string())
    }

    pub(super) fn renew(&mut self, conn: u64, as_of: u64) {
        let Some(user) = self.people.get(&conn).map(|person| person.user.clone()) else { return };
        let holds = self.holds(&user, as_of);
        self.learn_visibility(as_of);
        if let Some(person) = self.people.get_mut(&conn) {
            person.as_of = as_of;
            person.is_unsure = !holds;
        }
    }

    /// The room says where the right of a connection ends, though its rights must be read again: it must be right.
    pub(super) fn end_unsure(&mut self, conn: u64, end: Option<(Seq, LeftReason)>, timeline: &Timeline) {
        let (Some(person), Some((seq, _))) = (self.people.get_mut(&conn), end) else { return };
        assert!(!timeline.may_read(person.user.as_str(), seq.0), "{} may read after {seq}", person.user);
        person.end = end;
    }

    pub(super) fn leave(&mut self, conn: u64) {
        self.people.remove(&conn);
    }

    /// What is after `position`: whole blocks until `bytes` are reached.
    pub(super) fn read(&self, conn: u64, (position, replay): (u64, u64), bytes: usize) -> Expected<'_> {
        let nothing = |source, end| Expected { source, end, blocks: Vec::new(), arrays: 0 };
        let Some(person) = self.people.get(&conn).filter(|_| !self.is_closed) else {
            return nothing(Source::Tail, Some((Seq::ZERO, LeftReason::Closed)));
        };
        if person.is_unsure && person.end.is_none() {
            return nothing(Source::Unknown, None);
        }
        if position >= self.live {
            return nothing(Source::Tail, person.end);
        }
        let targets = self.blocks.iter().flatten().filter_map(|event| event.body.target());
        let is_stale = position < replay && targets.max().is_some_and(|target| position < target.0);
        let held = &self.blocks[self.oldest..];
        let is_held = held.first().is_some_and(|block| block[0].seq.0 <= position + 1);
        if is_stale || !is_held {
            return nothing(Source::Store, person.end);
        }
        let mut gathered = 0;
        let last = person.end.map_or(u64::MAX, |(seq, _)| seq.0);
        let blocks = held.iter().filter(|block| block[block.len() - 1].seq.0 > position);
        let blocks = blocks.take_while(|block| {
            let is_wanted = gathered < bytes;
            gathered += weight_bytes(block);
            is_wanted
        });
        let (mut found, mut arrays, mut is_open) = (Vec::new(), 0, false);
        for block in blocks {
            let from = block.iter().take_while(|event| event.seq.0 <= position).count();
            let to = block.iter().take_while(|event| event.seq.0 <= last).count();
            if from < to {
                // A whole block is an array that all share; parts of two that meet are one.
                let is_part = to - from < block.len();
                arrays += usize::from(!(is_part && is_open));
                is_open = is_part;
                found.push(&block[from..to]);
            }
        }
        Expected { source: Source::Tail, end: person.end, blocks: found, arrays }
    }
}

impl Person {
    /// An event went live. The first after which the user may not read any more is the last that it sees.
    fn hear(&mut self, event: &Event, timeline: &Timeline, visibility_since: u64) {
        if event.seq.0 <= self.as_of || self.end.is_some() {
            return;
        }
        let change = match &event.body {
            EventBody::Member { user, change } if *user == self.user => Some(change),
            _ => None,
        };
        self.is_unsure |= change == Some(&MemberChange::Removed) && event.seq.0 <= visibility_since;
        if timeline.may_read(self.user.as_str(), event.seq.0) {
            return;
        }
        if change == Some(&MemberChange::Banned) {
            self.end = Some((event.seq, LeftReason::Banned));
        } else if !self.is_unsure {
            self.end = Some((event.seq, LeftReason::Removed));
        }
    }
}

fn weight_bytes(block: &[Event]) -> usize {
    let texts = |event: &Event| match &event.body {
        EventBody::Message(message) => {
            message.text.as_ref().map_or(0, |text| text.len())
                + message.meta.as_ref().map_or(0, |meta| meta.as_str().len())
        }
        EventBody::Edited { text, .. } => text.as_ref().map_or(0, |text| text.len()),
        EventBody::Room(patch) => patch.topic.as_ref().map_or(0, |topic| topic.len()),
        _ => 0,
    };
    block.iter().map(|event| LiveRoom::EVENT_OVERHEAD_BYTES + texts(event)).sum()
}
