//! One room in memory, and what each event does to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use crate::{
    ids::{RoomNo, Seq, Timestamp, UserId},
    protocol::{Event, EventBody, Key, MemberChange, Message, RoomPatch},
    rights::{Authority, Role, Standing, Visibility, role_in_room},
    store::{
        Member, NewRoom, RoomRecord, RoomView, UNREAD_MAX,
        judge::{MessageFacts, ReactionFacts},
    },
};

/// One incarnation of a room.
pub(super) struct Room {
    pub(super) record: RoomRecord,
    /// The timeline as it now is: messages with their newest text, nothing of deleted texts.
    pub(super) events: BTreeMap<Seq, Event>,
    keys: BTreeMap<(UserId, Key), Seq>,
    /// The `edited` events of each message, oldest first.
    edits: BTreeMap<Seq, Vec<Seq>>,
    /// Under each message, by emoji, what each user last did with it.
    pub(super) reactions: BTreeMap<Seq, BTreeMap<(Box<str>, UserId), ReactionFacts>>,
    /// Everybody of whom a `member` event ever told.
    people: BTreeMap<UserId, Person>,
    /// The event that turned the room from public to private: there the right of everybody else ended.
    closed: Option<Seq>,
    read_marks: BTreeMap<UserId, Seq>,
}

struct Person {
    standing: Standing,
    /// The event that last ended the right to read, if any did.
    lost: Option<Seq>,
}

impl Room {
    pub(super) fn new(no: RoomNo, new: NewRoom) -> Self {
        let record = RoomRecord {
            no,
            id: new.id,
            epoch: new.epoch,
            kind: new.kind,
            visibility: new.visibility,
            name: new.name,
            topic: new.topic,
            state: None,
            version: 0,
            first_seq: Seq(1),
            last_seq: Seq::ZERO,
        };
        let mut room = Self {
            record,
            events: BTreeMap::new(),
            keys: BTreeMap::new(),
            edits: BTreeMap::new(),
            reactions: BTreeMap::new(),
            people: BTreeMap::new(),
            closed: None,
            read_marks: BTreeMap::new(),
        };
        for (user, role) in new.members {
            room.write(Event {
                room: room.record.id.clone(),
                seq: room.record.last_seq.next(),
                at: new.at,
                from: new.creator.clone(),
                body: EventBody::Member { user, change: MemberChange::Added(role) },
            });
        }
        room
    }

    /// Writes an accepted event, and what follows from it.
    pub(super) fn write(&mut self, event: Event) {
        let seq = event.seq;
        match &event.body {
            EventBody::Message(message) => {
                if let Some(key) = &message.key {
                    self.keys.insert((event.from.clone(), key.clone()), seq);
                }
            }
            EventBody::Edited { target, text } => self.edit(*target, text.as_deref(), (seq, event.at)),
            EventBody::Deleted { target } => self.delete(*target),
            EventBody::Reaction { target, emoji, remove } => {
                let last = ReactionFacts { seq, at: event.at, removed: *remove };
                self.reactions.entry(*target).or_default().insert((emoji.clone(), event.from.clone()), last);
            }
            EventBody::Member { user, change } => self.change_standing(user, change.standing(), seq),
            EventBody::Room(patch) => self.patch(patch, seq),
        }
        self.record.last_seq = seq;
        self.events.insert(seq, event);
    }

    fn edit(&mut self, target: Seq, text: Option<&str>, (seq, at): (Seq, Timestamp)) {
        self.edits.entry(target).or_default().push(seq);
        if let Some(message) = self.message_mut(target) {
            message.text = text.map(Into::into);
            message.edited_at = Some(at);
        }
    }

    fn delete(&mut self, target: Seq) {
        if let Some(message) = self.message_mut(target) {
            message.text = None;
            message.meta = None;
        }
        self.reactions.remove(&target);
        for seq in self.edits.remove(&target).unwrap_or_default() {
            if let Some(EventBody::Edited { text, .. }) =
                self.events.get_mut(&seq).map(|event| &mut event.body)
            {
                *text = None;
            }
        }
    }

    fn message_mut(&mut self, seq: Seq) -> Option<&mut Message> {
        match &mut self.events.get_mut(&seq)?.body {
            EventBody::Message(message) => Some(message),
            _ => None,
        }
    }

    fn change_standing(&mut self, user: &UserId, standing: Standing, seq: Seq) {
        let could_read = self.may_read(user);
        let lost = self.lost(user);
        self.people.insert(user.clone(), Person { standing, lost });
        if could_read && !self.may_read(user) {
            self.people.insert(user.clone(), Person { standing, lost: Some(seq) });
        }
    }

    fn patch(&mut self, patch: &RoomPatch, seq: Seq) {
        let record = &mut self.record;
        let was = record.visibility;
        record.version += 1;
        record.name = patch.name.clone().unwrap_or_else(|| record.name.clone());
        record.topic = patch.topic.clone().unwrap_or_else(|| record.topic.clone());
        record.visibility = patch.visibility.unwrap_or(was);
        record.state = patch.state.clone().or_else(|| record.state.clone());
        if (was, record.visibility) == (Visibility::Public, Visibility::Private) {
            self.closed = Some(seq);
            for person in self.people.values_mut().filter(|person| person.standing == Standing::Outsider) {
                person.lost = Some(seq);
            }
        }
    }

    /// Drops a prefix of the timeline, with what hangs on it. The answer is the oldest number kept.
    pub(super) fn trim(&mut self, first: Seq) -> Seq {
        let first = first.min(self.record.last_seq.next()).max(self.record.first_seq);
        self.record.first_seq = first;
        self.events = self.events.split_off(&first);
        self.edits = self.edits.split_off(&first);
        self.reactions = self.reactions.split_off(&first);
        self.keys.retain(|_, seq| *seq >= first);
        first
    }

    pub(super) fn save_read_mark(&mut self, user: UserId, seq: Seq) {
        let mark = self.read_marks.entry(user).or_default();
        *mark = seq.max(*mark);
    }

    pub(super) fn standing(&self, user: &UserId) -> Standing {
        self.people.get(user).map(|person| person.standing).unwrap_or_default()
    }

    /// The event that ended the user's right to read; `None` where none did. It means nothing while they may read.
    pub(super) fn lost(&self, user: &UserId) -> Option<Seq> {
        self.people.get(user).map_or(self.closed, |person| person.lost)
    }

    fn may_read(&self, user: &UserId) -> bool {
        let authority = Authority::User(Role::Member);
        role_in_room(self.record.visibility, self.standing(user), authority).is_some()
    }

    pub(super) fn key(&self, author: &UserId, key: &str) -> Option<(Seq, Timestamp)> {
        let seq = *self.keys.get(&(author.clone(), key.into()))?;
        Some((seq, self.events.get(&seq)?.at))
    }

    pub(super) fn message(&self, seq: Seq) -> Option<MessageFacts> {
        let event = self.events.get(&seq)?;
        let EventBody::Message(message) = &event.body else { return None };
        let edited = self.edits.get(&seq).and_then(|edits| edits.last()).copied().zip(message.edited_at);
        Some(MessageFacts { author: event.from.clone(), at: event.at, text: message.text.clone(), edited })
    }

    pub(super) fn reaction(&self, target: Seq, user: &UserId, emoji: &str) -> Option<ReactionFacts> {
        self.reactions.get(&target)?.get(&(emoji.into(), user.clone())).copied()
    }

    /// How many emojis other than this one ever stood under a message.
    pub(super) fn other_emojis(&self, target: Seq, emoji: &str) -> usize {
        let all = self.reactions.get(&target).into_iter().flat_map(BTreeMap::keys).map(|(emoji, _)| &**emoji);
        all.filter(|other| *other != emoji).collect::<BTreeSet<_>>().len()
    }

    pub(super) fn view(&self, user: &UserId) -> RoomView {
        let read = self.read_marks.get(user).copied().unwrap_or_default();
        let unread = |event: &&Event| match &event.body {
            EventBody::Message(message) => event.from != *user && !message.is_deleted(),
            _ => false,
        };
        let count = self.events.range(read.next()..).map(|(_, event)| event).filter(unread);
        let unread = (0..UNREAD_MAX).zip(count).count() as u64;
        RoomView { room: self.record.clone(), standing: self.standing(user), read, unread }
    }

    pub(super) fn members(&self, after: Option<&UserId>, limit: usize) -> Vec<Member> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let people = self.people.range::<UserId, _>((after, Bound::Unbounded));
        let members = people.filter_map(|(user, person)| match person.standing {
            Standing::Member(role) => Some(Member { user: user.clone(), role }),
            Standing::Outsider | Standing::Banned => None,
        });
        members.take(limit).collect()
    }
}
