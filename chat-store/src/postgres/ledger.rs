//! The facts of a batch: asked for at once, then kept up to date by what the batch itself does.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chat_core::{
    ids::{RoomNo, Seq, Timestamp, UserId},
    protocol::{Draft, EventBody, Key, RoomPatch},
    rights::{Standing, Visibility},
    store::{
        Append, Change, Committed,
        judge::{Facts, MessageFacts, ReactionFacts, RoomFacts, news},
    },
};

use super::fault::Failure;
use crate::{keys::KeyCheck, people::Person};

/// The messages that have each key, where they were looked up.
pub(super) type Keys = HashMap<Key, Option<(Seq, Timestamp)>>;

/// A user's reaction: room, message, emoji, user.
pub(super) type ReactionOf = (RoomNo, Seq, Box<str>, UserId);

/// What a batch may ask for, each with its answer: `None` where there is no such thing.
///
/// A look-up of something else is a failure, not a "no": it would say that [`Ledger::asked_by`] and the rules differ.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) rooms: BTreeMap<RoomNo, Option<Room>>,
    pub(super) people: BTreeMap<(RoomNo, UserId), Option<Person>>,
    /// By room and author. Where keys are trusted, those that are missing are taken for new ones.
    pub(super) keys: BTreeMap<(RoomNo, UserId), Keys>,
    key_check: KeyCheck,
    pub(super) messages: BTreeMap<(RoomNo, Seq), Option<MessageFacts>>,
    pub(super) reactions: BTreeMap<ReactionOf, Option<ReactionFacts>>,
    /// All that ever stood under a message, taken back or not.
    pub(super) emojis: BTreeMap<(RoomNo, Seq), BTreeSet<Box<str>>>,
    /// When the newest event of a room was committed.
    pub(super) newest: BTreeMap<RoomNo, Option<Timestamp>>,
    /// What a room's name, topic and state are. The visibility is among the [`RoomFacts`].
    pub(super) profiles: BTreeMap<RoomNo, Option<RoomPatch>>,
    /// What is to be written, in order.
    pub(super) accepted: Vec<Committed>,
}

/// A room whose lock the batch has.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) facts: RoomFacts,
    pub(super) private_seq: Option<Seq>,
}

/// What was not asked for in time.
fn asked<T>(fact: Option<T>) -> Result<T, Failure> {
    fact.ok_or(Failure::Strange("a rule asks for a fact that was not looked up"))
}

impl Ledger {
    /// Without any question.
    pub(super) const fn new(key_check: KeyCheck) -> Self {
        Self {
            rooms: BTreeMap::new(),
            people: BTreeMap::new(),
            keys: BTreeMap::new(),
            key_check,
            messages: BTreeMap::new(),
            reactions: BTreeMap::new(),
            emojis: BTreeMap::new(),
            newest: BTreeMap::new(),
            profiles: BTreeMap::new(),
            accepted: Vec::new(),
        }
    }

    /// What the rules may ask for these items, without an answer yet.
    pub(super) fn asked_by(items: &[Append], key_check: KeyCheck) -> Self {
        let mut ledger = Self::new(key_check);
        for item in items {
            let Append { room, actor, change, .. } = item;
            ledger.rooms.entry(*room).or_default();
            ledger.people.entry((*room, actor.user.clone())).or_default();
            match change {
                Change::Message(Draft { key, reply_to, .. }) => {
                    if let Some(key) = key
                        && (key_check == KeyCheck::LookUp || KeyCheck::of(item) == KeyCheck::LookUp)
                    {
                        let keys = ledger.keys.entry((*room, actor.user.clone())).or_default();
                        keys.insert(key.clone(), None);
                    }
                    if let Some(target) = reply_to {
                        ledger.messages.insert((*room, *target), None);
                    }
                }
                Change::Edit { target, .. } | Change::Delete { target } => {
                    ledger.messages.insert((*room, *target), None);
                }
                Change::React { target, emoji, .. } => {
                    ledger.messages.insert((*room, *target), None);
                    ledger.reactions.insert((*room, *target, emoji.clone(), actor.user.clone()), None);
                    ledger.emojis.insert((*room, *target), BTreeSet::new());
                }
                Change::Member { user, .. } => {
                    ledger.people.insert((*room, user.clone()), None);
                    ledger.newest.insert(*room, None);
                }
                Change::Room(_) => {
                    ledger.newest.insert(*room, None);
                    ledger.profiles.insert(*room, None);
                }
                // A kind of change that is not known here asks for what is refused by `asked`.
                _ => {}
            }
        }
        ledger
    }

    /// Takes an accepted event: what follows from it for the items after it, and what is to be written.
    pub(super) fn accept(&mut self, accepted: &Committed) -> Result<(), Failure> {
        let (no, event) = (accepted.room(), &**accepted.event());
        match &event.body {
            EventBody::Message(message) => {
                if let Some(key) = &message.key {
                    let keys = self.keys.entry((no, event.from.clone())).or_default();
                    keys.insert(key.clone(), Some((event.seq, event.at)));
                }
                if let Some(asked) = self.messages.get_mut(&(no, event.seq)) {
                    *asked = Some(MessageFacts {
                        author: event.from.clone(),
                        at: event.at,
                        text: message.text.clone(),
                        edited: None,
                    });
                }
            }
            EventBody::Edited { target, text } => {
                if let Some(Some(message)) = self.messages.get_mut(&(no, *target)) {
                    message.text.clone_from(text);
                    message.edited = Some((event.seq, event.at));
                }
            }
            EventBody::Deleted { target } => {
                if let Some(Some(message)) = self.messages.get_mut(&(no, *target)) {
                    message.text = None;
                }
            }
            EventBody::Reaction { target, emoji, remove } => {
                let last = ReactionFacts { seq: event.seq, at: event.at, removed: *remove };
                self.reactions.insert((no, *target, emoji.clone(), event.from.clone()), Some(last));
                self.emojis.entry((no, *target)).or_default().insert(emoji.clone());
            }
            EventBody::Member { user, change } => {
                let room = asked(self.rooms.get(&no))?.as_ref();
                let (visibility, private_seq) =
                    room.map_or((Visibility::Public, None), |room| (room.facts.visibility, room.private_seq));
                let before = *asked(self.people.get(&(no, user.clone())))?;
                let person = Person::after(*change, event.seq, before, visibility, private_seq);
                self.people.insert((no, user.clone()), Some(person));
            }
            EventBody::Room(patch) => self.patch(no, patch, event.seq),
            _ => return Err(Failure::Strange("an event of a kind that has no columns")),
        }
        if let Some(Some(room)) = self.rooms.get_mut(&no) {
            room.facts.last_seq = event.seq;
        }
        if let Some(newest) = self.newest.get_mut(&no) {
            *newest = Some(event.at);
        }
        self.accepted.push(accepted.clone());
        Ok(())
    }

    fn patch(&mut self, no: RoomNo, patch: &RoomPatch, seq: Seq) {
        if let Some(Some(room)) = self.rooms.get_mut(&no) {
            let visibility = patch.visibility.unwrap_or(room.facts.visibility);
            if (room.facts.visibility, visibility) == (Visibility::Public, Visibility::Private) {
                room.private_seq = Some(seq);
            }
            room.facts.visibility = visibility;
            room.facts.version += 1;
        }
        if let Some(Some(profile)) = self.profiles.get_mut(&no) {
            let RoomPatch { name, topic, state, .. } = patch.clone();
            profile.name = name.or_else(|| profile.name.take());
            profile.topic = topic.or_else(|| profile.topic.take());
            profile.state = state.or_else(|| profile.state.take());
        }
    }
}

impl Facts for Ledger {
    type Error = Failure;

    fn room(&mut self, room: RoomNo) -> Result<Option<RoomFacts>, Failure> {
        Ok(asked(self.rooms.get(&room))?.as_ref().map(|room| room.facts.clone()))
    }

    fn standing(&mut self, room: RoomNo, user: &UserId) -> Result<Standing, Failure> {
        let person = asked(self.people.get(&(room, user.clone())))?;
        Ok(person.map(|person| person.standing).unwrap_or_default())
    }

    fn key(&mut self, room: RoomNo, author: &UserId, key: &str) -> Result<Option<(Seq, Timestamp)>, Failure> {
        let found = self.keys.get(&(room, author.clone())).and_then(|keys| keys.get(key)).copied();
        if self.key_check == KeyCheck::Trust { Ok(found.flatten()) } else { asked(found) }
    }

    fn message(&mut self, room: RoomNo, seq: Seq) -> Result<Option<MessageFacts>, Failure> {
        asked(self.messages.get(&(room, seq))).cloned()
    }

    fn reaction(
        &mut self,
        room: RoomNo,
        target: Seq,
        user: &UserId,
        emoji: &str,
    ) -> Result<Option<ReactionFacts>, Failure> {
        asked(self.reactions.get(&(room, target, emoji.into(), user.clone()))).copied()
    }

    fn other_emojis(&mut self, room: RoomNo, target: Seq, emoji: &str) -> Result<usize, Failure> {
        let emojis = asked(self.emojis.get(&(room, target)))?;
        Ok(emojis.iter().filter(|other| &***other != emoji).count())
    }

    fn committed_at(&mut self, room: RoomNo, seq: Seq) -> Result<Option<Timestamp>, Failure> {
        let last_seq = self.room(room)?.map(|room| room.last_seq);
        // The rules ask for the newest event and no other.
        asked(self.newest.get(&room).filter(|_| last_seq == Some(seq))).copied()
    }

    fn news(&mut self, room: RoomNo, patch: &RoomPatch) -> Result<RoomPatch, Failure> {
        let profile = asked(self.profiles.get(&room))?.clone().unwrap_or_default();
        let visibility = self.room(room)?.map(|room| room.visibility);
        Ok(news(patch, &RoomPatch { visibility, ..profile }))
    }
}
