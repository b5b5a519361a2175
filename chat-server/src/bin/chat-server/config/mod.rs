//! The settings: from flags, then from the environment, then from a file, then the defaults.
//!
//! [`Settings`] defines each of them once. [`sources`] collects what somebody gave, as text with its [`Origin`]; then
//! each text is read in the one way that its definition says, wherever it came from; then [`rules`] holds them against
//! each other, and [`files`] reads what they name. Whatever is wrong is one [`Mistake`].

mod file;
mod files;
mod mistake;
mod rules;
mod sources;
mod values;

#[cfg(test)]
mod tests;

use std::{ffi::OsString, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use chat_server::{
    JwtKey, Origin as WebOrigin, RateLimit,
    limits::{METRICS_CONNECTIONS_MAX, REFUSALS_MAX},
};
use chat_store::PostgresAddress;
use clap::{Args, Command, FromArgMatches, Subcommand, error::ErrorKind};

pub(crate) use self::{
    files::Files,
    mistake::{Mistake, one_line},
    sources::{Definition, Given, Secrecy},
    values::{Auth, Database, Degradation, LogFilter, LogFormat, Never, OrOff, Proxy, Synchronous},
};

/// What is to be done where that is not to serve.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum Task {
    /// Reads every setting and the files that they name, opens nothing, and prints what counts and where it is from.
    CheckConfig,
    /// Copies a database from SQLite, where it may be in use, to Postgres, with new epochs. `--database` is neither.
    Copy(Databases),
    #[command(flatten)]
    Maintain(Maintenance),
}

/// A copy from one store to another. The texts are read later, where no mistake quotes them.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Databases {
    /// The database that is copied: `sqlite:PATH`.
    #[arg(long, value_name = "URL")]
    from: OsString,
    /// The database that it becomes: `postgres://HOST/DATABASE`, without rooms and without servers. On a command line
    /// others can see a password: better in the environment.
    #[arg(long, env = "CHAT_COPY_TO", value_name = "URL", hide_env_values = true)]
    to: OsString,
}

impl Databases {
    /// Both databases.
    pub(crate) fn read(&self) -> Result<(PathBuf, Box<PostgresAddress>), Mistake> {
        let read = |place: &str, text: &OsString| {
            let text = text.to_str().ok_or_else(|| Mistake::at(place, "it is not UTF-8"))?;
            text.parse::<Database>().map_err(|bad| Mistake::at(place, bad))
        };
        let only =
            |place: &str| Mistake::at(place, "copies go from sqlite:PATH to postgres://HOST/DATABASE only");
        match (read("--from", &self.from)?, read("--to", &self.to)?) {
            (Database::Sqlite(from), Database::Postgres(to)) => Ok((from, to)),
            (Database::Sqlite(_), _) => Err(only("--to")),
            _ => Err(only("--from")),
        }
    }
}

/// What is done to the database without serving it.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum Maintenance {
    /// Brings the database's schema up to date, as the start does too.
    Migrate,
    /// Copies the database, which may be in use, with new epochs in the copy.
    Backup {
        /// The copy; nothing may be there yet.
        file: PathBuf,
    },
    /// Gives every room a new epoch. For after a restore by other means than a copy made by `backup`.
    RenewEpochs,
}

/// Every setting, defined here and nowhere else. What holds a secret, or can, has SECRET or URL as its value's name:
/// such a value is never shown.
#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// File with settings in TOML, by the names of their flags.
    #[arg(long, env = "CHAT_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Address to listen on; port 0 picks a free one.
    #[arg(long, env = "CHAT_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = values::address)]
    pub(crate) listen: SocketAddr,

    /// Where rooms are kept: `sqlite:PATH`, `postgres://HOST/DATABASE`, or `sqlite::memory:` for a throw-away database.
    /// On a command line others can see a password: better in the environment or a file.
    #[arg(long, env = "CHAT_DATABASE", value_name = "URL", default_value = "sqlite:chat-data/chat.db")]
    pub(crate) database: Database,

    /// What an acknowledged message outlives: `full` a power loss, `normal` the end of the process.
    #[arg(long, env = "CHAT_SQLITE_SYNCHRONOUS", value_name = "LEVEL", default_value = "full")]
    pub(crate) sqlite_synchronous: Synchronous,

    /// Connections to Postgres at a time. All servers together cannot have more than it allows.
    #[arg(long, env = "CHAT_POSTGRES_CONNECTIONS", value_name = "N", default_value = "12", value_parser = values::postgres_connections)]
    pub(crate) postgres_connections: NonZeroUsize,

    /// The bus to other nodes. This build has none yet.
    #[arg(long, env = "CHAT_NATS", value_name = "URL", value_parser = values::no_nats)]
    pub(crate) nats: Option<Never>,

    /// Who tells who is asking: `jwt` takes tokens that another service signs; `open` believes everybody, for
    /// development, and listens on loopback addresses only.
    #[arg(long, env = "CHAT_AUTH", value_name = "MODE", default_value = "open")]
    pub(crate) auth: Auth,

    /// Secret of tokens signed with HS256, at least 32 bytes. On a command line others can see it: better in the
    /// environment or a file.
    #[arg(long, env = "CHAT_JWT_SECRET", value_name = "SECRET", value_parser = values::secret, allow_hyphen_values = true)]
    pub(crate) jwt_secret: Option<JwtKey>,

    /// File with such a secret; one line break at its end does not count.
    #[arg(long, env = "CHAT_JWT_SECRET_FILE", value_name = "FILE")]
    pub(crate) jwt_secret_file: Option<PathBuf>,

    /// PEM file with the public key of tokens signed with RS256, ES256 or `EdDSA`.
    #[arg(long, env = "CHAT_JWT_PUBLIC_KEY", value_name = "FILE")]
    pub(crate) jwt_public_key: Option<PathBuf>,

    /// Audience that a token must be for (`aud`).
    #[arg(long, env = "CHAT_JWT_AUDIENCE", value_name = "TEXT", value_parser = values::text)]
    pub(crate) jwt_audience: Option<String>,

    /// Issuer that a token must be from (`iss`).
    #[arg(long, env = "CHAT_JWT_ISSUER", value_name = "TEXT", value_parser = values::text)]
    pub(crate) jwt_issuer: Option<String>,

    /// Origin whose pages may open the socket and call the API, beside the server's own. Repeatable.
    #[arg(long, env = "CHAT_ALLOWED_ORIGINS", value_name = "ORIGIN")]
    pub(crate) allowed_origin: Vec<WebOrigin>,

    /// Proxy that is believed about whom it speaks for, as an IP address or a network in CIDR notation. Repeatable.
    #[arg(long, env = "CHAT_TRUSTED_PROXIES", value_name = "NETWORK")]
    pub(crate) trusted_proxy: Vec<Proxy>,

    /// PEM file with the certificate chain: serve https and wss.
    #[arg(long, env = "CHAT_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// PEM file with the certificate's private key.
    #[arg(long, env = "CHAT_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Address of its own for `/metrics`, which then answers whoever reaches it.
    #[arg(long, env = "CHAT_METRICS_LISTEN", value_name = "ADDRESS", value_parser = values::address)]
    pub(crate) metrics_listen: Option<SocketAddr>,

    /// Sends of one user: so many a second, so many at once after a rest; or `off`. Default: 20:100, in `open` mode off.
    #[arg(long, env = "CHAT_RATE_USER", value_name = "N:BURST|off", value_parser = values::rate_or_off)]
    pub(crate) rate_user: Option<OrOff<RateLimit>>,

    /// Connections at a time. Default: as many as the process may open files, less a reserve.
    #[arg(long, env = "CHAT_CONNECTIONS_MAX", value_name = "N", value_parser = values::count)]
    pub(crate) connections_max: Option<NonZeroUsize>,

    /// Connections at a time from one address, or `off`. Default: 100, in `open` mode off.
    #[arg(long, env = "CHAT_CONNECTIONS_PER_ADDRESS", value_name = "N|off", value_parser = values::count_or_off)]
    pub(crate) connections_per_address: Option<OrOff<NonZeroUsize>>,

    /// Rooms that one connection may have joined.
    #[arg(long, env = "CHAT_ROOMS_PER_CONNECTION", value_name = "N", default_value = "1000", value_parser = values::count)]
    pub(crate) rooms_per_connection: NonZeroUsize,

    /// Under overload the server leaves off in order, from typing to new sends; or `off`: everybody waits.
    #[arg(long, env = "CHAT_DEGRADATION", value_name = "on|off", default_value = "on")]
    pub(crate) degradation: Degradation,

    /// How long the end may take after SIGTERM or SIGINT: seconds, or `10s`, `500ms`, `2m`.
    #[arg(long, env = "CHAT_DRAIN_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = values::time)]
    pub(crate) drain_timeout: Duration,

    /// Which log lines are written, as directives of `tracing`: `info`, or `info,chat_core=debug`.
    #[arg(long, env = "CHAT_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: LogFilter,

    /// How log lines are written, on standard error: `text` or `json`.
    #[arg(long, env = "CHAT_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// Sends of one user unless set.
const RATE_USER: &str = "20:100";

/// Descriptors for what is open whatever comes: a database on SQLite has some twenty, then the listeners, the runtime, the log,
/// and the files of a reload.
const DESCRIPTORS_OF_OWN: usize = 64;

/// Descriptors that are left for other things than clients' connections: beside its own those of connections that were
/// refused and are read to their end, here and at the metrics, and of the metrics' connections.
const DESCRIPTORS_RESERVE: u64 = (2 * REFUSALS_MAX + METRICS_CONNECTIONS_MAX + DESCRIPTORS_OF_OWN) as u64;

/// Connections from one address unless set.
const CONNECTIONS_PER_ADDRESS: NonZeroUsize = NonZeroUsize::new(100).expect("100 is not zero");

impl Settings {
    /// Whether a setting has an effect on what the database is.
    pub(crate) fn concerns(&self, name: &str) -> bool {
        rules::concerns(name, &self.database)
    }

    /// The limit on sends of one user.
    pub(crate) fn rate_of_user(&self) -> OrOff<RateLimit> {
        self.rate_user.unwrap_or_else(|| match self.auth {
            Auth::Open => OrOff::Off,
            Auth::Jwt => OrOff::On(RATE_USER.parse().expect("it has the form of a limit")),
        })
    }

    /// The limit on connections.
    pub(crate) fn connections(&self) -> NonZeroUsize {
        self.connections_max.unwrap_or_else(|| self.connections_possible())
    }

    /// How many connections this process can have.
    fn connections_possible(&self) -> NonZeroUsize {
        let of_database = match self.database {
            Database::Postgres(_) => self.postgres_connections.get() as u64,
            Database::Sqlite(_) | Database::SqliteMemory => 0,
        };
        // The start raises the soft limit to the hard one. Where no limit can be read there is none.
        let descriptors = rlimit::Resource::NOFILE.get_hard().unwrap_or(rlimit::INFINITY);
        connections_of(descriptors.saturating_sub(of_database))
    }

    /// The limit on connections from one address.
    pub(crate) fn connections_of_address(&self) -> OrOff<NonZeroUsize> {
        self.connections_per_address.unwrap_or(match self.auth {
            Auth::Open => OrOff::Off,
            Auth::Jwt => OrOff::On(CONNECTIONS_PER_ADDRESS),
        })
    }
}

/// How many connections a process can have that may open so many files. Of few files half are for connections: it may
/// then run out of them.
fn connections_of(descriptors: u64) -> NonZeroUsize {
    let left = descriptors - DESCRIPTORS_RESERVE.min(descriptors / 2);
    usize::try_from(left).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MAX)
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) settings: Settings,
    /// The same as it was given, to be shown or to name a mistake.
    pub(crate) given: Given,
    /// To serve where there is none.
    pub(crate) task: Option<Task>,
}

/// What ends the program before it begins.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Help or the version: for standard output.
    Told(String),
    /// A mistake.
    Mistake(Mistake),
}

impl From<Mistake> for Refusal {
    fn from(mistake: Mistake) -> Self {
        Self::Mistake(mistake)
    }
}

impl Asked {
    /// Reads the settings from all sources, each by itself.
    pub(crate) fn read(
        arguments: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Refusal> {
        let command = Task::augment_subcommands(Settings::augment_args(Command::new("chat-server")))
            .version(env!("CARGO_PKG_VERSION"))
            .about("A chat server: rooms with durable, numbered timelines, over a socket and HTTP.")
            .after_help(
                "Every setting is a flag, an environment variable, and a key of the flag's name in the file of \
                 --config. The first of these that gives it counts.",
            );
        let line = sources::untyped(command);
        let line = line.try_get_matches_from(arguments);
        let line = line.map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Refusal::Told(error.render().to_string()),
            _ => Refusal::Mistake(Mistake::of_line(&error)),
        })?;
        let given = Given::collect(&line, environment)?;
        let settings = given.read()?;
        let task = line.subcommand_name().map(|_| Task::from_arg_matches(&line)).transpose();
        let task = task.map_err(|error| Mistake::of_line(&error))?;
        Ok(Self { settings, given, task })
    }

    /// Holds the settings against each other, and reads the files that they name.
    pub(crate) fn check(&self) -> Result<Files, Mistake> {
        rules::check(&self.settings, &self.given)?;
        Files::read(&self.settings, &self.given)
    }
}
