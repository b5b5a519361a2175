//! What was given, as text, and where.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fmt,
    path::Path,
    sync::Arc,
};

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches,
    builder::{Resettable, Str, ValueParser},
    parser::ValueSource,
};

use super::{Mistake, Settings, file, files, mistake::one_line};

/// Where a setting was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Environment,
    File { path: Arc<Path>, line: usize },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::File { path, line } => write!(f, "{} line {line}", one_line(&path.to_string_lossy())),
        }
    }
}

/// The text of a setting. Only those of a list can be more or less than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) texts: Vec<String>,
    pub(crate) origin: Origin,
}

/// What was given from any source.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// By the names of the flags.
    entries: BTreeMap<String, Entry>,
    /// Variables that begin as ours do and are no settings.
    strangers: Vec<String>,
}

/// What a value may give away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrecy {
    None,
    /// A name and a password may stand in it.
    Login,
    Whole,
}

/// How a setting is defined.
#[derive(Debug)]
pub(crate) struct Definition(Arg);

impl Definition {
    /// All of them, in the order of their definition.
    pub(crate) fn all() -> Vec<Self> {
        let command = Settings::augment_args(Command::new("settings"));
        command.get_arguments().cloned().map(Self).collect()
    }

    /// The name of its flag, without the dashes, and of its key.
    pub(crate) fn name(&self) -> &str {
        self.0.get_long().expect("every setting has a flag")
    }

    /// The name of its environment variable.
    pub(crate) fn variable(&self) -> &OsStr {
        self.0.get_env().expect("every setting has a variable")
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.0.get_action(), ArgAction::Append)
    }

    /// What its value may give away.
    pub(crate) fn secrecy(&self) -> Secrecy {
        match self.0.get_value_names().and_then(|names| names.first()).map(Str::as_str) {
            Some("SECRET") => Secrecy::Whole,
            Some("URL" | "ORIGIN") => Secrecy::Login,
            _ => Secrecy::None,
        }
    }

    /// The text that counts where nothing is given. Some settings have none, or one that hangs on others.
    pub(crate) fn default(&self) -> Option<String> {
        self.0.get_default_values().first().map(|text| text.to_string_lossy().into_owned())
    }

    /// How this setting is named where it comes from.
    pub(crate) fn place(&self, origin: &Origin) -> String {
        match origin {
            Origin::Flag => format!("--{}", self.name()),
            Origin::Environment => self.variable().to_string_lossy().into_owned(),
            Origin::File { .. } => format!("{origin}: {}", self.name()),
        }
    }

    /// Reads one text by itself.
    fn read(&self, text: &str, origin: &Origin) -> Result<(), Mistake> {
        // The variable does not count here: it was looked at before.
        let alone = Command::new("setting").no_binary_name(true).arg(self.0.clone().env(Resettable::Reset));
        let Err(error) = alone.try_get_matches_from([self.argument(text)]) else { return Ok(()) };
        let place = self.place(origin);
        let place = if self.secrecy() == Secrecy::None { format!("{place} {text:?}") } else { place };
        Err(match std::error::Error::source(&error) {
            Some(reason) => Mistake::at(place, reason),
            None => Mistake::at(place, "it cannot be read"),
        })
    }

    fn argument(&self, text: &str) -> OsString {
        format!("--{}={text}", self.name()).into()
    }
}

/// The same command line with the settings as text, before a task and after it.
pub(super) fn untyped(command: Command) -> Command {
    // A negative number is a bad value of its flag, and no flag.
    let untyped = |arg: Arg| {
        arg.value_parser(ValueParser::os_string()).hide_env_values(true).allow_negative_numbers(true)
    };
    let definitions = Definition::all().into_iter().map(|definition| untyped(definition.0));
    let after_the_task: Vec<Arg> = definitions.map(|arg| arg.help_heading("Settings")).collect();
    command.mut_args(untyped).mut_subcommands(|task| task.args(&after_the_task))
}

impl Given {
    /// Collects from the command line, the environment, and the file that one of these names.
    pub(super) fn collect(
        line: &ArgMatches,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Mistake> {
        let definitions = Definition::all();
        let mut given = Self::default();
        for level in [Some(line), line.subcommand().map(|(_, task)| task)].into_iter().flatten() {
            given.add_flags(&definitions, level)?;
        }
        given.add_environment(&definitions, environment)?;
        if let Some(entry) = given.entries.get("config") {
            let path: Arc<Path> = Path::new(&entry.texts[0]).into();
            let bytes = files::read(&path, "config", &given)?;
            let text = str::from_utf8(&bytes).map_err(|_not_text| {
                Mistake::at(given.place("config"), format_args!("{} is not UTF-8", path.display()))
            })?;
            for (name, entry) in file::read(text, &path, &definitions)? {
                given.entries.entry(name).or_insert(entry);
            }
        }
        Ok(given)
    }

    fn add_flags(&mut self, definitions: &[Definition], line: &ArgMatches) -> Result<(), Mistake> {
        for definition in definitions {
            let id = definition.0.get_id().as_str();
            if line.value_source(id) != Some(ValueSource::CommandLine) {
                continue;
            }
            let place = definition.place(&Origin::Flag);
            let texts = line.get_many::<OsString>(id).into_iter().flatten();
            let texts: Vec<String> = texts.map(|text| utf8(text, &place)).collect::<Result<_, _>>()?;
            let entry = Entry { texts: Vec::new(), origin: Origin::Flag };
            let entry = self.entries.entry(definition.name().to_owned()).or_insert(entry);
            entry.texts.extend(texts);
            if entry.texts.len() > 1 && !definition.is_list() {
                return Err(Mistake::at(place, "it is given more than once"));
            }
        }
        Ok(())
    }

    fn add_environment(
        &mut self,
        definitions: &[Definition],
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(), Mistake> {
        // In an order of their own, so that of two mistakes always the same is told.
        let ours = |name: &OsStr| name.as_encoded_bytes().starts_with(b"CHAT_");
        let variables: BTreeSet<_> = environment.into_iter().filter(|(name, _)| ours(name)).collect();
        for (variable, value) in variables {
            let Some(definition) = definitions.iter().find(|known| known.variable() == variable) else {
                self.strangers.push(no_misspelling(&variable.to_string_lossy(), definitions)?);
                continue;
            };
            let text = utf8(&value, &definition.place(&Origin::Environment))?;
            let texts = if definition.is_list() {
                text.split(',').map(|item| item.trim().to_owned()).collect()
            } else {
                vec![text]
            };
            let entry = Entry { texts, origin: Origin::Environment };
            self.entries.entry(definition.name().to_owned()).or_insert(entry);
        }
        Ok(())
    }

    /// Reads each text, the first source of each setting alone.
    pub(super) fn read(&self) -> Result<Settings, Mistake> {
        let definitions = Definition::all();
        let mut arguments = Vec::new();
        for definition in &definitions {
            let Some(entry) = self.entries.get(definition.name()) else { continue };
            for text in &entry.texts {
                definition.read(text, &entry.origin)?;
                arguments.push(definition.argument(text));
            }
        }
        let command = Settings::augment_args(Command::new("settings").no_binary_name(true));
        let command = command.mut_args(|arg| arg.env(Resettable::Reset));
        let read = command.try_get_matches_from(arguments).and_then(|read| Settings::from_arg_matches(&read));
        read.map_err(|error| Mistake::of_line(&error))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Variables that begin as ours do and are no settings.
    pub(crate) fn strangers(&self) -> &[String] {
        &self.strangers
    }

    /// How a setting is named where it was given.
    pub(crate) fn place(&self, name: &str) -> String {
        let origin = self.entries.get(name).map_or(&Origin::Flag, |entry| &entry.origin);
        let definition = Definition::all().into_iter().find(|definition| definition.name() == name);
        definition.map_or_else(|| name.to_owned(), |definition| definition.place(origin))
    }
}

fn utf8(text: &OsStr, place: &str) -> Result<String, Mistake> {
    text.to_str().map(str::to_owned).ok_or_else(|| Mistake::at(place, "it is not UTF-8"))
}

/// A variable that is no setting, and not meant to be one either: Kubernetes sets `CHAT_PORT` and others for a service of
/// that name, and other programs may have variables of theirs. One that is a letter or two away from a setting is meant
/// to be that.
fn no_misspelling(variable: &str, definitions: &[Definition]) -> Result<String, Mistake> {
    let near = definitions.iter().map(|known| known.variable().to_string_lossy()).find(|known| {
        let slips_max = if known.len() > "CHAT_".len() + 5 { 2 } else { 1 };
        strsim::damerau_levenshtein(known, &variable.to_ascii_uppercase()) <= slips_max
    });
    match near {
        Some(known) => Err(Mistake::at(variable, format_args!("there is no such setting; {known} is one"))),
        None => Ok(variable.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_in_the_name_of_a_variable_is_told_from_a_name_of_somebody_else() {
        let definitions = Definition::all();
        for slip in [
            "CHAT_LISTN",
            "CHAT_LSITEN",
            "CHAT_listen",
            "CHAT_JWT_SECERT",
            "CHAT_JWT_SECRETS",
            "CHAT_ALLOWED_ORIGIN",
            "CHAT_DATABSE",
            "CHAT_LOGS",
            "CHAT_NAT",
        ] {
            no_misspelling(slip, &definitions).expect_err(slip);
        }
        for other in [
            "CHAT_SERVICE_HOST",
            "CHAT_PORT",
            "CHAT_PORT_8080_TCP_ADDR",
            "CHAT_SERVER_SERVICE_PORT",
            "CHAT_SERVER_BIN",
            "CHAT_HOST",
            "CHAT_NAME",
            "CHAT_URL",
            "CHAT_",
        ] {
            assert_eq!(no_misspelling(other, &definitions).as_deref(), Ok(other));
        }
    }
}
