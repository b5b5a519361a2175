//! What a service does with rooms beside a connection: behind an HTTP API, in a job, in a test.

use super::Engine;
use crate::{
    bus::Notice,
    committer::{ReplyTo, Submission, refused},
    driver::{publish, random, to_the_end},
    hub::{DIRECT_PREFIX, Job, read_history},
    ids::{Epoch, RoomId, Seq, UserId},
    protocol::{Ack, CommandError, Draft, ErrorCode, HistoryPage, HistoryQuery, RoomCommand, RoomPatch},
    request::{change_of, check_name, check_patch},
    rights::{Identity, Role, Standing, Visibility},
    store::{Append, Appended, Change, Created, Member, NewRoom, Require, RoomKind, RoomView},
};

/// A room as its maker wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomDraft {
    /// Its id; drawn at random where not given. A direct room's follows from its two members.
    pub id: Option<RoomId>,
    /// Its name to show; the id where not given.
    pub name: Option<Box<str>>,
    /// What it is about.
    pub topic: Box<str>,
    /// Who may come in. A direct room is private.
    pub visibility: Visibility,
    /// The other member of a direct room.
    pub with: Option<UserId>,
}

impl RoomDraft {
    /// A room for any number of members.
    pub fn group(visibility: Visibility) -> Self {
        Self { id: None, name: None, topic: "".into(), visibility, with: None }
    }

    /// The room of two users: there is one for each pair.
    pub fn direct(with: UserId) -> Self {
        Self { with: Some(with), ..Self::group(Visibility::Private) }
    }

    /// The same under this id.
    #[must_use]
    pub fn id(mut self, id: RoomId) -> Self {
        self.id = Some(id);
        self
    }

    /// The same with this name to show.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The same about this.
    #[must_use]
    pub fn topic(mut self, topic: &str) -> Self {
        self.topic = topic.into();
        self
    }
}

/// What became of a [`RoomDraft`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewRoomOutcome {
    /// It was made.
    New(RoomView),
    /// The direct room of these two was there.
    Exists(RoomView),
}

/// Rooms of one store; the engine's own tables and indexes keep pace with many more than one machine's users make.
const ROOMS_MAX: u64 = 1 << 40;

impl Engine {
    /// Makes a room. Its maker is its first member, as a manager; the other member of a direct room is so too.
    ///
    /// # Errors
    /// `invalid` or `too_large` for a field, `conflict` where a room of this id is there, `forbidden` by the policy.
    ///
    /// # Cancel safety
    /// A dropped call may still have made the room.
    pub async fn create_room(
        &self,
        who: &Identity,
        draft: RoomDraft,
    ) -> Result<NewRoomOutcome, CommandError> {
        let direct = draft.with.is_some();
        let new = self.new_room(who, draft)?;
        self.inner.hub.policy.may_manage(who, &new.id, None)?;
        let id = new.id.clone();
        let created = self.inner.store.create_room(new, ROOMS_MAX).await?;
        match created {
            Created::New(_) => Ok(NewRoomOutcome::New(self.room(who, &id).await?)),
            Created::Exists(room) if direct && room.kind == RoomKind::Direct => {
                Ok(NewRoomOutcome::Exists(self.room(who, &id).await?))
            }
            Created::Exists(_) => Err(CommandError::new(ErrorCode::Conflict, "there is a room of this id")),
            Created::Full => {
                Err(CommandError::new(ErrorCode::Forbidden, "there are as many rooms as are allowed"))
            }
        }
    }

    fn new_room(&self, who: &Identity, draft: RoomDraft) -> Result<NewRoom, CommandError> {
        if let Some(name) = &draft.name {
            check_name(name)?;
        }
        check_patch(&RoomPatch { topic: Some(draft.topic.clone()), ..RoomPatch::default() })?;
        let mut members = vec![(who.user.clone(), Role::Manager)];
        let id = match (&draft.with, draft.id) {
            (Some(with), None) if *with == who.user => {
                return Err(CommandError::invalid("with", "must be another user"));
            }
            (Some(with), None) => {
                members.push((with.clone(), Role::Manager));
                direct_id(&who.user, with)?
            }
            (Some(_), Some(_)) => {
                return Err(CommandError::invalid("id", "a direct room has none to choose"));
            }
            (None, Some(id)) if id.as_str().starts_with(DIRECT_PREFIX) => {
                return Err(CommandError::invalid("id", "only direct rooms begin like this"));
            }
            (None, Some(id)) => id,
            (None, None) => room_id(&format!("{:032x}", random()))?,
        };
        Ok(NewRoom {
            name: draft.name.unwrap_or_else(|| id.as_str().into()),
            id,
            epoch: Epoch::from_random(random()),
            kind: if draft.with.is_some() { RoomKind::Direct } else { RoomKind::Group },
            visibility: draft.visibility,
            topic: draft.topic,
            creator: who.user.clone(),
            members,
            at: self.inner.clock.now().wall,
        })
    }

    /// A room as this user sees it.
    ///
    /// # Errors
    /// `not_found` where there is none for them, `unavailable` where the store does not answer.
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn room(&self, who: &Identity, room: &RoomId) -> Result<RoomView, CommandError> {
        let view = self.inner.store.room(room.clone(), who.user.clone()).await?;
        view.filter(|view| view.role(who.actor().authority).is_some()).ok_or_else(CommandError::no_such_room)
    }

    /// The rooms that this user may read: in order of ids, after `after`, at most `limit`.
    ///
    /// # Errors
    /// `unavailable` where the store does not answer.
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn rooms(
        &self,
        who: &Identity,
        after: Option<RoomId>,
        limit: usize,
    ) -> Result<Vec<RoomView>, CommandError> {
        Ok(self.inner.store.rooms(who.user.clone(), after, limit).await?)
    }

    /// Changes a room's name, topic or visibility, where the user manages it.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `invalid`, `too_large`, `unavailable`.
    ///
    /// # Cancel safety
    /// A dropped call may still be committed.
    pub async fn update_room(
        &self,
        who: &Identity,
        room: &RoomId,
        patch: RoomPatch,
    ) -> Result<Ack, CommandError> {
        check_patch(&patch)?;
        let view = self.room(who, room).await?;
        self.inner.hub.policy.may_manage(who, room, None)?;
        self.append(who, &view, Change::Room(patch)).await
    }

    /// Deletes a room with all its events, where the user manages it. Everybody in it leaves.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `unavailable`.
    ///
    /// # Cancel safety
    /// A dropped call may still delete it.
    pub async fn delete_room(&self, who: &Identity, room: &RoomId) -> Result<(), CommandError> {
        let no = self.room(who, room).await?.room.no;
        self.inner.hub.policy.may_manage(who, room, None)?;
        let (inner, actor, room) = (self.inner.clone(), who.actor(), room.clone());
        let deleted = to_the_end(async move {
            let deleted = inner.store.delete_room(no, actor).await;
            match &deleted {
                Ok(Ok(())) => {
                    inner.hub.handle_deleted(&room, no);
                    publish(inner.bus.as_ref(), Notice::Deleted { room, no });
                }
                Ok(Err(_)) => {}
                // It may be gone all the same: who is in it hears so when the store answers.
                Err(_) => inner.hub.ask(Job::Ends(vec![no])),
            }
            deleted
        });
        deleted.await.ok_or_else(CommandError::unavailable)??.map_err(refused)
    }

    /// Members of a room in order of ids, after `after`, at most `limit`.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn members(
        &self,
        who: &Identity,
        room: &RoomId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<Member>, CommandError> {
        let no = self.room(who, room).await?.room.no;
        Ok(self.inner.store.members(no, after, limit).await?)
    }

    /// Gives `user` another standing in a room: a role, none, or a ban.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `unavailable`.
    ///
    /// # Cancel safety
    /// A dropped call may still be committed.
    pub async fn set_member(
        &self,
        who: &Identity,
        room: &RoomId,
        user: &UserId,
        standing: Standing,
    ) -> Result<Ack, CommandError> {
        let view = self.room(who, room).await?;
        self.inner.hub.policy.may_manage(who, room, Some(user))?;
        self.append(who, &view, Change::Member { user: user.clone(), standing }).await
    }

    /// Says something without a connection: it is committed when this resolves.
    ///
    /// # Errors
    /// As [`LocalSession::send`](super::LocalSession::send).
    ///
    /// # Cancel safety
    /// A dropped call may still be committed; a second one with the same key commits nothing twice.
    pub async fn send(&self, who: &Identity, room: &RoomId, draft: Draft) -> Result<Ack, CommandError> {
        let view = self.room(who, room).await?;
        let hub = &self.inner.hub;
        let change = change_of(&*hub.policy, &hub.limits, who, room, RoomCommand::Send(draft))?;
        self.append(who, &view, change).await
    }

    /// Reads a page of a room's timeline.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn history(
        &self,
        who: &Identity,
        room: &RoomId,
        query: &HistoryQuery,
    ) -> Result<HistoryPage, CommandError> {
        read_history(&*self.inner.store, self.limits(), who, room, query).await
    }

    /// Drops a room's events before `first`, which then is the oldest kept: for retention. The embedding service
    /// decides; no user's rights are asked.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    ///
    /// # Cancel safety
    /// A dropped call may still have dropped them.
    pub async fn trim(&self, room: &RoomId, first: Seq) -> Result<Seq, CommandError> {
        let nobody = UserId::new("-").map_err(|e| CommandError::invalid("user", &e.to_string()))?;
        let view =
            self.inner.store.room(room.clone(), nobody).await?.ok_or_else(CommandError::no_such_room)?;
        let kept =
            self.inner.store.trim(view.room.no, first).await?.ok_or_else(CommandError::no_such_room)?;
        self.inner.hub.handle_trimmed(view.room.no, kept);
        Ok(kept)
    }

    async fn append(&self, who: &Identity, view: &RoomView, change: Change) -> Result<Ack, CommandError> {
        let (caller, outcome) = tokio::sync::oneshot::channel();
        let now = self.inner.clock.now();
        let append = Append {
            room: view.room.no,
            actor: who.actor(),
            at: now.wall,
            change,
            require: Require::default(),
        };
        self.inner
            .hub
            .submit(now, Submission { append, received: now.mono, reply_to: ReplyTo::Caller(caller) })?;
        // The committer answers everything that it takes; only an engine that is going away drops an answer.
        let appended = outcome.await.unwrap_or_else(|_| Err(CommandError::unavailable()))?;
        let room = view.room.id.clone();
        Ok(match appended {
            Appended::New(committed) => {
                Ack { room, seq: committed.event().seq, at: committed.event().at, duplicate: false }
            }
            Appended::Duplicate { seq, at } => Ack { room, seq, at, duplicate: true },
        })
    }
}

fn room_id(text: &str) -> Result<RoomId, CommandError> {
    RoomId::new(text).map_err(|e| CommandError::invalid("id", &e.to_string()))
}

/// The id of the room of two users, the same whoever asks.
///
/// Two ids of 64 characters do not fit into one, so it is a hash of the two: FNV-1a with 128 bits
/// (<http://www.isthe.com/chongo/tech/comp/fnv/>), which is stable and needs to be no secret. A dot cannot stand in
/// for the separator, as ids hold dots: a NUL can.
fn direct_id(one: &UserId, other: &UserId) -> Result<RoomId, CommandError> {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    let bytes = low.as_str().bytes().chain([0]).chain(high.as_str().bytes());
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    room_id(&format!("{DIRECT_PREFIX}{hash:032x}"))
}
