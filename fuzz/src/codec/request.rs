//! Commands: built from a line, written as some client may write them, and read by the server.

use std::fmt::Write as _;

use chat_core::{
    Draft, RoomId, Seq,
    ids::{Epoch, SAFE_INTEGER_MAX},
    protocol::{Command, EventKind, HistoryFrom, HistoryQuery, Json, Request, RoomCommand},
};

use crate::fields::Fields;

/// How a client writes its JSON: whatever is a set bit of a number.
#[derive(Clone, Copy)]
struct Spelling(u64);

impl Spelling {
    /// Every character of a text as `\uXXXX`.
    const fn escapes(self) -> bool {
        self.0 & 1 != 0
    }

    /// Blanks wherever JSON allows them.
    const fn is_airy(self) -> bool {
        self.0 & 2 != 0
    }

    /// `null` for what is not given.
    const fn says_null(self) -> bool {
        self.0 & 4 != 0
    }

    /// Fields that the server does not know.
    const fn says_more(self) -> bool {
        self.0 & 8 != 0
    }

    /// The `type` last.
    const fn is_backwards(self) -> bool {
        self.0 & 16 != 0
    }
}

/// Builds a command from `kind|spelling|id|room|…`, writes it, and has it read.
///
/// | kind | behind the room |
/// |---|---|
/// | `ping`, `leave`, `typing` | |
/// | `join` | `after\|epoch` |
/// | `send` | `text\|key\|reply_to\|meta` |
/// | `edit`, `delete`, `react`, `read` | `target\|text`, `target`, `target\|emoji\|remove`, `seq` |
/// | `history` | `before\|after\|limit\|kinds`, with blanks between the kinds |
///
/// # Panics
/// Where another command is read than was written.
pub(super) fn there_and_back(line: &str) {
    let mut fields = Fields::of(line);
    let kind = fields.text();
    let spelling = Spelling(fields.number());
    let id = safe(&mut fields);
    let Some(command) = command(&kind, &mut fields) else { return };
    let request = Request { id, command };
    let text = write(&request, spelling);
    match Request::decode(&text) {
        Ok(read) => assert_eq!(read, request, "read from {text}"),
        Err(bad) => panic!("{bad:?} for {request:?}, written as {text}"),
    }
}

fn safe(fields: &mut Fields<'_>) -> Option<u64> {
    fields.numbered().map(|number| number & SAFE_INTEGER_MAX)
}

fn seq(fields: &mut Fields<'_>) -> Seq {
    Seq(safe(fields).unwrap_or_default())
}

fn command(kind: &str, fields: &mut Fields<'_>) -> Option<Command> {
    if kind == "ping" {
        return Some(Command::Ping);
    }
    let room = RoomId::new(&fields.text()).ok()?;
    let command = match kind {
        "join" => RoomCommand::Join {
            after: safe(fields).map(Seq),
            epoch: fields.given().map(|text| Epoch::from_text(&text)),
        },
        "leave" => RoomCommand::Leave,
        "send" => RoomCommand::Send(draft(fields)),
        "edit" => RoomCommand::Edit { target: seq(fields), text: fields.text() },
        "delete" => RoomCommand::Delete { target: seq(fields) },
        "react" => {
            RoomCommand::React { target: seq(fields), emoji: fields.text(), remove: fields.is_given() }
        }
        "read" => RoomCommand::Read { seq: seq(fields) },
        "typing" => RoomCommand::Typing,
        "history" => RoomCommand::History(history(fields)),
        _ => return None,
    };
    Some(Command::InRoom(room, command))
}

fn draft(fields: &mut Fields<'_>) -> Draft {
    let mut draft = Draft::text(fields.text());
    draft.key = fields.given();
    draft.reply_to = safe(fields).map(Seq);
    let meta = fields.given().and_then(|text| Json::parse(&text).ok());
    // That is as good as none.
    draft.meta = meta.filter(|meta| meta.as_str() != "null");
    draft
}

fn history(fields: &mut Fields<'_>) -> HistoryQuery {
    let (before, after) = (safe(fields), safe(fields));
    let from = match (before, after) {
        (Some(before), _) => HistoryFrom::Before(Seq(before)),
        (None, Some(after)) => HistoryFrom::After(Seq(after)),
        (None, None) => HistoryFrom::Newest,
    };
    let limit = safe(fields).filter(|limit| *limit > 0);
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut kinds: Vec<EventKind> = fields.text().split_whitespace().filter_map(EventKind::parse).collect();
    kinds.sort_unstable();
    kinds.dedup();
    HistoryQuery { from, limit, kinds }
}

/// The command as a client writes it.
fn write(request: &Request, spelling: Spelling) -> String {
    let mut fields = fields_of(&request.command, spelling);
    fields.push(("id", request.id.map(|id| id.to_string())));
    if spelling.says_more() {
        let odd = r#"[{"type":"x","id":[null,-1,1.5]},"[{\"\u0000",true]"#;
        fields.push(("x", Some(odd.to_owned())));
        fields.push(("", Some("{}".to_owned())));
    }
    if spelling.is_backwards() {
        fields.reverse();
    }
    let given = fields.into_iter().filter_map(|(name, value)| {
        let value = value.or_else(|| spelling.says_null().then(|| "null".to_owned()))?;
        Some(format!("{}:{value}", string(name, spelling)))
    });
    let object = format!("{{{}}}", given.collect::<Vec<_>>().join(","));
    if spelling.is_airy() { format!("\n\t {object} \r\n") } else { object }
}

fn fields_of(command: &Command, spelling: Spelling) -> Vec<(&'static str, Option<String>)> {
    let said = |text: &str| Some(string(text, spelling));
    let number = |number: u64| Some(number.to_string());
    let Command::InRoom(room, command) = command else { return vec![("type", said("ping"))] };
    let (kind, mut fields) = match command {
        RoomCommand::Join { after, epoch } => (
            "join",
            vec![
                ("after", after.and_then(|after| number(after.0))),
                ("epoch", epoch.as_ref().and_then(|epoch| said(epoch.as_str()))),
            ],
        ),
        RoomCommand::Leave => ("leave", vec![]),
        RoomCommand::Send(draft) => (
            "send",
            vec![
                ("text", said(&draft.text)),
                ("key", draft.key.as_deref().and_then(said)),
                ("reply_to", draft.reply_to.and_then(|target| number(target.0))),
                ("meta", draft.meta.as_ref().map(|meta| meta.as_str().to_owned())),
            ],
        ),
        RoomCommand::Edit { target, text } => {
            ("edit", vec![("target", number(target.0)), ("text", said(text))])
        }
        RoomCommand::Delete { target } => ("delete", vec![("target", number(target.0))]),
        RoomCommand::React { target, emoji, remove } => {
            let remove = remove.then(|| "true".to_owned());
            ("react", vec![("target", number(target.0)), ("emoji", said(emoji)), ("remove", remove)])
        }
        RoomCommand::Read { seq } => ("read", vec![("seq", number(seq.0))]),
        RoomCommand::Typing => ("typing", vec![]),
        RoomCommand::History(query) => ("history", fields_of_history(query, spelling)),
        other => panic!("a command that has no line in the table: {other:?}"),
    };
    fields.insert(0, ("type", said(kind)));
    fields.push(("room", said(room.as_str())));
    fields
}

fn fields_of_history(query: &HistoryQuery, spelling: Spelling) -> Vec<(&'static str, Option<String>)> {
    let (before, after) = match query.from {
        HistoryFrom::Newest => (None, None),
        HistoryFrom::Before(seq) => (Some(seq.0.to_string()), None),
        HistoryFrom::After(seq) => (None, Some(seq.0.to_string())),
    };
    // Twice and in another order: it is a set.
    let kinds = query.kinds.iter().chain(&query.kinds).rev();
    let kinds: Vec<String> = kinds.map(|kind| string(kind.as_str(), spelling)).collect();
    vec![
        ("before", before),
        ("after", after),
        ("limit", query.limit.map(|limit| limit.to_string())),
        ("kinds", (!kinds.is_empty()).then(|| format!("[{}]", kinds.join(",")))),
    ]
}

fn string(text: &str, spelling: Spelling) -> String {
    if !spelling.escapes() {
        return serde_json::to_string(text).expect("a string is JSON");
    }
    let mut escaped = String::from('"');
    for unit in text.encode_utf16() {
        write!(escaped, "\\u{unit:04X}").expect("a String takes it");
    }
    escaped.push('"');
    escaped
}
