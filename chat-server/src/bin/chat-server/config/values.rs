//! How the text of a setting is read.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use chat_server::{InvalidKey, InvalidRateLimit, JwtKey, RateLimit};
use chat_store::{InvalidAddress, PostgresAddress};
use ipnet::IpNet;

/// Why a text is refused. It never quotes the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadValue {
    #[error("an address is an IP address and a port, as in 127.0.0.1:8080")]
    NoAddress,
    #[error(transparent)]
    NoPostgres(#[from] InvalidAddress),
    #[error("a database is sqlite:PATH, sqlite::memory: or postgres://HOST/DATABASE")]
    NoDatabase,
    #[error("it is a number from {POSTGRES_CONNECTIONS_MIN} to {POSTGRES_CONNECTIONS_MAX}")]
    NoConnections,
    #[error("this build cannot be one of several nodes yet")]
    NoNats,
    #[error("this build has no accounts yet: the modes are jwt and open")]
    NoAccounts,
    #[error("the modes are jwt and open")]
    NoAuth,
    #[error("the levels are full and normal")]
    NoSynchronous,
    #[error("it is on or off")]
    NoSwitch,
    #[error("it is empty")]
    Empty,
    #[error("a proxy is an IP address, or a network such as 10.0.0.0/8")]
    NoProxy,
    #[error("it is a number from 1 on")]
    NoCount,
    #[error("a time is a number of seconds, or one with ms, s or m")]
    NoTime,
    #[error("a filter is a level, or target=level, with commas between")]
    NoFilter,
    #[error("the formats are text and json")]
    NoLogFormat,
}

pub(super) fn address(text: &str) -> Result<SocketAddr, BadValue> {
    text.parse().or(Err(BadValue::NoAddress))
}

pub(super) fn count(text: &str) -> Result<NonZeroUsize, BadValue> {
    text.parse().or(Err(BadValue::NoCount))
}

/// One for batches, one for other changes and one to read, so that none waits for the others.
const POSTGRES_CONNECTIONS_MIN: usize = 3;

/// Each is a process of Postgres' own. It is slow long before it has so many, and they have room from the start.
const POSTGRES_CONNECTIONS_MAX: usize = 1000;

pub(super) fn postgres_connections(text: &str) -> Result<NonZeroUsize, BadValue> {
    let connections = text.parse().or(Err(BadValue::NoConnections))?;
    let allowed = POSTGRES_CONNECTIONS_MIN..=POSTGRES_CONNECTIONS_MAX;
    NonZeroUsize::new(connections).filter(|n| allowed.contains(&n.get())).ok_or(BadValue::NoConnections)
}

pub(super) fn text(text: &str) -> Result<String, BadValue> {
    if text.is_empty() { Err(BadValue::Empty) } else { Ok(text.to_owned()) }
}

pub(super) fn time(text: &str) -> Result<Duration, BadValue> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u32 = digits.parse().or(Err(BadValue::NoTime))?;
    match text.strip_prefix(digits) {
        Some("" | "s") => Ok(Duration::from_secs(number.into())),
        Some("ms") => Ok(Duration::from_millis(number.into())),
        Some("m") => Ok(Duration::from_secs(60 * u64::from(number))),
        _ => Err(BadValue::NoTime),
    }
}

/// The value of a setting that this build cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Never {}

pub(super) fn no_nats(_: &str) -> Result<Never, BadValue> {
    Err(BadValue::NoNats)
}

/// Where rooms are kept.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    SqliteMemory,
    Sqlite(PathBuf),
    Postgres(Box<PostgresAddress>),
}

impl FromStr for Database {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text.split_once(':') {
            Some(("sqlite", ":memory:")) => Ok(Self::SqliteMemory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(Box::new(text.parse()?))),
            _ => Err(BadValue::NoDatabase),
        }
    }
}

/// What an acknowledged commit outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Synchronous {
    Full,
    Normal,
}

impl FromStr for Synchronous {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "full" => Ok(Self::Full),
            "normal" => Ok(Self::Normal),
            _ => Err(BadValue::NoSynchronous),
        }
    }
}

impl From<Synchronous> for chat_store::Synchronous {
    fn from(synchronous: Synchronous) -> Self {
        match synchronous {
            Synchronous::Full => Self::Full,
            Synchronous::Normal => Self::Normal,
        }
    }
}

/// Whether the server leaves off under overload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Degradation {
    On,
    Off,
}

impl FromStr for Degradation {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(BadValue::NoSwitch),
        }
    }
}

/// Who tells who is asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    Jwt,
    Open,
}

impl FromStr for Auth {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "jwt" => Ok(Self::Jwt),
            "open" => Ok(Self::Open),
            "accounts" => Err(BadValue::NoAccounts),
            _ => Err(BadValue::NoAuth),
        }
    }
}

/// The secret of tokens. The key never shows it.
pub(super) fn secret(text: &str) -> Result<JwtKey, InvalidKey> {
    JwtKey::secret(text.as_bytes())
}

/// The addresses of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proxy(pub(crate) IpNet);

impl FromStr for Proxy {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| address()).map(Self).or(Err(BadValue::NoProxy))
    }
}

/// A limit that can be lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrOff<T> {
    Off,
    On(T),
}

impl<T> OrOff<T> {
    /// The limit, unless it is lifted.
    pub(crate) fn limit(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::On(limit) => Some(limit),
        }
    }
}

impl<T: fmt::Display> fmt::Display for OrOff<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::On(limit) => limit.fmt(f),
        }
    }
}

pub(super) fn rate_or_off(text: &str) -> Result<OrOff<RateLimit>, InvalidRateLimit> {
    if text == "off" { Ok(OrOff::Off) } else { text.parse().map(OrOff::On) }
}

pub(super) fn count_or_off(text: &str) -> Result<OrOff<NonZeroUsize>, BadValue> {
    if text == "off" { Ok(OrOff::Off) } else { count(text).map(OrOff::On) }
}

/// Which log lines are written: a filter that was read once, so that it is known to be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFilter(String);

impl FromStr for LogFilter {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        // The library takes a level with a slip in it for a target, and then hears of nothing else.
        let are_directives = text.split(',').all(is_directive);
        if are_directives && tracing_subscriber::EnvFilter::try_new(text).is_ok() {
            return Ok(Self(text.to_owned()));
        }
        Err(BadValue::NoFilter)
    }
}

/// Whether this is a level, or a target with one.
fn is_directive(text: &str) -> bool {
    let is_level = |text: &str| {
        ["off", "error", "warn", "info", "debug", "trace"]
            .iter()
            .any(|level| text.eq_ignore_ascii_case(level))
    };
    let is_target = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte))
    };
    match text.split_once('=') {
        None => is_level(text),
        Some((target, level)) => is_target(target) && is_level(level),
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(BadValue::NoLogFormat),
        }
    }
}
