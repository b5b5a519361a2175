//! Where a Postgres database is: the URL that names it.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rustls::pki_types::ServerName;
use tokio_postgres::{
    Config,
    config::{Host, SslMode, SslNegotiation, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    limits::KEEPALIVE_IDLE,
    tls::{self, Authorities, ClientFiles, Tls, TlsError, Verify},
};

/// Where a database is, and as whom it is entered: libpq's URL,
/// `postgres://[USER[:PASSWORD]@]HOST[:PORT][,…][/DATABASE][?PARAMETER=VALUE&…]`.
///
/// In it, `@`, `/`, `?`, `%` and the like stand as themselves only where they have a meaning, else as `%40` and so on. A
/// directory with a Unix socket stands in the place of a host (`%2Frun%2Fpostgresql`) or in the parameter `host`. Without a user it is the system's; without a database, the user's.
/// Nothing is read from `PG…` variables or from files of `~/.postgresql`.
///
/// How the way there is secured is said with libpq's parameters:
///
/// | `sslmode` | encrypted | verified of the server |
/// |---|---|---|
/// | `disable` | no | nothing |
/// | `prefer`, the default | where the server can | nothing |
/// | `require` | yes | nothing; with `sslrootcert` the same as `verify-ca` |
/// | `verify-ca` | yes | that an authority has signed its certificate |
/// | `verify-full` | yes | also that the certificate is for the host that is named |
///
/// `sslrootcert` is a file with authorities in PEM, or `system` for those of the system; these are believed, too, where
/// `verify-ca` or `verify-full` stands alone. `sslcert` and `sslkey` are the files of a client's certificate and its
/// key. Sockets of Unix are never encrypted, whatever `sslmode` says. A certificate is for the names and addresses of
/// its `subjectAltName`, whatever its common name is; one that is an authority's at once, or of X.509's version 1, is no
/// server's where anything is verified.
///
/// Of the others, `application_name` (`chat` unless given), `channel_binding`, `connect_timeout`, `dbname`, `host`,
/// `hostaddr`, `keepalives`, `keepalives_idle`, `keepalives_interval`, `keepalives_retries`, `load_balance_hosts`,
/// `options`, `password`, `port`, `sslnegotiation`, `target_session_attrs`, `tcp_user_timeout` and `user` are known.
/// Of several hosts the first one that answers and takes writes is used, unless `target_session_attrs=any` leaves out the
/// latter (`read-only` is refused). All together have 2 s, each the same part of it; `connect_timeout` can make that less.
/// `keepalives_idle` is 60 (seconds) unless given.
///
/// ```
/// use chat_store::PostgresAddress;
///
/// let address: PostgresAddress =
///     "postgres://chat:secret@db.example/chat?sslmode=verify-full&sslrootcert=/etc/chat/db-ca.pem".parse()?;
/// assert!(!format!("{address:?}").contains("secret"));
/// assert_eq!(address.to_string(), "postgres://db.example/chat");
/// "postgres://chat:secret@db.example/chat?sslmode=verify-all".parse::<PostgresAddress>().unwrap_err();
/// # Ok::<(), chat_store::InvalidAddress>(())
/// ```
#[derive(Debug, Clone)]
pub struct PostgresAddress {
    /// It hides the password from `Debug`.
    config: Config,
    /// `None` where no TLS will be spoken.
    tls: Option<Tls>,
}

/// Why a text is not the address of a Postgres database. No message quotes the text: it may have a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAddress {
    /// It is no URL of Postgres.
    #[error("a Postgres database is named as postgres://HOST/DATABASE")]
    Scheme,
    /// A sign that has a meaning stands where it has none.
    #[error(
        "`@`, `/` and `?` in a user name or password, and `@` in a parameter, are written %40, %2F and %3F"
    )]
    Unescaped,
    /// A text with a NUL in it.
    #[error("a NUL (%00) cannot be part of it")]
    Nul,
    /// What stands before the parameters.
    #[error("before the parameters: {0}")]
    Place(String),
    /// No host is named.
    #[error("no host is named (the directory of a Unix socket is one, too: ?host=/run/postgresql)")]
    NoHost,
    /// A host that is neither a name nor an address. The first one has number 1.
    #[error("host {0} is neither a name nor an IP address nor an absolute path")]
    Host(usize),
    /// There are neither as many as hosts nor just one.
    #[error("there is not one {0} for each host")]
    Uneven(&'static str),
    /// The driver would leave the socket alone, and what was meant for it would go through the network.
    #[error("a Unix socket has no hostaddr")]
    SocketWithAddress,
    /// A parameter that is not known. The first one after the `?` has number 1.
    #[error("parameter {0} after the `?` is none that is known")]
    Unknown(usize),
    /// A parameter without a value. The first one after the `?` has number 1.
    #[error("parameter {0} after the `?` is not of the form NAME=VALUE")]
    NoValue(usize),
    /// Something is said at two places.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// A value that the parameter does not have.
    #[error("{0} does not have this value")]
    Value(&'static str),
    /// The mode that asks for encryption only where the server insists.
    #[error("sslmode=allow is not supported: prefer encrypts where it can, disable does not")]
    Allow,
    /// A parameter that has no effect together with another one.
    #[error("{0} has no effect with sslmode={1}")]
    NoEffect(&'static str, &'static str),
    /// The authorities of the system sign for anybody: only the name tells whom.
    #[error("sslrootcert=system needs sslmode=verify-full")]
    SystemNeedsName,
    /// Of a certificate and its key, only one is given.
    #[error("sslcert and sslkey go together")]
    HalfClient,
    /// Who begins with TLS at once cannot do without.
    #[error("sslnegotiation=direct needs sslmode=require, verify-ca or verify-full")]
    DirectNeedsTls,
    /// Nothing can be kept on a host that is only read.
    #[error("target_session_attrs=read-only: rooms are written, too, which takes read-write or any")]
    ReadOnly,
    /// A socket has no TLS, and this mode takes nothing else.
    #[error("a Unix socket beside other hosts needs sslmode=prefer or disable")]
    MixedNeedsPlain,
}

/// How each begins.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// What the database's log and `pg_stat_activity` call this program, where the address does not say.
const APPLICATION_NAME: &str = "chat";

const PORT: u16 = 5432;

/// The parameters that the driver knows too little of.
const OURS: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

/// The parameters that the driver knows.
const DRIVERS: [&str; 18] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Parameters by their names, as they stand in the URL.
type Parameters<'a> = BTreeMap<&'static str, &'a str>;

impl FromStr for PostgresAddress {
    type Err = InvalidAddress;

    fn from_str(url: &str) -> Result<Self, InvalidAddress> {
        let rest =
            SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme)).ok_or(InvalidAddress::Scheme)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        check_signs(place, query)?;
        let parameters = parameters(query)?;
        let mut config = driver_config(place, &parameters)?;
        check_hosts(&mut config)?;
        let mut address = Self { tls: tls_of(&parameters, &mut config)?, config };
        address.leave_sockets_plain()?;
        address.check_names()?;
        address.settle_target(&parameters)?;
        if !parameters.contains_key("keepalives_idle") {
            address.config.keepalives_idle(KEEPALIVE_IDLE);
        }
        if address.config.get_application_name().is_none() {
            address.config.application_name(APPLICATION_NAME);
        }
        Ok(address)
    }
}

impl PostgresAddress {
    /// What the driver connects with, together with the [connector](Self::connector).
    pub(super) fn config(&self) -> Config {
        self.config.clone()
    }

    /// Reads the certificates that are named. What they are replaced by later is seen by the next connector only.
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect, TlsError> {
        let config = self.tls.as_ref().map_or_else(|| Ok(tls::believes_nobody()), Tls::client_config)?;
        Ok(MakeRustlsConnect::new(config))
    }

    /// The address without the login: for messages and logs.
    pub(super) fn shown(&self) -> String {
        let ports = self.config.get_ports();
        let hosts = self.config.get_hosts().iter().enumerate().map(|(index, host)| {
            let host = match host {
                Host::Tcp(name) if name.contains(':') => format!("[{}]", escaped(name).replace("%3A", ":")),
                Host::Tcp(name) => escaped(name),
                #[cfg(unix)]
                Host::Unix(directory) => escaped(&directory.to_string_lossy()),
            };
            match ports.get(index).or_else(|| ports.first()) {
                Some(port) if *port != PORT => format!("{host}:{port}"),
                _ => host,
            }
        });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        let database = self.config.get_dbname().map(|name| format!("/{}", escaped(name)));
        format!("postgres://{hosts}{}", database.unwrap_or_default())
    }

    /// A store writes: of several hosts it needs the one that takes that, and a standby's reads may be of the past.
    fn settle_target(&mut self, parameters: &Parameters<'_>) -> Result<(), InvalidAddress> {
        if self.config.get_target_session_attrs() == TargetSessionAttrs::ReadOnly {
            return Err(InvalidAddress::ReadOnly);
        }
        if self.config.get_hosts().len() > 1 && !parameters.contains_key("target_session_attrs") {
            self.config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(())
    }

    /// As libpq does: TLS is for TCP.
    fn leave_sockets_plain(&mut self) -> Result<(), InvalidAddress> {
        let sockets = self.config.get_hosts().iter().filter(|host| is_socket(host)).count();
        if sockets == self.config.get_hosts().len() {
            self.tls = None;
            self.config.ssl_mode(SslMode::Disable).ssl_negotiation(SslNegotiation::Postgres);
        } else if sockets > 0 && self.config.get_ssl_mode() == SslMode::Require {
            return Err(InvalidAddress::MixedNeedsPlain);
        }
        Ok(())
    }

    /// That TLS can be told who is meant. Without TLS it is the resolver's business.
    fn check_names(&self) -> Result<(), InvalidAddress> {
        let nameless =
            |host: &Host| matches!(host, Host::Tcp(name) if ServerName::try_from(name.as_str()).is_err());
        match self.config.get_hosts().iter().position(nameless) {
            Some(index) if self.tls.is_some() => Err(InvalidAddress::Host(index + 1)),
            _ => Ok(()),
        }
    }
}

/// The hosts and the database: without the login and the parameters, so that it can be shown to anybody.
impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

const fn is_socket(host: &Host) -> bool {
    !matches!(host, Host::Tcp(_))
}

/// What a reader may see as it is; everything else could break a line or look like another part of the URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// What no host's name has in it, escaped or not.
const NO_NAME: [char; 4] = ['@', '/', ',', ' '];

/// The driver takes whatever stands before the first `@` for the login, wherever that is, and the rest of a password
/// with an `@` in it for a host.
fn check_signs(place: &str, query: &str) -> Result<(), InvalidAddress> {
    let login_ends = place.find('@');
    let path_begins = place.find('/').unwrap_or(place.len());
    if query.contains('@') || place.rfind('@') != login_ends || login_ends.is_some_and(|at| at > path_begins)
    {
        return Err(InvalidAddress::Unescaped);
    }
    if [place, query].iter().any(|text| text.contains('\0') || text.contains("%00")) {
        return Err(InvalidAddress::Nul);
    }
    Ok(())
}

fn parameters(query: &str) -> Result<Parameters<'_>, InvalidAddress> {
    let mut parameters = BTreeMap::new();
    if query.is_empty() {
        return Ok(parameters);
    }
    for (index, pair) in query.split('&').enumerate() {
        let (name, value) = pair.split_once('=').ok_or(InvalidAddress::NoValue(index + 1))?;
        let name = percent_decode_str(name).decode_utf8_lossy();
        let name = OURS.iter().chain(&DRIVERS).find(|known| **known == name);
        let name = *name.ok_or(InvalidAddress::Unknown(index + 1))?;
        if parameters.insert(name, value).is_some() {
            return Err(InvalidAddress::Twice(name));
        }
    }
    Ok(parameters)
}

/// What the driver makes of everything that is not ours.
fn driver_config(place: &str, parameters: &Parameters<'_>) -> Result<Config, InvalidAddress> {
    // The driver says what is wrong with which part, without what stands there.
    let reason = |error: tokio_postgres::Error| error.into_source().map(|source| source.to_string());
    let parse = |query: &str| {
        let parsed = format!("postgres://{place}?{query}").parse::<Config>();
        parsed.map_err(|error| InvalidAddress::Place(reason(error).unwrap_or_default()))
    };
    let base = parse("")?;
    let mut query = Vec::new();
    for name in DRIVERS {
        let Some(value) = parameters.get(name) else { continue };
        let stands_before = match name {
            "dbname" => base.get_dbname().is_some(),
            "host" => !base.get_hosts().is_empty(),
            "password" => base.get_password().is_some(),
            "port" => !base.get_ports().is_empty(),
            "user" => base.get_user().is_some(),
            _ => false,
        };
        if stands_before {
            return Err(InvalidAddress::Twice(name));
        }
        // Of hosts, the driver knows a list only before the parameters; here each wants a parameter of its own.
        let values: Vec<_> = if name == "host" { value.split(',').collect() } else { vec![value] };
        for value in values {
            let pair = format!("{name}={value}");
            format!("postgres://?{pair}").parse::<Config>().map_err(|_which| InvalidAddress::Value(name))?;
            query.push(pair);
        }
    }
    parse(&query.join("&"))
}

/// Each host has a port and an address of its own, or all have the same port and none an address.
fn check_hosts(config: &mut Config) -> Result<(), InvalidAddress> {
    if config.get_hosts().is_empty() {
        // TLS wants to be told who is meant: without a name it is the address.
        for address in config.get_hostaddrs().to_vec() {
            config.host(address.to_string());
        }
    }
    let hosts = config.get_hosts();
    if hosts.is_empty() {
        return Err(InvalidAddress::NoHost);
    }
    // The driver would look up whatever stands there.
    let nobody = |host: &Host| matches!(host, Host::Tcp(name) if name.is_empty() || name.contains(NO_NAME));
    if let Some(index) = hosts.iter().position(nobody) {
        return Err(InvalidAddress::Host(index + 1));
    }
    if !config.get_hostaddrs().is_empty() {
        if config.get_hostaddrs().len() != hosts.len() {
            return Err(InvalidAddress::Uneven("hostaddr"));
        }
        if hosts.iter().any(is_socket) {
            return Err(InvalidAddress::SocketWithAddress);
        }
    }
    if config.get_ports().len() > 1 && config.get_ports().len() != hosts.len() {
        return Err(InvalidAddress::Uneven("port"));
    }
    Ok(())
}

/// Reads our parameters, and tells the driver what of them is its own.
fn tls_of(parameters: &Parameters<'_>, config: &mut Config) -> Result<Option<Tls>, InvalidAddress> {
    let [mode, authorities, cert, key] = [
        value(parameters, "sslmode")?,
        value(parameters, "sslrootcert")?,
        value(parameters, "sslcert")?,
        value(parameters, "sslkey")?,
    ];
    let authorities = authorities.map(|text| match text.as_str() {
        "system" => Authorities::System,
        _ => Authorities::File(PathBuf::from(text)),
    });
    let of_the_system = authorities == Some(Authorities::System);
    let mode = mode.as_deref().unwrap_or(if of_the_system { "verify-full" } else { "prefer" });
    if of_the_system && mode != "verify-full" {
        return Err(InvalidAddress::SystemNeedsName);
    }
    let client = match (cert, key) {
        (Some(cert), Some(key)) => Some(ClientFiles { cert: cert.into(), key: key.into() }),
        (None, None) => None,
        _ => return Err(InvalidAddress::HalfClient),
    };
    let (ssl_mode, verify) = match (mode, authorities) {
        ("disable", Some(_)) => return Err(InvalidAddress::NoEffect("sslrootcert", "disable")),
        ("disable", None) if client.is_some() => return Err(InvalidAddress::NoEffect("sslcert", "disable")),
        ("disable", None) => (SslMode::Disable, None),
        // Whoever names authorities wants them asked, and here nobody would be: the mode was forgotten.
        ("prefer", Some(_)) => return Err(InvalidAddress::NoEffect("sslrootcert", "prefer")),
        ("prefer", None) => (SslMode::Prefer, Some(Verify::Nothing)),
        ("require", None) => (SslMode::Require, Some(Verify::Nothing)),
        ("require", Some(named)) => (SslMode::Require, Some(Verify::Chain(named))),
        ("verify-ca", named) => (SslMode::Require, Some(Verify::Chain(named.unwrap_or(Authorities::System)))),
        ("verify-full", named) => {
            (SslMode::Require, Some(Verify::ChainAndName(named.unwrap_or(Authorities::System))))
        }
        ("allow", _) => return Err(InvalidAddress::Allow),
        _ => return Err(InvalidAddress::Value("sslmode")),
    };
    if config.get_ssl_negotiation() == SslNegotiation::Direct && ssl_mode != SslMode::Require {
        return Err(InvalidAddress::DirectNeedsTls);
    }
    config.ssl_mode(ssl_mode);
    Ok(verify.map(|verify| Tls { verify, client }))
}

/// One of [`OURS`], of which none may be empty.
fn value(parameters: &Parameters<'_>, name: &'static str) -> Result<Option<String>, InvalidAddress> {
    let Some(value) = parameters.get(name) else { return Ok(None) };
    match percent_decode_str(value).decode_utf8() {
        Ok(value) if !value.is_empty() => Ok(Some(value.into_owned())),
        _ => Err(InvalidAddress::Value(name)),
    }
}

#[cfg(test)]
mod tests;
