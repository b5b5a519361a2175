//! Commands, as they come in.

use chat_core::{
    ErrorCode,
    ids::SAFE_INTEGER_MAX,
    protocol::{Command, Request, RoomCommand},
};
use serde_json::Value;

/// Reads the bytes as one command and compares what comes out with what a plain JSON reader sees.
///
/// # Panics
/// Where the two differ, or a refusal is of a kind that reading cannot have.
pub fn decode(data: &[u8]) {
    // A transport refuses anything else before it comes here.
    let Ok(text) = std::str::from_utf8(data) else { return };
    let plain = serde_json::from_str::<Value>(text);
    match (Request::decode(text), plain) {
        (Ok(request), Ok(plain)) => check(text, &request, &plain),
        (Ok(request), Err(error)) => panic!("{request:?} was read from what is no JSON: {error}"),
        (Err(bad), plain) => {
            let kind = bad.error.code;
            let kinds = [ErrorCode::BadJson, ErrorCode::UnknownCommand, ErrorCode::Invalid];
            assert!(kinds.contains(&kind), "{kind} is no error of reading");
            assert_eq!(bad.error.retry_after_ms, None, "the same again is refused again");
            assert!(plain.is_ok() || kind == ErrorCode::BadJson, "{kind} for what is no JSON");
            assert!(kind != ErrorCode::BadJson || bad.id.is_none(), "an id in what cannot be read");
        }
    }
}

fn check(text: &str, request: &Request, plain: &Value) {
    assert!(plain.is_object(), "a command is an object");
    assert_eq!(request.id, plain["id"].as_u64(), "the id");
    assert!(request.id.is_none_or(|id| id <= SAFE_INTEGER_MAX), "an id that not every reader keeps");
    let (room, command) = match &request.command {
        Command::InRoom(room, command) => (room, command),
        Command::Auth(token) => {
            return assert_eq!((&plain["type"], &plain["token"]), (&"auth".into(), &token.expose().into()));
        }
        _ => return assert_eq!(plain["type"], "ping"),
    };
    assert_eq!(plain["room"], room.as_str(), "the room");
    let (kind, same) = match command {
        RoomCommand::Join { after, epoch } => (
            "join",
            plain["after"].as_u64() == after.map(|after| after.0)
                && plain["epoch"].as_str() == epoch.as_ref().map(chat_core::ids::Epoch::as_str),
        ),
        RoomCommand::Leave => ("leave", true),
        RoomCommand::Send(draft) => (
            "send",
            plain["text"] == *draft.text
                && plain["key"].as_str() == draft.key.as_deref()
                && plain["reply_to"].as_u64() == draft.reply_to.map(|target| target.0)
                // Byte for byte, whatever it is.
                && draft.meta.as_ref().is_none_or(|meta| text.contains(meta.as_str())),
        ),
        RoomCommand::Edit { target, text } => {
            ("edit", plain["target"].as_u64() == Some(target.0) && plain["text"] == **text)
        }
        RoomCommand::Delete { target } => ("delete", plain["target"].as_u64() == Some(target.0)),
        RoomCommand::React { target, emoji, remove } => (
            "react",
            plain["target"].as_u64() == Some(target.0)
                && plain["emoji"] == **emoji
                && plain["remove"].as_bool().unwrap_or(false) == *remove,
        ),
        RoomCommand::Read { seq } => ("read", plain["seq"].as_u64() == Some(seq.0)),
        RoomCommand::Typing => ("typing", true),
        RoomCommand::History(query) => {
            ("history", plain["limit"].as_u64() == query.limit.map(|limit| limit as u64))
        }
        _ => return,
    };
    assert_eq!(plain["type"], kind);
    assert!(same, "{command:?} was read from {text}");
}
