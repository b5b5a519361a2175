//! A mistake in the settings, in one line.

use std::fmt;

use clap::error::{ContextKind, ContextValue};

/// What is wrong and where, in one line. It never has the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake(String);

impl Mistake {
    /// Something wrong at a place.
    pub(crate) fn at(place: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self(one_line(&format!("{place}: {what}")))
    }

    /// What is wrong with a command line. clap explains it over several lines: the first says it all, unless what it
    /// speaks of is in the next.
    pub(super) fn of_line(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let mut lines = text.lines().map(str::trim);
        let line = lines.next().unwrap_or_default().trim_start_matches("error: ");
        let rest = if line.ends_with(':') { lines.next() } else { None };
        let line = format!("{line} {}", rest.unwrap_or_default());
        Self(one_line(&without_urls(line, error)).trim_end().to_owned())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A line without what stands where nothing was expected, if that is an address: it may have a password in it.
fn without_urls(line: String, error: &clap::Error) -> String {
    let given = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue];
    given.into_iter().fold(line, |line, kind| match error.get(kind) {
        Some(ContextValue::String(text)) if text.contains("://") => line.replace(text.as_str(), "***"),
        _ => line,
    })
}

/// Text that somebody else wrote (a file's name, an error of a library), so that it stays in its line.
pub(crate) fn one_line(text: &str) -> String {
    let line = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ");
    let plain = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    line.chars().map(plain).collect()
}
