//! The embedding service's own rules, on top of the built-in rights.

use std::{borrow::Cow, fmt};

use crate::{
    ids::{RoomId, UserId},
    protocol::{CommandError, Draft, ErrorCode},
    rights::Identity,
};

/// A policy's no; the sender gets it as `forbidden`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Denied {
    reason: Cow<'static, str>,
}

impl Denied {
    /// A no with one plain sentence for the user.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into() }
    }
}

impl From<Denied> for CommandError {
    fn from(denied: Denied) -> Self {
        Self::new(ErrorCode::Forbidden, denied.reason)
    }
}

/// What a user is about to do to a message that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Touch<'a> {
    /// Give it this text.
    Edit(&'a str),
    /// Delete it.
    Delete,
    /// Put this emoji under it, or take it back.
    React(&'a str),
}

/// Hooks that are asked before anything is committed.
///
/// # Contract
/// The built-in rights are judged all the same, in the store's transaction; a policy can only refuse more, and change
/// drafts. Its methods run on the connection's own task: they must not block. They may be called again for the same
/// draft when a client sends it again.
pub trait Policy: Send + Sync + fmt::Debug + 'static {
    /// May this user attach to the room?
    ///
    /// # Errors
    /// [`Denied`] refuses.
    fn may_join(&self, who: &Identity, room: &RoomId) -> Result<(), Denied> {
        let _ = (who, room);
        Ok(())
    }

    /// May this user say this? What comes back is what is committed.
    ///
    /// # Errors
    /// [`Denied`] refuses.
    fn may_send(&self, who: &Identity, room: &RoomId, draft: Draft) -> Result<Draft, Denied> {
        let _ = (who, room);
        Ok(draft)
    }

    /// May this user change a message, or what stands under it?
    ///
    /// # Errors
    /// [`Denied`] refuses.
    fn may_touch(&self, who: &Identity, room: &RoomId, touch: Touch<'_>) -> Result<(), Denied> {
        let _ = (who, room, touch);
        Ok(())
    }

    /// May this user change the membership of another, or the room itself (`None`)?
    ///
    /// # Errors
    /// [`Denied`] refuses.
    fn may_manage(&self, who: &Identity, room: &RoomId, member: Option<&UserId>) -> Result<(), Denied> {
        let _ = (who, room, member);
        Ok(())
    }
}

/// The policy that refuses nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct AllowAll;

impl Policy for AllowAll {}
