//! What a client asks for: bytes become a [`Command`] once, here.

use std::{borrow::Cow, fmt};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    codes::{CommandError, ErrorCode},
    draft::{Draft, Json, check_label},
    event::EventKind,
    strict::hides_nothing,
};
use crate::ids::{Epoch, RoomId, SAFE_INTEGER_MAX, Seq};

/// A client's own number of a command; its reply carries it.
pub type CommandId = u64;

/// One command as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where given, the command gets exactly one reply, which carries it.
    pub id: Option<CommandId>,
    /// What is asked for.
    pub command: Command,
}

/// A command that could not be read, and as far as it could be read, whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRequest {
    /// The command's number, where that much could be read.
    pub id: Option<CommandId>,
    /// The room that it was about, where that much could be read: its error keeps its place among the replies there.
    pub room: Option<RoomId>,
    /// What is wrong.
    pub error: CommandError,
}

/// The commands of `chat.v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Something about one room.
    InRoom(RoomId, RoomCommand),
    /// Is anybody there?
    Ping,
    /// Says who asks. It is for the transport, which knows what tokens are worth; a session takes none.
    Auth(Token),
}

/// What proves who asks. It is kept out of logs: its `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// A token as it came.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for whoever checks it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The commands about one room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomCommand {
    /// Attach this connection.
    Join {
        /// From where to go on; without it live events only.
        after: Option<Seq>,
        /// The incarnation that `after` belongs to.
        epoch: Option<Epoch>,
    },
    /// Detach this connection.
    Leave,
    /// Say something.
    Send(Draft),
    /// Give one's message another text.
    Edit {
        /// The message.
        target: Seq,
        /// The new text.
        text: Box<str>,
    },
    /// Delete a message.
    Delete {
        /// The message.
        target: Seq,
    },
    /// Put a reaction under a message, or take it back.
    React {
        /// The message.
        target: Seq,
        /// Which one.
        emoji: Box<str>,
        /// Whether to take it back.
        remove: bool,
    },
    /// Move one's read mark forward.
    Read {
        /// The last event that was read.
        seq: Seq,
    },
    /// Tell that one is writing.
    Typing,
    /// Read a page of the timeline.
    History(HistoryQuery),
}

/// Which page of a timeline.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Where it starts, and in which direction it goes.
    pub from: HistoryFrom,
    /// Most events; `None` is as many as a page may hold. It is capped there.
    pub limit: Option<usize>,
    /// Only these kinds; all where empty.
    pub kinds: Vec<EventKind>,
}

/// Where a page starts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum HistoryFrom {
    /// The newest events.
    #[default]
    Newest,
    /// Those before this number, newest first cut.
    Before(Seq),
    /// Those after this number, oldest first cut.
    After(Seq),
}

/// The fields of all commands, found but not yet read: a wrong one can then be named.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    reply_to: Option<&'a RawValue>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    #[serde(borrow)]
    target: Option<&'a RawValue>,
    #[serde(borrow)]
    emoji: Option<&'a RawValue>,
    #[serde(borrow)]
    remove: Option<&'a RawValue>,
    #[serde(borrow)]
    seq: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    epoch: Option<&'a RawValue>,
    #[serde(borrow)]
    limit: Option<&'a RawValue>,
    #[serde(borrow)]
    kinds: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

impl RoomCommand {
    /// About how many bytes it takes: for the bound of those that wait.
    pub(crate) fn weight_bytes(&self) -> usize {
        const REST_BYTES: usize = 128;
        REST_BYTES
            + match self {
                Self::Send(draft) => {
                    let key = draft.key.as_ref().map_or(0, |key| key.len());
                    draft.text.len() + key + draft.meta.as_ref().map_or(0, |meta| meta.as_str().len())
                }
                Self::Edit { text, .. } => text.len(),
                Self::React { emoji, .. } => emoji.len(),
                Self::Join { epoch, .. } => epoch.as_ref().map_or(0, |epoch| epoch.as_str().len()),
                Self::Leave | Self::Delete { .. } | Self::Read { .. } | Self::Typing | Self::History(_) => 0,
            }
    }
}

impl Request {
    /// Reads one command from one text frame. Fields that it does not know are ignored; `null` is as good as absent.
    ///
    /// # Errors
    /// `bad_json` where the text is not one JSON object, `unknown_command` for another `type`, `invalid` where a field
    /// is missing or cannot be what it is. Lengths are checked later, by whoever knows the limits.
    pub fn decode(text: &str) -> Result<Self, BadRequest> {
        let bad_json = || BadRequest {
            id: None,
            room: None,
            error: CommandError::new(ErrorCode::BadJson, "a command is one JSON object, each field once"),
        };
        // serde_json would also take an array for the struct, field by field.
        if !text.trim_start().starts_with('{') || !hides_nothing(text) {
            return Err(bad_json());
        }
        let fields: Fields<'_> = serde_json::from_str(text).ok().ok_or_else(bad_json)?;
        let room = || fields.room().ok();
        let id = fields.id().map_err(|error| BadRequest { id: None, room: room(), error })?;
        let command = fields.command().map_err(|error| BadRequest { id, room: room(), error })?;
        Ok(Self { id, command })
    }

    /// The same as a command that could not be read: its error keeps its place among the replies of its room.
    pub fn refused(self, error: CommandError) -> BadRequest {
        let room = match self.command {
            Command::InRoom(room, _) => Some(room),
            Command::Ping | Command::Auth(_) => None,
        };
        BadRequest { id: self.id, room, error }
    }
}

impl Fields<'_> {
    fn id(&self) -> Result<Option<CommandId>, CommandError> {
        integer("id", self.id)
    }

    fn command(&self) -> Result<Command, CommandError> {
        let kind = string("type", self.kind).ok().flatten();
        let command = match kind.as_deref() {
            Some("ping") => return Ok(Command::Ping),
            Some("auth") => return self.auth(),
            Some("join") => self.join(),
            Some("leave") => Ok(RoomCommand::Leave),
            Some("send") => self.send(),
            Some("edit") => self.edit(),
            Some("delete") => Ok(RoomCommand::Delete { target: self.target()? }),
            Some("react") => self.react(),
            Some("read") => Ok(RoomCommand::Read { seq: required("seq", seq("seq", self.seq)?)? }),
            Some("typing") => Ok(RoomCommand::Typing),
            Some("history") => self.history(),
            _ => {
                return Err(CommandError::new(ErrorCode::UnknownCommand, "there is no command of this type"));
            }
        };
        Ok(Command::InRoom(self.room()?, command?))
    }

    fn auth(&self) -> Result<Command, CommandError> {
        Ok(Command::Auth(Token::new(required("token", string("token", self.token)?)?)))
    }

    fn room(&self) -> Result<RoomId, CommandError> {
        let text = required("room", string("room", self.room)?)?;
        RoomId::new(&text).map_err(|e| CommandError::invalid("room", &e.to_string()))
    }

    fn target(&self) -> Result<Seq, CommandError> {
        required("target", seq("target", self.target)?)
    }

    fn text(&self) -> Result<Box<str>, CommandError> {
        required("text", string("text", self.text)?).map(Into::into)
    }

    fn join(&self) -> Result<RoomCommand, CommandError> {
        let epoch = string("epoch", self.epoch)?.map(|text| Epoch::from_text(&text));
        Ok(RoomCommand::Join { after: seq("after", self.after)?, epoch })
    }

    fn send(&self) -> Result<RoomCommand, CommandError> {
        let mut draft = Draft::text(self.text()?);
        draft.key = string("key", self.key)?.map(Into::into);
        draft.reply_to = seq("reply_to", self.reply_to)?;
        draft.meta = match self.meta {
            Some(raw) => Some(
                Json::parse(raw.get()).ok().ok_or_else(|| CommandError::invalid("meta", "must be JSON"))?,
            ),
            None => None,
        };
        Ok(RoomCommand::Send(draft))
    }

    fn edit(&self) -> Result<RoomCommand, CommandError> {
        Ok(RoomCommand::Edit { target: self.target()?, text: self.text()? })
    }

    fn react(&self) -> Result<RoomCommand, CommandError> {
        let emoji = required("emoji", string("emoji", self.emoji)?)?.into();
        let remove = value("remove", "must be true or false", self.remove)?.unwrap_or(false);
        Ok(RoomCommand::React { target: self.target()?, emoji, remove })
    }

    fn history(&self) -> Result<RoomCommand, CommandError> {
        let from = match (seq("before", self.before)?, seq("after", self.after)?) {
            (None, None) => HistoryFrom::Newest,
            (Some(before), None) => HistoryFrom::Before(before),
            (None, Some(after)) => HistoryFrom::After(after),
            (Some(_), Some(_)) => return Err(CommandError::invalid("before", "not together with after")),
        };
        let limit = match integer("limit", self.limit)? {
            Some(0) => return Err(CommandError::invalid("limit", "must be at least 1")),
            limit => limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        };
        let kinds = value::<Vec<String>>("kinds", "must be a list of names", self.kinds)?.unwrap_or_default();
        let mut kinds = kinds.iter().map(|kind| event_kind(kind)).collect::<Result<Vec<_>, _>>()?;
        kinds.sort_unstable();
        kinds.dedup();
        Ok(RoomCommand::History(HistoryQuery { from, limit, kinds }))
    }
}

/// Reads the name of a kind of events.
///
/// # Errors
/// `invalid` with the field's name.
pub fn event_kind(name: &str) -> Result<EventKind, CommandError> {
    EventKind::parse(name).ok_or_else(|| CommandError::invalid("kinds", "there is no such kind of events"))
}

/// Holds a reaction's emoji against its limit.
///
/// # Errors
/// `invalid` or `too_large`.
pub fn check_emoji(emoji: &str, bytes_max: usize) -> Result<(), CommandError> {
    check_label("emoji", emoji, bytes_max)
}

fn value<'a, T: Deserialize<'a>>(
    field: &str,
    rule: &str,
    raw: Option<&'a RawValue>,
) -> Result<Option<T>, CommandError> {
    let parse = |raw: &'a RawValue| serde_json::from_str(raw.get()).ok();
    raw.map(|raw| parse(raw).ok_or_else(|| CommandError::invalid(field, rule))).transpose()
}

/// A string, borrowed unless something in it is escaped.
fn string<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, CommandError> {
    const RULE: &str = "must be a string";
    match raw {
        Some(raw) if raw.get().contains('\\') => Ok(value::<String>(field, RULE, Some(raw))?.map(Cow::Owned)),
        raw => Ok(value::<&str>(field, RULE, raw)?.map(Cow::Borrowed)),
    }
}

fn integer(field: &str, raw: Option<&RawValue>) -> Result<Option<u64>, CommandError> {
    let rule = "must be an integer from 0 to 2^53-1";
    match value(field, rule, raw)? {
        Some(number) if number > SAFE_INTEGER_MAX => Err(CommandError::invalid(field, rule)),
        number => Ok(number),
    }
}

fn seq(field: &str, raw: Option<&RawValue>) -> Result<Option<Seq>, CommandError> {
    Ok(integer(field, raw)?.map(Seq))
}

fn required<T>(field: &str, value: Option<T>) -> Result<T, CommandError> {
    value.ok_or_else(|| CommandError::invalid(field, "is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> (Option<u64>, ErrorCode) {
        let bad = Request::decode(text).expect_err(text);
        (bad.id, bad.error.code)
    }

    #[test]
    fn a_send_keeps_its_text_and_meta() {
        let text =
            r#"{"type":"send","id":3,"room":"r","key":"k\u0031","text":"a\u0000b","meta":{"a": 1},"x":[{}]}"#;
        let request = Request::decode(text).unwrap();
        let draft = Draft::text("a\0b").key("k1").meta(Json::parse("{\"a\": 1}").unwrap());
        assert_eq!(request.id, Some(3));
        assert_eq!(request.command, Command::InRoom(RoomId::new("r").unwrap(), RoomCommand::Send(draft)));
    }

    #[test]
    fn what_is_no_object_is_bad_json() {
        let deep = "[".repeat(100_000);
        let deep_field = format!(r#"{{"type":"ping","x":{deep}"#);
        let lone = r#"{"type":"ping","x":"\ud800"}"#;
        let lone_meta = r#"{"type":"send","room":"r","text":"a","meta":{"a":"\udfff"}}"#;
        let huge = r#"{"type":"ping","x":1e999}"#;
        let twice = r#"{"type":"ping","type":"ping"}"#;
        for bad in [
            "",
            "null",
            "[]",
            "[1,2]",
            "1",
            "{",
            r#"{"type":"#,
            &deep,
            &deep_field,
            lone,
            lone_meta,
            huge,
            twice,
        ] {
            assert_eq!(code(bad), (None, ErrorCode::BadJson), "{}", bad.get(..40).unwrap_or(bad));
        }
    }

    #[test]
    fn an_unknown_type_is_an_unknown_command() {
        for bad in
            [r#"{"id":1}"#, r#"{"id":1,"type":{}}"#, r#"{"id":1,"type":"__proto__"}"#, r#"{"id":1,"type":7}"#]
        {
            assert_eq!(code(bad), (Some(1), ErrorCode::UnknownCommand), "{bad}");
        }
    }

    #[test]
    fn numbers_are_exact_or_refused() {
        for bad in ["-1", "9007199254740992", "18446744073709551616", "1.5", "\"1\"", "1e999"] {
            let text = format!(r#"{{"type":"read","room":"r","seq":{bad}}}"#);
            assert!(matches!(code(&text).1, ErrorCode::Invalid | ErrorCode::BadJson), "{bad}");
        }
        let good = r#"{"type":"read","room":"r","seq":9007199254740991,"id":null}"#;
        let seq = Seq(SAFE_INTEGER_MAX);
        let command = Command::InRoom(RoomId::new("r").unwrap(), RoomCommand::Read { seq });
        assert_eq!(Request::decode(good), Ok(Request { id: None, command }));
    }

    #[test]
    fn a_wrong_field_is_named() {
        let cases = [
            (r#"{"type":"join","id":1}"#, "room"),
            (r#"{"type":"join","id":1,"room":"A"}"#, "room"),
            (r#"{"type":"send","id":1,"room":"r"}"#, "text"),
            (r#"{"type":"send","id":1,"room":"r","text":7}"#, "text"),
            (r#"{"type":"history","id":1,"room":"r","before":1,"after":2}"#, "before"),
            (r#"{"type":"history","id":1,"room":"r","kinds":["no"]}"#, "kinds"),
            (r#"{"type":"history","id":1,"room":"r","limit":0}"#, "limit"),
            (r#"{"type":"react","id":1,"room":"r","target":1,"emoji":"x","remove":"yes"}"#, "remove"),
        ];
        for (text, field) in cases {
            let bad = Request::decode(text).expect_err(text);
            assert_eq!((bad.id, bad.error.code), (Some(1), ErrorCode::Invalid), "{text}");
            assert!(bad.error.message.starts_with(field), "{text}: {}", bad.error.message);
        }
    }
}
