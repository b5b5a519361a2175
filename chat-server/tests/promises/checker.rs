//! Judges what clients did and were told against the timelines that were kept in the end.

use std::collections::{BTreeMap, BTreeSet};

/// One number of a room's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) seq: u64,
    pub(crate) at: u64,
    pub(crate) from: String,
    /// `None` for what has no key: the joining of a member, for example.
    pub(crate) key: Option<String>,
}

/// What a sender knows of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has its place, and had none before.
    New { seq: u64, at: u64 },
    /// It has this place since an earlier send.
    Duplicate { seq: u64, at: u64 },
    /// It was refused for good.
    Refused,
    /// The connection ended before the reply, or the reply was `unavailable`.
    Unknown,
}

/// One try to say something.
#[derive(Debug, Clone)]
pub(crate) struct Try {
    pub(crate) who: String,
    pub(crate) room: String,
    pub(crate) key: String,
    pub(crate) outcome: Outcome,
}

/// What one connection was given of a room, from a join to its end: events, and own acks in their places.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) who: String,
    pub(crate) room: String,
    /// The number after which it begins.
    pub(crate) after: u64,
    pub(crate) places: Vec<Place>,
}

impl Reading {
    /// The number up to which everything was given.
    pub(crate) fn position(&self) -> u64 {
        self.places.last().map_or(self.after, |place| place.seq)
    }
}

/// The last event of a room that a user may get.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) who: String,
    pub(crate) room: String,
    pub(crate) seq: u64,
}

/// What all clients did and were told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    pub(crate) tries: Vec<Try>,
    pub(crate) readings: Vec<Reading>,
    pub(crate) ends: Vec<End>,
    /// Replies that were `unavailable`.
    pub(crate) unavailable: usize,
}

/// The timelines as they were kept, by room.
pub(crate) type Timelines = BTreeMap<String, Vec<Place>>;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It was acked, and is not there, or not as the ack said.
    Lost,
    /// It is there twice, was new twice, or came twice.
    Doubled,
    /// Nobody said it, it was refused, or it was shown and is not there.
    Phantom,
    /// It came after a later one.
    OutOfOrder,
    /// A number is missing.
    Gap,
    /// It came to a user who may not read it.
    Leaked,
}

/// Something that is wrong, in words.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) fault: Fault,
    #[expect(dead_code, reason = "it is for whoever reads the failure")]
    what: String,
}

/// Who said something under which key, in which room.
type Said<'a> = (&'a str, &'a str, &'a str);

impl Try {
    fn said(&self) -> Said<'_> {
        (&self.room, &self.who, &self.key)
    }
}

impl Log {
    pub(crate) fn extend(&mut self, other: Self) {
        self.tries.extend(other.tries);
        self.readings.extend(other.readings);
        self.ends.extend(other.ends);
        self.unavailable += other.unavailable;
    }

    /// What was said and has neither a place nor a refusal: who, room and key.
    pub(crate) fn unsettled(&self) -> Vec<(String, String, String)> {
        let settled = self.tries.iter().filter(|one| one.outcome != Outcome::Unknown);
        let settled: BTreeSet<Said<'_>> = settled.map(Try::said).collect();
        let open = self.tries.iter().map(Try::said).filter(|said| !settled.contains(said));
        let open: BTreeSet<Said<'_>> = open.collect();
        open.into_iter().map(|(room, who, key)| (who.to_owned(), room.to_owned(), key.to_owned())).collect()
    }

    /// How many sends were acked, earlier sends of the same keys left out.
    pub(crate) fn new_acks(&self) -> usize {
        self.tries.iter().filter(|one| matches!(one.outcome, Outcome::New { .. })).count()
    }

    /// Everything that is wrong.
    pub(crate) fn findings(&self, timelines: &Timelines) -> Vec<Finding> {
        let mut found = Findings::default();
        for (room, timeline) in timelines {
            found.in_timeline(room, timeline);
        }
        found.in_tries(self, timelines);
        for reading in &self.readings {
            found.in_reading(reading, timelines.get(&reading.room).map_or(&[], Vec::as_slice));
            for end in self.ends.iter().filter(|end| end.who == reading.who && end.room == reading.room) {
                found.after_end(reading, end);
            }
        }
        found.0
    }

    /// Fails where anything is wrong.
    pub(crate) fn assert_sound(&self, timelines: &Timelines) {
        let findings = self.findings(timelines);
        let first: Vec<_> = findings.iter().take(10).collect();
        assert!(findings.is_empty(), "{} findings, the first of them: {first:#?}", findings.len());
    }
}

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, fault: Fault, what: String) {
        self.0.push(Finding { fault, what });
    }

    /// A timeline is dense, and has each key of an author once.
    fn in_timeline(&mut self, room: &str, timeline: &[Place]) {
        let mut keys = BTreeSet::new();
        for (place, seq) in timeline.iter().zip(1..) {
            if place.seq != seq {
                return self.add(Fault::Gap, format!("the timeline of {room} has {place:?} as number {seq}"));
            }
            if place.key.is_some() && !keys.insert((&place.from, &place.key)) {
                self.add(Fault::Doubled, format!("the timeline of {room} has {place:?} a second time"));
            }
        }
    }

    fn in_tries(&mut self, log: &Log, timelines: &Timelines) {
        let mut tries: BTreeMap<Said<'_>, Vec<&Outcome>> = BTreeMap::new();
        for one in &log.tries {
            tries.entry(one.said()).or_default().push(&one.outcome);
        }
        for ((room, who, key), outcomes) in &tries {
            let news = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::New { .. }));
            if news.count() > 1 {
                self.add(Fault::Doubled, format!("{key} of {who} in {room} was new twice: {outcomes:?}"));
            }
            for outcome in outcomes {
                self.acked_is_kept((room, who, key), outcome, timelines);
            }
        }
        for (room, place) in timelines.iter().flat_map(|(room, all)| all.iter().map(move |one| (room, one))) {
            let Some(key) = &place.key else { continue };
            match tries.get(&(room.as_str(), place.from.as_str(), key.as_str())) {
                None => self.add(Fault::Phantom, format!("nobody said {place:?} in {room}")),
                Some(outcomes) if outcomes.iter().all(|outcome| **outcome == Outcome::Refused) => {
                    self.add(Fault::Phantom, format!("{place:?} in {room} was refused"));
                }
                Some(_) => {}
            }
        }
    }

    fn acked_is_kept(&mut self, (room, who, key): Said<'_>, outcome: &Outcome, timelines: &Timelines) {
        let (Outcome::New { seq, at } | Outcome::Duplicate { seq, at }) = *outcome else { return };
        let acked = Place { seq, at, from: who.to_owned(), key: Some(key.to_owned()) };
        let kept = timelines.get(room).and_then(|timeline| nth(timeline, seq));
        if kept != Some(&acked) {
            self.add(Fault::Lost, format!("{acked:?} was acked in {room}, and {kept:?} is there"));
        }
    }

    /// A reading is dense from where it began, and what it has is what was kept.
    fn in_reading(&mut self, reading: &Reading, timeline: &[Place]) {
        let Reading { who, room, .. } = reading;
        let mut position = reading.after;
        for place in &reading.places {
            let fault = match place.seq {
                seq if seq == position + 1 => None,
                seq if seq > position => Some(Fault::Gap),
                seq if seq == position => Some(Fault::Doubled),
                _ => Some(Fault::OutOfOrder),
            };
            if let Some(fault) = fault {
                self.add(fault, format!("{who} got {place:?} of {room} after number {position}"));
            }
            let kept = nth(timeline, place.seq);
            if kept != Some(place) {
                self.add(Fault::Phantom, format!("{who} got {place:?} of {room}, where {kept:?} was kept"));
            }
            position = place.seq;
        }
    }

    fn after_end(&mut self, reading: &Reading, end: &End) {
        if let Some(place) = reading.places.iter().find(|place| place.seq > end.seq) {
            self.add(Fault::Leaked, format!("{} got {place:?} after {end:?}", reading.who));
        }
    }
}

fn nth(timeline: &[Place], seq: u64) -> Option<&Place> {
    timeline.get(usize::try_from(seq.checked_sub(1)?).ok()?)
}
