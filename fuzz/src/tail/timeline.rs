//! What is true: everything that was ever committed, in a list.

use chat_core::{
    Role, RoomId, Seq, UserId,
    ids::{Epoch, RoomNo, Timestamp},
    protocol::{Event, EventBody, Json, MemberChange, Message, RoomPatch},
    rights::{Authority, Standing, Visibility},
    store::{Page, RoomKind, RoomRecord, RoomView},
};

use crate::fields::Fields;

/// Events that are there before the room comes into memory, at most.
const BEFORE_MAX: u64 = 8;

/// A store of one room.
pub(super) struct Timeline {
    visibility: Visibility,
    /// Each event as it was committed, and so as it is told.
    log: Vec<Event>,
    /// Each event as the store has it now.
    store: Vec<Event>,
    told: usize,
    first: u64,
}

/// Whether the store lets this user in.
pub(super) fn allows(view: &RoomView) -> bool {
    view.role(Authority::User(Role::Member)).is_some()
}

impl Timeline {
    pub(super) fn new(visibility: &str, before: u64) -> Self {
        let visibility = if visibility == "private" { Visibility::Private } else { Visibility::Public };
        let mut timeline = Self { visibility, log: Vec::new(), store: Vec::new(), told: 0, first: 1 };
        for _ in 0..before.min(BEFORE_MAX) {
            timeline.commit("say", &mut Fields::of("ann|before"));
        }
        timeline.told = timeline.log.len();
        timeline
    }

    pub(super) const fn last(&self) -> u64 {
        self.log.len() as u64
    }

    /// Commits what a line says, where it says something that can be.
    pub(super) fn commit(&mut self, kind: &str, fields: &mut Fields<'_>) {
        let who = |fields: &mut Fields<'_>| UserId::new(&fields.text()).ok();
        let member = |user: Option<UserId>, change| user.map(|user| EventBody::Member { user, change });
        let room = |patch| Some(EventBody::Room(patch));
        let from = match kind {
            "say" | "edit" | "delete" | "react" => who(fields),
            _ => None,
        };
        let body = match kind {
            "say" => {
                let text = fields.given();
                let meta = fields.given().and_then(|text| Json::parse(&text).ok());
                text.map(|text| EventBody::Message(Message { text: Some(text), meta, ..Message::default() }))
            }
            "edit" => {
                let (target, text) = (fields.number(), fields.given());
                self.message(target)
                    .and(text)
                    .map(|text| EventBody::Edited { target: Seq(target), text: Some(text) })
            }
            "delete" => {
                let target = fields.number();
                self.message(target).map(|_| EventBody::Deleted { target: Seq(target) })
            }
            "react" => {
                let target = fields.number();
                let react = |emoji| EventBody::Reaction { target: Seq(target), emoji, remove: false };
                self.message(target).map(|_| react(fields.text()))
            }
            "add" => member(who(fields), MemberChange::Added(Role::Member)),
            "remove" => member(who(fields), MemberChange::Removed),
            "ban" => member(who(fields), MemberChange::Banned),
            "public" => room(RoomPatch { visibility: Some(Visibility::Public), ..RoomPatch::default() }),
            "private" => room(RoomPatch { visibility: Some(Visibility::Private), ..RoomPatch::default() }),
            "topic" => room(RoomPatch { topic: fields.given(), ..RoomPatch::default() }),
            _ => None,
        };
        if let Some(body) = body {
            let from = from.unwrap_or_else(|| UserId::new("host").expect("an id"));
            let seq = Seq(self.last() + 1);
            self.apply(&body, seq);
            let room = RoomId::new("r").expect("an id");
            let event = Event { room, seq, at: Timestamp(seq.0.cast_signed()), from, body };
            self.log.push(event.clone());
            self.store.push(event);
        }
    }

    /// A message that is there: not trimmed, not deleted.
    fn message(&mut self, seq: u64) -> Option<&mut Message> {
        let index = usize::try_from(seq.checked_sub(1)?).ok()?;
        match &mut self.store.get_mut(index).filter(|_| seq >= self.first)?.body {
            EventBody::Message(message) if !message.is_deleted() => Some(message),
            _ => None,
        }
    }

    fn apply(&mut self, body: &EventBody, seq: Seq) {
        match body {
            EventBody::Edited { target, text } => {
                let message = self.message(target.0).expect("the line was looked at");
                message.text.clone_from(text);
                message.edited_at = Some(Timestamp(seq.0.cast_signed()));
            }
            EventBody::Deleted { target } => {
                let message = self.message(target.0).expect("the line was looked at");
                (message.text, message.meta, message.edited_at) = (None, None, None);
                for event in &mut self.store {
                    match &mut event.body {
                        EventBody::Edited { target: edited, text } if edited == target => *text = None,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// What was not told yet.
    pub(super) fn tell(&mut self) -> Vec<Event> {
        let events = self.log[self.told..].to_vec();
        self.told = self.log.len();
        events
    }

    pub(super) fn lose(&mut self, number: u64) {
        let lost = usize::try_from(number).unwrap_or(usize::MAX);
        self.told = self.told.saturating_add(lost).min(self.log.len());
    }

    pub(super) fn told_from(&self, seq: u64) -> Vec<Event> {
        self.log[..self.told].iter().filter(|event| event.seq.0 >= seq).cloned().collect()
    }

    pub(super) fn trim(&mut self, first: u64) {
        self.first = self.first.max(first.min(self.last() + 1));
    }

    /// What the store has after an event.
    pub(super) fn page(&self, after: u64, limit: u64) -> Page {
        let rest = || self.store.iter().filter(|event| event.seq.0 > after && event.seq.0 >= self.first);
        let limit = usize::try_from(limit.clamp(1, 100)).expect("a small number");
        Page {
            events: rest().take(limit).cloned().collect(),
            more: rest().count() > limit,
            first_seq: Seq(self.first),
            last_seq: Seq(self.last()),
            end: None,
        }
    }

    /// The user's rights as they are now.
    pub(super) fn view(&self, user: &str) -> RoomView {
        let (standing, visibility) = self.rights(user, self.last());
        let room = RoomRecord {
            no: RoomNo(1),
            id: RoomId::new("r").expect("an id"),
            epoch: Epoch::from_text("e"),
            kind: RoomKind::Group,
            visibility,
            name: "r".into(),
            topic: "".into(),
            state: None,
            version: 0,
            first_seq: Seq(self.first),
            last_seq: Seq(self.last()),
        };
        RoomView { room, standing, read: Seq::ZERO, unread: 0 }
    }

    /// Whether the user may read at this moment of the timeline.
    pub(super) fn may_read(&self, user: &str, seq: u64) -> bool {
        match self.rights(user, seq) {
            (Standing::Member(_), _) | (Standing::Outsider, Visibility::Public) => true,
            (Standing::Banned, _) | (Standing::Outsider, Visibility::Private) => false,
        }
    }

    fn rights(&self, user: &str, seq: u64) -> (Standing, Visibility) {
        let (mut standing, mut visibility) = (Standing::Outsider, self.visibility);
        for event in self.log.iter().take_while(|event| event.seq.0 <= seq) {
            match &event.body {
                EventBody::Member { user: other, change } if other.as_str() == user => {
                    standing = match change {
                        MemberChange::Added(role) | MemberChange::Role(role) => Standing::Member(*role),
                        MemberChange::Removed => Standing::Outsider,
                        MemberChange::Banned => Standing::Banned,
                    }
                }
                EventBody::Room(patch) => visibility = patch.visibility.unwrap_or(visibility),
                _ => {}
            }
        }
        (standing, visibility)
    }
}
