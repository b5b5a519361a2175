//! The settings: from flags, then from the environment, then the defaults.

use std::{ffi::OsString, fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{Parser, ValueEnum, error::ErrorKind};

/// A chat server: rooms with durable, numbered timelines, over a socket and HTTP.
#[derive(Debug, Clone, Parser)]
#[command(name = "chat-server", version)]
pub(crate) struct Config {
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, env = "CHAT_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Where rooms are kept: `sqlite:PATH`, or `sqlite::memory:` for a throw-away database.
    #[arg(long, env = "CHAT_DATABASE", value_name = "URL", default_value = "sqlite:chat-data/chat.db")]
    pub(crate) database: Database,

    /// Who tells who is asking. `open` believes everybody, for development: it listens on loopback addresses only.
    #[arg(long, env = "CHAT_AUTH", value_name = "MODE", default_value = "open")]
    pub(crate) auth: Auth,

    /// Which log lines are written, as directives of `tracing`: `info`, or `info,chat_core=debug`.
    #[arg(long, env = "CHAT_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: LogFilter,

    /// How log lines are written, on standard error.
    #[arg(long, env = "CHAT_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// How long the end may take after SIGTERM or SIGINT: seconds, or `10s`, `500ms`, `2m`.
    #[arg(long, env = "CHAT_DRAIN_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) drain_timeout: Duration,
}

/// Where rooms are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Database {
    SqliteMemory,
    Sqlite(PathBuf),
}

/// Who tells who is asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    Open,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// A log filter that was read once, so that it is known to be one.
#[derive(Debug, Clone)]
pub(crate) struct LogFilter(String);

/// Why a setting is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSetting {
    #[error("this build has no Postgres store")]
    NoPostgres,
    #[error("a database is sqlite:PATH or sqlite::memory:")]
    NoDatabase,
    #[error("this build has no accounts and no tokens yet: the only mode is open")]
    NoSuchAuth,
    #[error("a time is a number of seconds, or one with ms, s or m")]
    NoTime,
    #[error("a filter is a level, or target=level, with commas between")]
    NoFilter,
    #[error("--auth open believes everybody, so --listen must be a loopback address, not {0}")]
    OpenToOthers(SocketAddr),
}

/// What the command line asks for, where that is not to serve.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Help or the version: for standard output.
    Told(String),
    /// A mistake, in one line.
    Mistake(String),
}

impl Config {
    /// Reads the settings of this process.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Refusal> {
        let config = Self::try_parse_from(arguments).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Refusal::Told(error.render().to_string()),
            _ => Refusal::Mistake(first_line(&error.render().to_string())),
        })?;
        match config.auth {
            Auth::Open if !config.listen.ip().to_canonical().is_loopback() => {
                Err(Refusal::Mistake(format!("error: {}", BadSetting::OpenToOthers(config.listen))))
            }
            Auth::Open => Ok(config),
        }
    }
}

/// clap explains a mistake over several lines, of which the first says it all.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end().to_owned()
}

impl FromStr for Database {
    type Err = BadSetting;

    fn from_str(text: &str) -> Result<Self, BadSetting> {
        match text.split_once(':') {
            Some(("sqlite", ":memory:")) => Ok(Self::SqliteMemory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", _)) => Err(BadSetting::NoPostgres),
            _ => Err(BadSetting::NoDatabase),
        }
    }
}

impl FromStr for Auth {
    type Err = BadSetting;

    fn from_str(text: &str) -> Result<Self, BadSetting> {
        if text == "open" { Ok(Self::Open) } else { Err(BadSetting::NoSuchAuth) }
    }
}

impl FromStr for LogFilter {
    type Err = BadSetting;

    fn from_str(text: &str) -> Result<Self, BadSetting> {
        match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(BadSetting::NoFilter),
        }
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn time(text: &str) -> Result<Duration, BadSetting> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u32 = digits.parse().or(Err(BadSetting::NoTime))?;
    match text.strip_prefix(digits) {
        Some("" | "s") => Ok(Duration::from_secs(number.into())),
        Some("ms") => Ok(Duration::from_millis(number.into())),
        Some("m") => Ok(Duration::from_secs(60 * u64::from(number))),
        _ => Err(BadSetting::NoTime),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Config, Refusal> {
        Config::read(["chat-server"].iter().chain(arguments).map(OsString::from))
    }

    #[test]
    fn a_time_is_seconds_or_has_a_unit() {
        assert_eq!(time("10"), Ok(Duration::from_secs(10)));
        assert_eq!(time("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(time("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(time("2m"), Ok(Duration::from_mins(2)));
        for bad in ["", "s", "-1", "1.5s", "1 s", "10h", "s10"] {
            assert_eq!(time(bad), Err(BadSetting::NoTime), "{bad}");
        }
    }

    #[test]
    fn a_database_is_known_by_its_scheme() {
        assert_eq!("sqlite::memory:".parse(), Ok(Database::SqliteMemory));
        assert_eq!("sqlite:/a/b.db".parse(), Ok(Database::Sqlite("/a/b.db".into())));
        assert_eq!("postgres://h/d".parse::<Database>(), Err(BadSetting::NoPostgres));
        for bad in ["", "sqlite:", "chat.db", "mysql://h"] {
            assert_eq!(bad.parse::<Database>(), Err(BadSetting::NoDatabase), "{bad}");
        }
    }

    #[test]
    fn everybody_is_believed_on_loopback_only() {
        for good in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:0"] {
            read(&["--listen", good]).unwrap();
        }
        for bad in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
            let Refusal::Mistake(line) = read(&["--listen", bad]).unwrap_err() else { panic!("no mistake") };
            assert!(line.contains("loopback") && line.lines().count() == 1, "{line}");
        }
    }
}
