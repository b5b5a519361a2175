//! The rules of a timeline, applied by every store inside its transaction.
//!
//! A store looks facts up; [`judge`] decides. What is accepted the store writes down before it judges the next item of
//! the batch, so that each item sees those before it.

use super::{Append, Appended, Change, Committed, Refused};
use crate::{
    ids::{RoomId, RoomNo, Seq, Timestamp, UserId},
    limits::EMOJIS_MAX,
    protocol::{Draft, Event, EventBody, MemberChange, Message, RoomPatch},
    rights::{Authority, Role, Standing, Visibility, role_in_room},
};

/// What a rule may need to know of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomFacts {
    /// Its id.
    pub id: RoomId,
    /// Who may come in.
    pub visibility: Visibility,
    /// Its version.
    pub version: u64,
    /// The oldest event that is kept.
    pub first_seq: Seq,
    /// The newest event.
    pub last_seq: Seq,
}

/// What a rule may need to know of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFacts {
    /// Who wrote it.
    pub author: UserId,
    /// When it was committed.
    pub at: Timestamp,
    /// Its text as it now is; `None` once deleted.
    pub text: Option<Box<str>>,
    /// Its newest `edited` event, if any.
    pub edited: Option<(Seq, Timestamp)>,
}

/// What a rule may need to know of one user's reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReactionFacts {
    /// The newest `reaction` event of this user and emoji under this message.
    pub seq: Seq,
    /// When it was committed.
    pub at: Timestamp,
    /// Whether it took the reaction back.
    pub removed: bool,
}

/// Looks things up inside a store's open transaction, in the state that the items before have left.
pub trait Facts {
    /// Why a look-up fails.
    type Error;

    /// The room; `None` where there is none.
    ///
    /// # Errors
    /// The store's own.
    fn room(&mut self, room: RoomNo) -> Result<Option<RoomFacts>, Self::Error>;

    /// What a user is to the room.
    ///
    /// # Errors
    /// The store's own.
    fn standing(&mut self, room: RoomNo, user: &UserId) -> Result<Standing, Self::Error>;

    /// The message that `author` sent with `key`, if any is kept, deleted or not.
    ///
    /// # Errors
    /// The store's own.
    fn key(
        &mut self,
        room: RoomNo,
        author: &UserId,
        key: &str,
    ) -> Result<Option<(Seq, Timestamp)>, Self::Error>;

    /// The message of this number; `None` where there is no event, or one of another kind.
    ///
    /// # Errors
    /// The store's own.
    fn message(&mut self, room: RoomNo, seq: Seq) -> Result<Option<MessageFacts>, Self::Error>;

    /// What `user` last did with `emoji` under message `target`.
    ///
    /// # Errors
    /// The store's own.
    fn reaction(
        &mut self,
        room: RoomNo,
        target: Seq,
        user: &UserId,
        emoji: &str,
    ) -> Result<Option<ReactionFacts>, Self::Error>;

    /// How many emojis other than this one ever stood under message `target`, taken back or not.
    ///
    /// # Errors
    /// The store's own.
    fn other_emojis(&mut self, room: RoomNo, target: Seq, emoji: &str) -> Result<usize, Self::Error>;

    /// What is new in `patch` for the room: the same, less what the room already has.
    ///
    /// # Errors
    /// The store's own.
    fn news(&mut self, room: RoomNo, patch: &RoomPatch) -> Result<RoomPatch, Self::Error>;
}

/// What is to be done with an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is refused.
    Refuse(Refused),
    /// Nothing: it is there already.
    Duplicate {
        /// The earlier event.
        seq: Seq,
        /// When that was committed.
        at: Timestamp,
    },
    /// Write this event, whose number is `last_seq` + 1, and what follows from it.
    Accept(Event),
}

impl Verdict {
    /// The outcome to report once the transaction is committed.
    ///
    /// # Errors
    /// The refusal, where it is one.
    pub fn into_outcome(self, room: RoomNo) -> Result<Appended, Refused> {
        match self {
            Self::Refuse(refused) => Err(refused),
            Self::Duplicate { seq, at } => Ok(Appended::Duplicate { seq, at }),
            Self::Accept(event) => Ok(Appended::New(Committed::new(room, event))),
        }
    }
}

enum Decision {
    Accept(EventBody),
    Duplicate(Seq, Timestamp),
}

type Judged<E> = Result<Result<Decision, Refused>, E>;

struct Case<'a, F> {
    facts: &'a mut F,
    item: &'a Append,
    room: &'a RoomFacts,
    role: Role,
}

/// Judges one item.
///
/// In this order: the room exists for the actor ([`Refused::NoRoom`]); the required role ([`Refused::Forbidden`]); a
/// key that is taken (duplicate); the required version ([`Refused::Conflict`]); the rules of the change itself:
///
/// - a message may answer any message that is kept;
/// - an edit needs one's own message, not deleted; the text it already has is a duplicate;
/// - a deletion needs one's own message or a manager;
/// - a reaction needs a message, not deleted; one that is already so is a duplicate of what made it so; a new emoji under
///   a message that had [`EMOJIS_MAX`] others is too much ([`Refused::TooMany`]);
/// - a membership is changed by a manager, never beyond one's own role, neither that of a higher one; everybody may
///   leave; a standing that one already has is a duplicate of the room's newest event;
/// - the room is changed by a manager; what changes nothing is a duplicate of the room's newest event.
///
/// # Errors
/// What a look-up fails with.
pub fn judge<F: Facts>(facts: &mut F, item: &Append) -> Result<Verdict, F::Error> {
    let Some(room) = facts.room(item.room)? else { return Ok(Verdict::Refuse(Refused::NoRoom)) };
    let standing = facts.standing(item.room, &item.actor.user)?;
    let Some(role) = role_in_room(room.visibility, standing, item.actor.authority) else {
        return Ok(Verdict::Refuse(Refused::NoRoom));
    };
    let decision = Case { facts, item, room: &room, role }.decide()?;
    Ok(match decision {
        Err(refused) => Verdict::Refuse(refused),
        Ok(Decision::Duplicate(seq, at)) => Verdict::Duplicate { seq, at },
        Ok(Decision::Accept(body)) => Verdict::Accept(Event {
            room: room.id,
            seq: room.last_seq.next(),
            at: item.at,
            from: item.actor.user.clone(),
            body,
        }),
    })
}

impl<F: Facts> Case<'_, F> {
    fn decide(&mut self) -> Judged<F::Error> {
        let item = self.item;
        if self.role < item.require.role {
            return Ok(Err(Refused::Forbidden));
        }
        if let Change::Message(Draft { key: Some(key), .. }) = &item.change
            && let Some((seq, at)) = self.facts.key(item.room, &item.actor.user, key)?
        {
            return Ok(Ok(Decision::Duplicate(seq, at)));
        }
        if item.require.version.is_some_and(|version| version != self.room.version) {
            return Ok(Err(Refused::Conflict(self.room.version)));
        }
        match &item.change {
            Change::Message(draft) => self.message(draft),
            Change::Edit { target, text } => self.edit(*target, text),
            Change::Delete { target } => self.delete(*target),
            Change::React { target, emoji, remove } => self.react(*target, emoji, *remove),
            Change::Member { user, standing } => self.member(user, *standing),
            Change::Room(patch) => self.patch(patch),
        }
    }

    /// The message, where it is kept and not deleted.
    fn target(&mut self, target: Seq) -> Result<Option<MessageFacts>, F::Error> {
        let message = self.facts.message(self.item.room, target)?;
        Ok(message.filter(|message| message.text.is_some()))
    }

    fn message(&mut self, draft: &Draft) -> Judged<F::Error> {
        if let Some(target) = draft.reply_to
            && self.facts.message(self.item.room, target)?.is_none()
        {
            return Ok(Err(Refused::NoTarget));
        }
        Ok(Ok(Decision::Accept(EventBody::Message(Message {
            text: Some(draft.text.clone()),
            key: draft.key.clone(),
            reply_to: draft.reply_to,
            meta: draft.meta.clone(),
            ..Message::default()
        }))))
    }

    fn edit(&mut self, target: Seq, text: &str) -> Judged<F::Error> {
        let Some(message) = self.target(target)? else { return Ok(Err(Refused::NoTarget)) };
        if message.author != self.item.actor.user {
            return Ok(Err(Refused::Forbidden));
        }
        if message.text.as_deref() == Some(text) {
            let (seq, at) = message.edited.unwrap_or((target, message.at));
            return Ok(Ok(Decision::Duplicate(seq, at)));
        }
        Ok(Ok(Decision::Accept(EventBody::Edited { target, text: Some(text.into()) })))
    }

    fn delete(&mut self, target: Seq) -> Judged<F::Error> {
        let Some(message) = self.target(target)? else { return Ok(Err(Refused::NoTarget)) };
        if message.author != self.item.actor.user && self.role < Role::Manager {
            return Ok(Err(Refused::Forbidden));
        }
        Ok(Ok(Decision::Accept(EventBody::Deleted { target })))
    }

    fn react(&mut self, target: Seq, emoji: &str, remove: bool) -> Judged<F::Error> {
        let Some(message) = self.target(target)? else { return Ok(Err(Refused::NoTarget)) };
        let last = self.facts.reaction(self.item.room, target, &self.item.actor.user, emoji)?;
        Ok(Ok(match last {
            Some(last) if last.removed == remove => Decision::Duplicate(last.seq, last.at),
            // There never was one: it has been away since the message came.
            None if remove => Decision::Duplicate(target, message.at),
            None if self.facts.other_emojis(self.item.room, target, emoji)? >= EMOJIS_MAX => {
                return Ok(Err(Refused::TooMany));
            }
            _ => Decision::Accept(EventBody::Reaction { target, emoji: emoji.into(), remove }),
        }))
    }

    fn member(&mut self, user: &UserId, standing: Standing) -> Judged<F::Error> {
        let before = self.facts.standing(self.item.room, user)?;
        let leaves = *user == self.item.actor.user && standing == Standing::Outsider;
        let within = |standing| !matches!(standing, Standing::Member(role) if role > self.role);
        let manages = self.role >= Role::Manager && within(before) && within(standing);
        if !leaves && !manages {
            return Ok(Err(Refused::Forbidden));
        }
        let change = match (before, standing) {
            _ if before == standing => return Ok(Ok(self.nothing_new())),
            (Standing::Member(_), Standing::Member(role)) => MemberChange::Role(role),
            (_, Standing::Member(role)) => MemberChange::Added(role),
            (_, Standing::Outsider) => MemberChange::Removed,
            (_, Standing::Banned) => MemberChange::Banned,
        };
        Ok(Ok(Decision::Accept(EventBody::Member { user: user.clone(), change })))
    }

    fn patch(&mut self, patch: &RoomPatch) -> Judged<F::Error> {
        let host = self.item.actor.authority == Authority::Host;
        if self.role < Role::Manager || (patch.state.is_some() && !host) {
            return Ok(Err(Refused::Forbidden));
        }
        let news = self.facts.news(self.item.room, patch)?;
        if news == RoomPatch::default() {
            return Ok(Ok(self.nothing_new()));
        }
        Ok(Ok(Decision::Accept(EventBody::Room(news))))
    }

    fn nothing_new(&self) -> Decision {
        Decision::Duplicate(self.room.last_seq, self.item.at)
    }
}

/// What is new in `patch` for a room that has these values: for implementations of [`Facts::news`].
pub fn news(patch: &RoomPatch, today: &RoomPatch) -> RoomPatch {
    fn new<T: Clone + PartialEq>(patch: Option<&T>, today: Option<&T>) -> Option<T> {
        patch.filter(|value| Some(*value) != today).cloned()
    }
    RoomPatch {
        name: new(patch.name.as_ref(), today.name.as_ref()),
        topic: new(patch.topic.as_ref(), today.topic.as_ref()),
        visibility: new(patch.visibility.as_ref(), today.visibility.as_ref()),
        state: new(patch.state.as_ref(), today.state.as_ref()),
    }
}
