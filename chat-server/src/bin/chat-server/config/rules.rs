//! What holds between settings.

use super::{Auth, Database, Given, Mistake, Settings};

/// Where the key of tokens can come from.
const KEYS: [&str; 3] = ["jwt-secret", "jwt-secret-file", "jwt-public-key"];

/// Settings that only tokens have.
const OF_TOKENS: [&str; 5] =
    ["jwt-secret", "jwt-secret-file", "jwt-public-key", "jwt-audience", "jwt-issuer"];

/// Settings that only one kind of database has, and which kind that is.
const OF_DATABASES: [(&str, Kind); 2] =
    [("sqlite-synchronous", Kind::Sqlite), ("postgres-connections", Kind::Postgres)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    const fn of(database: &Database) -> Self {
        match database {
            Database::Sqlite(_) | Database::SqliteMemory => Self::Sqlite,
            Database::Postgres(_) => Self::Postgres,
        }
    }

    /// How such a database is asked for.
    const fn asked_for(self) -> &'static str {
        match self {
            Self::Sqlite => "--database sqlite:…",
            Self::Postgres => "--database postgres://…",
        }
    }
}

/// Whether a setting has an effect on this database.
pub(super) fn concerns(name: &str, database: &Database) -> bool {
    let of = OF_DATABASES.into_iter().find(|(of, _)| *of == name);
    of.is_none_or(|(_, kind)| kind == Kind::of(database))
}

/// Holds the settings of a server against each other.
pub(super) fn check(settings: &Settings, given: &Given) -> Result<(), Mistake> {
    auth(settings, given)?;
    for (name, kind) in OF_DATABASES {
        if given.get(name).is_some() && !concerns(name, &settings.database) {
            let asked_for = kind.asked_for();
            return Err(Mistake::at(given.place(name), format_args!("only {asked_for} has a use for it")));
        }
    }
    for (one, other) in [("tls-cert", "tls-key"), ("tls-key", "tls-cert")] {
        if given.get(one).is_some() && given.get(other).is_none() {
            return Err(Mistake::at(given.place(one), format_args!("--{other} is needed, too")));
        }
    }
    if let Some(asked) = settings.connections_max
        && asked > settings.connections_possible()
    {
        let possible = settings.connections_possible();
        return Err(Mistake::at(
            format_args!("{} \"{asked}\"", given.place("connections-max")),
            format_args!("this process may open files for {possible} at most"),
        ));
    }
    if settings.metrics_listen.is_some_and(|address| address == settings.listen && address.port() != 0) {
        let address = settings.listen;
        return Err(Mistake::at(
            given.place("metrics-listen"),
            format_args!("--listen has {address} already"),
        ));
    }
    Ok(())
}

fn auth(settings: &Settings, given: &Given) -> Result<(), Mistake> {
    let keys: Vec<&str> = KEYS.into_iter().filter(|name| given.get(name).is_some()).collect();
    match settings.auth {
        Auth::Open if !settings.listen.ip().to_canonical().is_loopback() => Err(Mistake::at(
            format_args!("{} {:?}", given.place("listen"), settings.listen.to_string()),
            "--auth open believes everybody, so the address must be a loopback address",
        )),
        Auth::Open => match OF_TOKENS.into_iter().find(|name| given.get(name).is_some()) {
            Some(name) => Err(Mistake::at(given.place(name), "only --auth jwt has a use for it")),
            None => Ok(()),
        },
        Auth::Jwt => match keys[..] {
            [_] => Ok(()),
            [] => Err(Mistake::at(
                given.place("auth"),
                "jwt needs --jwt-secret, --jwt-secret-file or --jwt-public-key",
            )),
            [first, second, ..] => Err(Mistake::at(
                given.place(second),
                format_args!("there is one key, and {} gives another", given.place(first)),
            )),
        },
    }
}
