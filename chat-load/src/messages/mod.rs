//! How the messages of another's server look.

mod form;
mod pattern;

pub(crate) use self::{
    form::{Form, Values},
    pattern::{Found, Pattern, Reading},
};
use crate::scenario::{Scenario, Settings};

/// What a person writes of another's server: one text for each flag of the command line.
///
/// `{text}` and the like stand for what differs; any other brace is itself. In what comes from the server `*` stands for
/// whatever is of no interest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// The path of the WebSocket: `{user}`, `{role}`, `{room}`.
    pub path: String,
    /// What is said of each room once a socket is open: `{user}`, `{role}`, `{room}`.
    pub enter: Option<String>,
    /// What the server says once a user is in a room.
    pub entered: Option<String>,
    /// A message: `{text}`, and `{user}`, `{role}`, `{room}`, `{key}`, `{id}`.
    pub send: String,
    /// An ack: `{id}`, `{key}` or `{text}` of what was sent; with none of them acks come in the order of the sends.
    pub ack: Option<String>,
    /// What others get: `{text}`, and `{user}`, `{room}`, which must then be right.
    pub delivery: String,
    /// Whether its sender gets it, too.
    pub echo: Echo,
}

/// Whether senders get their own messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Echo {
    /// Only others do.
    #[default]
    None,
    /// They do; where there are no other acks this is one.
    ToSender,
}

/// How the messages of another's server look.
#[derive(Debug, Clone)]
pub struct Messages {
    pub(crate) path: Form,
    pub(crate) enter: Option<Form>,
    pub(crate) entered: Option<Pattern>,
    pub(crate) send: Form,
    pub(crate) ack: Acked,
    pub(crate) delivery: Pattern,
    pub(crate) echo: Echo,
}

/// How it is known that the server has a message.
#[derive(Debug, Clone)]
pub(crate) enum Acked {
    /// It is not.
    Never,
    /// It says so.
    Said(Pattern),
    /// Its sender gets it.
    ByEcho,
}

/// It does not say how messages look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessages {
    /// No such place.
    #[error(
        "{flag}: {slot} is not known: there are {{user}}, {{role}}, {{room}}, {{text}}, {{key}} and {{id}}"
    )]
    Unknown {
        /// Where.
        flag: &'static str,
        /// What.
        slot: String,
    },
    /// Nobody knows there what it is, or it says nothing.
    #[error("{flag}: {slot} has no place in it")]
    Misplaced {
        /// Where.
        flag: &'static str,
        /// What.
        slot: &'static str,
    },
    /// One of them would be overlooked.
    #[error("{flag}: {slot} is in it twice")]
    Twice {
        /// Where.
        flag: &'static str,
        /// What.
        slot: &'static str,
    },
    /// It cannot be told where it ends.
    #[error("{flag}: after * or a name there must be something that ends it")]
    Endless {
        /// Where.
        flag: &'static str,
    },
    /// No frame looks like nothing.
    #[error("{flag} is empty: leave it out where there is no such thing")]
    Empty {
        /// Where.
        flag: &'static str,
    },
    /// Without it nothing can be verified.
    #[error("{flag} must have {{text}}")]
    NoText {
        /// Where.
        flag: &'static str,
    },
    /// A path begins with a slash, and has no blanks.
    #[error("--path must begin with / and have no blanks")]
    Path,
    /// Only one of them can say what is acked.
    #[error("--ack may have one of {{id}}, {{key}} and {{text}}")]
    ManyAcks,
    /// What is sent does not have what is to come back.
    #[error("--ack has {slot}, and --send has not")]
    NothingToAck {
        /// What.
        slot: &'static str,
    },
}

/// The scenario asks for what the flags do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// Only our clients come back where they were.
    #[error("nobody resumes at another's server: without storms it must be (--storms 0), and no churn")]
    Storms,
    /// Who talks as fast as acks come needs some.
    #[error("fanout needs acks: --ack, or --echo")]
    Acks,
    /// All would be in one.
    #[error("there are many rooms: --path or --enter must have {{room}}")]
    Rooms,
    /// A path has one room.
    #[error("users are in several rooms: --enter and --send must have {{room}}, and --path must not")]
    RoomsOfOne,
    /// A path has a room.
    #[error("users are in no room, and --path has {{room}}: idle --join")]
    NoRoom,
}

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    User,
    Role,
    Room,
    Text,
    Key,
    Id,
}

impl Slot {
    const ALL: [Self; 6] = [Self::User, Self::Role, Self::Room, Self::Text, Self::Key, Self::Id];

    const fn name(self) -> &'static str {
        match self {
            Self::User => "{user}",
            Self::Role => "{role}",
            Self::Room => "{room}",
            Self::Text => "{text}",
            Self::Key => "{key}",
            Self::Id => "{id}",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Slot(Slot),
}

/// Takes a text apart at its places. `{` and small letters and `}` are one; JSON has no such thing.
fn parts(flag: &'static str, text: &str) -> Result<Vec<Part>, InvalidMessages> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        literal.push_str(before);
        let name = after
            .split_once('}')
            .filter(|(name, _)| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()));
        let Some((name, behind)) = name else {
            literal.push('{');
            rest = after;
            continue;
        };
        let slot = format!("{{{name}}}");
        let Some(known) = Slot::ALL.into_iter().find(|known| known.name() == slot) else {
            return Err(InvalidMessages::Unknown { flag, slot });
        };
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(Part::Slot(known));
        rest = behind;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

impl Look {
    /// The server under `benches/original`.
    pub fn original() -> Self {
        Self {
            path: "/ws/{room}?user={user}&role={role}".to_owned(),
            enter: None,
            entered: Some(r#"{"type":"joined",*"#.to_owned()),
            send: r#"{"id":{id},"text":"{text}"}"#.to_owned(),
            ack: Some(r#"{"type":"ack","id":{id},*"#.to_owned()),
            delivery: r#"{"type":"message",*"room":"{room}","user":"{user}",*"text":"{text}",*"#.to_owned(),
            echo: Echo::None,
        }
    }
}

impl Messages {
    /// Reads what a person wrote.
    ///
    /// # Errors
    /// [`InvalidMessages`].
    pub fn new(look: &Look) -> Result<Self, InvalidMessages> {
        let who = [Slot::User, Slot::Role, Slot::Room];
        let sent = [Slot::User, Slot::Role, Slot::Room, Slot::Text, Slot::Key, Slot::Id];
        let form = |flag, text: &String, allowed: &[Slot]| Form::new(flag, text, allowed);
        for (flag, text) in [("--enter", &look.enter), ("--entered", &look.entered), ("--ack", &look.ack)] {
            if text.as_ref().is_some_and(String::is_empty) {
                return Err(InvalidMessages::Empty { flag });
            }
        }
        let path = form("--path", &look.path, &who)?;
        if !look.path.starts_with('/') || look.path.contains(|blank: char| !blank.is_ascii_graphic()) {
            return Err(InvalidMessages::Path);
        }
        let enter = look.enter.as_ref().map(|enter| form("--enter", enter, &who)).transpose()?;
        let entered =
            look.entered.as_ref().map(|entered| Pattern::new("--entered", entered, &[])).transpose()?;
        let send = form("--send", &look.send, &sent)?;
        let delivery = Pattern::new("--delivery", &look.delivery, &[Slot::User, Slot::Room, Slot::Text])?;
        for (flag, has_text) in [("--send", send.has(Slot::Text)), ("--delivery", delivery.has(Slot::Text))] {
            if !has_text {
                return Err(InvalidMessages::NoText { flag });
            }
        }
        let ack = match (&look.ack, look.echo) {
            (Some(ack), _) => Acked::Said(ack_of(ack, &send)?),
            (None, Echo::ToSender) => Acked::ByEcho,
            (None, Echo::None) => Acked::Never,
        };
        Ok(Self { path, enter, entered, send, ack, delivery, echo: look.echo })
    }

    /// Whether the server says of what it is sent that it has it.
    pub const fn has_acks(&self) -> bool {
        !matches!(self.ack, Acked::Never)
    }

    /// Whether the server does not say who is in.
    pub(crate) const fn tells_nobody(&self) -> bool {
        self.entered.is_none()
    }

    /// Whether a scenario can be played with them.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn fit(&self, settings: &Settings) -> Result<(), Unfit> {
        let (in_path, in_enter) =
            (self.path.has(Slot::Room), self.enter.as_ref().is_some_and(|enter| enter.has(Slot::Room)));
        match settings.scenario {
            Scenario::Churn => Err(Unfit::Storms),
            _ if settings.storms > 0 => Err(Unfit::Storms),
            Scenario::Fanout if !self.has_acks() => Err(Unfit::Acks),
            Scenario::Pairs if !in_path && !in_enter => Err(Unfit::Rooms),
            Scenario::Mixed if in_path || !in_enter || !self.send.has(Slot::Room) => Err(Unfit::RoomsOfOne),
            Scenario::Idle if !settings.idle_joins && in_path => Err(Unfit::NoRoom),
            _ => Ok(()),
        }
    }
}

fn ack_of(ack: &str, send: &Form) -> Result<Pattern, InvalidMessages> {
    let ties = [Slot::Id, Slot::Key, Slot::Text];
    let ack = Pattern::new("--ack", ack, &ties)?;
    let mut tied = ties.into_iter().filter(|slot| ack.has(*slot));
    let (tie, more) = (tied.next(), tied.next());
    match tie {
        _ if more.is_some() => Err(InvalidMessages::ManyAcks),
        Some(slot) if !send.has(slot) => Err(InvalidMessages::NothingToAck { slot: slot.name() }),
        _ => Ok(ack),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_look_lacks_or_has_too_much_of_is_named() {
        assert!(Messages::new(&Look::original()).is_ok());
        let wrong = |change: &dyn Fn(&mut Look)| {
            let mut look = Look::original();
            change(&mut look);
            Messages::new(&look).unwrap_err().to_string()
        };
        for (said, wanted) in [
            (wrong(&|look| look.path = "ws".to_owned()), "--path must begin with / and have no blanks"),
            (wrong(&|look| look.path = "/a b".to_owned()), "--path must begin with / and have no blanks"),
            (wrong(&|look| look.send = "{id}".to_owned()), "--send must have {text}"),
            (wrong(&|look| look.delivery = "*".to_owned()), "--delivery must have {text}"),
            (wrong(&|look| look.ack = Some(String::new())), {
                "--ack is empty: leave it out where there is no such thing"
            }),
            (wrong(&|look| look.ack = Some("{id} {text}".to_owned())), {
                "--ack may have one of {id}, {key} and {text}"
            }),
            (wrong(&|look| look.ack = Some("{key}".to_owned())), "--ack has {key}, and --send has not"),
            (wrong(&|look| look.entered = Some("{room}".to_owned())), "--entered: {room} has no place in it"),
            (wrong(&|look| look.enter = Some("{id}".to_owned())), "--enter: {id} has no place in it"),
        ] {
            assert_eq!(said, wanted);
        }
    }

    #[test]
    fn the_original_is_known_by_the_flags_of_its_script() {
        let script = include_str!("../../../benches/original/load");
        let original = Look::original();
        for (flag, text) in [
            ("path", Some(original.path)),
            ("enter", original.enter),
            ("entered", original.entered),
            ("send", Some(original.send)),
            ("ack", original.ack),
            ("delivery", Some(original.delivery)),
        ] {
            match text {
                Some(text) => assert!(script.contains(&format!("  --{flag} '{text}' \\\n")), "{flag}"),
                None => assert!(!script.contains(&format!("--{flag} ")), "{flag}"),
            }
        }
        assert_eq!(script.contains("--echo"), original.echo == Echo::ToSender);
        let page = include_str!("../../../docs/load.md").replace("\\\n", "");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        let flags = script.split_once("--path").unwrap().1.split_once("--start-other").unwrap().0;
        assert!(words(&page).contains(&words(&flags.replace("\\\n", ""))), "the page has other flags");
    }

    #[test]
    fn a_scenario_that_asks_for_more_than_the_messages_say_is_refused() {
        let original = Messages::new(&Look::original()).unwrap();
        let plain = Look { path: "/".to_owned(), ack: None, ..Look::original() };
        let plain = Messages::new(&plain).unwrap();
        let fit = |messages: &Messages, scenario| messages.fit(&Settings::new(scenario));
        for scenario in [Scenario::Room, Scenario::Pairs, Scenario::Fanout] {
            assert_eq!(fit(&original, scenario), Ok(()));
        }
        assert_eq!(fit(&original, Scenario::Churn), Err(Unfit::Storms));
        assert_eq!(fit(&original, Scenario::Mixed), Err(Unfit::Storms));
        let calm = Settings { storms: 0, ..Settings::new(Scenario::Mixed) };
        assert_eq!(original.fit(&calm), Err(Unfit::RoomsOfOne));
        assert_eq!(fit(&original, Scenario::Idle), Err(Unfit::NoRoom));
        assert_eq!(fit(&plain, Scenario::Room), Ok(()));
        assert_eq!(fit(&plain, Scenario::Idle), Ok(()));
        assert_eq!(fit(&plain, Scenario::Pairs), Err(Unfit::Rooms));
        assert_eq!(fit(&plain, Scenario::Fanout), Err(Unfit::Acks));
    }
}
