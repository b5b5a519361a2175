//! The columns of an event: what every store keeps beside its room, number, time, author and kind.

use chat_core::{
    ids::Seq,
    protocol::{EventBody, Json, MemberChange},
    rights::Role,
};

/// What of an event differs from kind to kind.
#[derive(Default)]
pub(crate) struct Parts<'a> {
    /// The message that is answered, edited, deleted or reacted to.
    pub(crate) target: Option<Seq>,
    /// Of a message.
    pub(crate) key: Option<&'a str>,
    /// Of a message or an edit.
    pub(crate) text: Option<&'a str>,
    /// Of a message: JSON.
    pub(crate) meta: Option<&'a str>,
    /// Of a reaction the emoji, of a change of membership the user.
    pub(crate) subject: Option<&'a str>,
    /// What a reaction or a change of membership did.
    pub(crate) change: Option<&'static str>,
    /// The role that a change of membership gave.
    pub(crate) role: Option<Role>,
}

impl<'a> Parts<'a> {
    pub(crate) fn of(body: &'a EventBody) -> Self {
        let none = Self { target: body.target(), ..Self::default() };
        match body {
            EventBody::Message(message) => Self {
                target: message.reply_to,
                key: message.key.as_deref(),
                text: message.text.as_deref(),
                meta: message.meta.as_ref().map(Json::as_str),
                ..none
            },
            EventBody::Edited { text, .. } => Self { text: text.as_deref(), ..none },
            EventBody::Reaction { emoji, remove, .. } => {
                Self { subject: Some(emoji), change: Some(if *remove { "removed" } else { "set" }), ..none }
            }
            EventBody::Member { user, change } => {
                let (change, role) = match change {
                    MemberChange::Added(role) => ("added", Some(*role)),
                    MemberChange::Role(role) => ("role", Some(*role)),
                    MemberChange::Removed => ("removed", None),
                    MemberChange::Banned => ("banned", None),
                };
                Self { subject: Some(user.as_str()), change: Some(change), role, ..none }
            }
            // A change of the room stands in a table of its own.
            _ => none,
        }
    }
}

/// Whether a reaction took itself back; `None` where [`Parts::change`] says no such thing.
pub(crate) fn removes(change: &str) -> Option<bool> {
    match change {
        "set" => Some(false),
        "removed" => Some(true),
        _ => None,
    }
}

/// What [`Parts::change`] and [`Parts::role`] say of a membership.
pub(crate) fn member_change(change: &str, role: Option<Role>) -> Option<MemberChange> {
    match (change, role) {
        ("added", Some(role)) => Some(MemberChange::Added(role)),
        ("role", Some(role)) => Some(MemberChange::Role(role)),
        ("removed", None) => Some(MemberChange::Removed),
        ("banned", None) => Some(MemberChange::Banned),
        _ => None,
    }
}
