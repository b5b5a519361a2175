//! From what somebody asks for to what is committed: the policy and the limits, in one place for all ways in.

use crate::{
    ids::RoomId,
    limits::{Limits, NAME_BYTES_MAX, STATE_BYTES_MAX, TOPIC_BYTES_MAX},
    policy::{Policy, Touch},
    protocol::{
        CommandError, RoomCommand, RoomPatch,
        command::check_emoji,
        draft::{check_label, check_text},
    },
    rights::Identity,
    store::Change,
};

/// What a command changes in the timeline.
///
/// # Errors
/// What the policy or the limits say against it; `invalid` for a command that changes nothing.
pub(crate) fn change_of(
    policy: &dyn Policy,
    limits: &Limits,
    who: &Identity,
    room: &RoomId,
    command: RoomCommand,
) -> Result<Change, CommandError> {
    match command {
        RoomCommand::Send(draft) => {
            draft.check(limits)?;
            let draft = policy.may_send(who, room, draft)?;
            draft.check(limits)?;
            Ok(Change::Message(draft))
        }
        RoomCommand::Edit { target, text } => {
            check_text(&text, limits)?;
            policy.may_touch(who, room, Touch::Edit(&text))?;
            Ok(Change::Edit { target, text })
        }
        RoomCommand::Delete { target } => {
            policy.may_touch(who, room, Touch::Delete)?;
            Ok(Change::Delete { target })
        }
        RoomCommand::React { target, emoji, remove } => {
            check_emoji(&emoji, limits.emoji_bytes)?;
            policy.may_touch(who, room, Touch::React(&emoji))?;
            Ok(Change::React { target, emoji, remove })
        }
        RoomCommand::Join { .. }
        | RoomCommand::Leave
        | RoomCommand::Read { .. }
        | RoomCommand::Typing
        | RoomCommand::History(_) => Err(CommandError::invalid("type", "this command changes nothing")),
    }
}

/// Holds a room's name against its limit.
///
/// # Errors
/// `invalid` or `too_large`.
pub(crate) fn check_name(name: &str) -> Result<(), CommandError> {
    check_label("name", name, NAME_BYTES_MAX)
}

/// Holds what is to be new about a room against the limits.
///
/// # Errors
/// `invalid` or `too_large`.
pub(crate) fn check_patch(patch: &RoomPatch) -> Result<(), CommandError> {
    patch.name.as_deref().map_or(Ok(()), check_name)?;
    if let Some(topic) = patch.topic.as_deref().filter(|topic| !topic.is_empty()) {
        check_label("topic", topic, TOPIC_BYTES_MAX)?;
    }
    match &patch.state {
        Some(state) if state.as_str().len() > STATE_BYTES_MAX => {
            Err(CommandError::too_large("state", STATE_BYTES_MAX))
        }
        _ => Ok(()),
    }
}
