//! Everything that was ever committed, in the order in which it was: written at the store's door.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use chat_core::protocol::Event;

use crate::timeline::Timeline;

/// The number of a moment: how many things had happened by then.
pub(crate) type Tick = u64;

/// A journal that the store writes and the connections' checks read.
pub(crate) type Shared = Arc<Mutex<Journal>>;

/// What happened to all rooms.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    now: Tick,
    rooms: Vec<Incarnation>,
    /// Up to where users have read at least, by epoch and user.
    pub(crate) marks: BTreeMap<(String, String), u64>,
    /// What the store did against the rules.
    pub(crate) faults: Vec<String>,
}

/// One life of a room.
#[derive(Debug)]
struct Incarnation {
    id: String,
    no: u64,
    epoch: String,
    /// What it was from which moment on.
    states: Vec<(Tick, Arc<Timeline>)>,
    deleted: Option<Tick>,
    /// Up to here the engine has heard that it is committed.
    settled: u64,
}

impl Journal {
    /// This moment.
    pub(crate) const fn now(&self) -> Tick {
        self.now
    }

    pub(crate) fn made(&mut self, id: &str, no: u64, timeline: Timeline) {
        self.now += 1;
        self.rooms.push(Incarnation {
            id: id.to_owned(),
            no,
            epoch: timeline.epoch.clone(),
            settled: timeline.last(),
            states: vec![(self.now, Arc::new(timeline))],
            deleted: None,
        });
    }

    pub(crate) fn deleted(&mut self, no: u64) {
        self.now += 1;
        let now = self.now;
        self.rooms.iter_mut().filter(|room| room.no == no).for_each(|room| room.deleted = Some(now));
    }

    pub(crate) fn committed(&mut self, no: u64, event: &Event) {
        let judged = self.change(no, |timeline| timeline.take(event));
        self.faults.extend(judged.and_then(Result::err));
    }

    pub(crate) fn trimmed(&mut self, no: u64, first: u64) {
        self.change(no, |timeline| timeline.trim(first));
    }

    fn change<T>(&mut self, no: u64, change: impl FnOnce(&mut Timeline) -> T) -> Option<T> {
        self.now += 1;
        let room = self.rooms.iter_mut().find(|room| room.no == no)?;
        let mut timeline = room.states.last().map(|(_, timeline)| (**timeline).clone())?;
        let changed = change(&mut timeline);
        room.states.push((self.now, Arc::new(timeline)));
        Some(changed)
    }

    /// The engine is told of all commits so far.
    pub(crate) fn settle(&mut self) {
        for room in &mut self.rooms {
            room.settled = room.states.last().map_or(0, |(_, timeline)| timeline.last());
        }
    }

    /// A user has read at least up to here.
    pub(crate) fn mark(&mut self, epoch: &str, user: &str, seq: u64) {
        let mark = self.marks.entry((epoch.to_owned(), user.to_owned())).or_default();
        *mark = seq.max(*mark);
    }

    /// The room of this id as it now is.
    pub(crate) fn today(&self, id: &str) -> Option<Arc<Timeline>> {
        self.at(id, self.now)
    }

    /// All that the room of this id was from a moment up to now; `None` where there was none.
    pub(crate) fn since(&self, id: &str, from: Tick) -> Vec<Option<Arc<Timeline>>> {
        (from..=self.now).map(|tick| self.at(id, tick)).collect()
    }

    fn at(&self, id: &str, tick: Tick) -> Option<Arc<Timeline>> {
        let lives = |room: &&Incarnation| {
            room.id == id && room.deleted.is_none_or(|deleted| tick < deleted) && room.state(tick).is_some()
        };
        self.rooms.iter().find(lives)?.state(tick)
    }

    /// The newest of the incarnation with this epoch, deleted or not.
    pub(crate) fn of_epoch(&self, epoch: &str) -> Option<Arc<Timeline>> {
        self.room(epoch)?.states.last().map(|(_, timeline)| timeline.clone())
    }

    /// All that the incarnation with this epoch was from a moment up to now.
    pub(crate) fn of_epoch_since(&self, epoch: &str, from: Tick) -> Vec<Arc<Timeline>> {
        let Some(room) = self.room(epoch) else { return Vec::new() };
        let first = room.states.partition_point(|(tick, _)| *tick <= from).saturating_sub(1);
        room.states.iter().skip(first).map(|(_, timeline)| timeline.clone()).collect()
    }

    /// Of which id the incarnation with this epoch is, and whether it is gone.
    pub(crate) fn life(&self, epoch: &str) -> Option<(&str, bool)> {
        self.room(epoch).map(|room| (room.id.as_str(), room.deleted.is_some()))
    }

    /// The epoch of a room and the newest number of it that the engine knows of.
    pub(crate) fn settled(&self, id: &str) -> Option<(String, u64)> {
        let room = self.rooms.iter().find(|room| room.id == id && room.deleted.is_none())?;
        Some((room.epoch.clone(), room.settled))
    }

    /// Whether the engine knows of a deletion of this message.
    pub(crate) fn knows_deleted(&self, epoch: &str, target: u64) -> bool {
        let room = self.room(epoch).and_then(|room| Some((room.settled, room.states.last()?)));
        let deletes = |timeline: &Timeline, seq| {
            timeline.entry(seq).is_some_and(|entry| entry.kind == "deleted" && entry.target == Some(target))
        };
        room.is_some_and(|(settled, (_, timeline))| (1..=settled).any(|seq| deletes(timeline, seq)))
    }

    /// The epoch that a room had before today's, or one that it never had.
    pub(crate) fn other_epoch(&self, id: &str) -> String {
        let earlier = self.rooms.iter().find(|room| room.id == id && room.deleted.is_some());
        earlier.map_or_else(|| "never".to_owned(), |room| room.epoch.clone())
    }

    fn room(&self, epoch: &str) -> Option<&Incarnation> {
        self.rooms.iter().find(|room| room.epoch == epoch)
    }
}

impl Incarnation {
    fn state(&self, tick: Tick) -> Option<Arc<Timeline>> {
        let index = self.states.partition_point(|(since, _)| *since <= tick);
        self.states.get(index.checked_sub(1)?).map(|(_, timeline)| timeline.clone())
    }
}
