//! The way to a database, and the reasons not to use it.

use std::time::Duration;

use deadpool_postgres::{HookError, PoolError};
use tokio::{
    task::JoinHandle,
    time::{error::Elapsed, timeout},
};
use tokio_postgres::{Client, error::SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    address::PostgresAddress,
    hosts::Hosts,
    limits::{CALL_MAX, IDLE_MAX, LOCK_MAX, STATEMENT_MAX},
    migrations::{self, SCHEMA},
    tls::TlsError,
};
use crate::migrations::Altered;

/// The oldest Postgres that has all that is used here, as `server_version_num` has it.
const SERVER_VERSION_MIN: i32 = 13_00_00;

/// Why a database on Postgres was not opened. It is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// A certificate that the address names, or the system's, cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No connection came about: the server is not there, does not answer, or lets nobody in with this login.
    #[error("{database} cannot be reached")]
    Unreachable {
        /// The database, without the login.
        database: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server is older than Postgres 13.
    #[error("{database} is on Postgres {found}: 13 or newer is needed")]
    TooOld {
        /// The database.
        database: String,
        /// The server's own version.
        found: String,
    },
    /// There is no schema of ours in it, and none was asked to be made.
    #[error("{database} holds no rooms: it has no schema `chat` of this program")]
    Missing {
        /// The database.
        database: String,
    },
    /// It has a schema `chat` of another program.
    #[error("{database} has a schema `chat`, but not one of this program")]
    Foreign {
        /// The database.
        database: String,
    },
    /// A server has it open, or a command that wants no server beside it (a copy, or new epochs).
    #[error("{database} is in use by a server, or by a command that none may run beside")]
    InUse {
        /// The database.
        database: String,
    },
    /// A newer version of this program wrote it.
    #[error("{database} has schema version {found}, this program knows versions up to {known}")]
    Newer {
        /// The database.
        database: String,
        /// The version of its schema.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// One of its migrations is another than the one of this program.
    #[error("{database} was made by another migration {version} than this program has")]
    Altered {
        /// The database.
        database: String,
        /// Which migration.
        version: u32,
    },
    /// Postgres refuses.
    #[error("{database} cannot be used")]
    Database {
        /// The database.
        database: String,
        /// Postgres' reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The same before it is said of which database.
#[derive(Debug)]
pub(super) enum Reason {
    TooOld { found: String },
    Missing,
    Foreign,
    InUse,
    Newer { found: u32 },
    Altered { version: u32 },
    Silent(Elapsed),
    Database(tokio_postgres::Error),
}

impl From<Elapsed> for Reason {
    fn from(elapsed: Elapsed) -> Self {
        Self::Silent(elapsed)
    }
}

impl From<tokio_postgres::Error> for Reason {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Altered> for Reason {
    fn from(altered: Altered) -> Self {
        Self::Altered { version: altered.version }
    }
}

impl Reason {
    pub(super) fn of(self, address: &PostgresAddress) -> PostgresError {
        let database = address.shown();
        match self {
            Self::TooOld { found } => PostgresError::TooOld { database, found },
            Self::Missing => PostgresError::Missing { database },
            Self::Foreign => PostgresError::Foreign { database },
            Self::InUse => PostgresError::InUse { database },
            Self::Newer { found } => PostgresError::Newer { database, found, known: migrations::known() },
            Self::Altered { version } => PostgresError::Altered { database, version },
            Self::Silent(elapsed) => PostgresError::Unreachable { database, source: elapsed.into() },
            Self::Database(error) => PostgresError::Database { database, source: error.into() },
        }
    }
}

/// Why a pool has no connection, as a store is opened.
pub(super) fn unreached(error: PoolError, address: &PostgresAddress) -> PostgresError {
    match &error {
        // Whoever keeps others from serving.
        PoolError::PostCreateHook(HookError::Backend(refused))
            if refused.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) =>
        {
            Reason::InUse.of(address)
        }
        _ => PostgresError::Unreachable { database: address.shown(), source: error.into() },
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Reading,
    /// Postgres must not give up a commit that waits for a standby: it would then say that all is well.
    Writing,
}

/// What is ours in each session, whatever the address, the role or the database say: the first statements of each
/// connection. As start parameters they would get lost on the way through a pooler.
pub(super) fn settings(purpose: Purpose) -> String {
    let ms = |time: Duration| time.as_millis().to_string();
    let statement_max = match purpose {
        Purpose::Reading => STATEMENT_MAX,
        Purpose::Writing => Duration::ZERO,
    };
    let settings = [
        ("statement_timeout", ms(statement_max)),
        ("lock_timeout", ms(LOCK_MAX)),
        ("idle_in_transaction_session_timeout", ms(IDLE_MAX)),
        ("search_path", SCHEMA.to_owned()),
        ("synchronous_commit", "on".to_owned()),
        ("default_transaction_isolation", "read committed".to_owned()),
        // Everything here goes along an index, and in its order. Statistics that are behind, or not there, must not make
        // a plan read a whole table or a whole room, nor the length of an array make it plan again: for a batch of one
        // that takes longer than the batch.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        ("enable_seqscan", "off".to_owned()),
        ("enable_bitmapscan", "off".to_owned()),
        ("enable_hashjoin", "off".to_owned()),
        ("enable_mergejoin", "off".to_owned()),
        ("jit", "off".to_owned()),
    ];
    settings.iter().fold(String::new(), |all, (name, value)| format!("{all}SET {name} = '{value}';"))
}

/// The connector of an address, whose files are read on a thread that may wait for them.
pub(super) async fn connector(address: &PostgresAddress) -> Result<MakeRustlsConnect, PostgresError> {
    let (read, shown) = (address.clone(), address.shown());
    match tokio::task::spawn_blocking(move || read.connector()).await {
        Ok(connector) => Ok(connector?),
        Err(ended) => Err(PostgresError::Unreachable { database: shown, source: ended.into() }),
    }
}

/// A connection outside the pools.
pub(super) struct Way {
    pub(super) client: Client,
    task: JoinHandle<()>,
}

impl Way {
    /// To a server that is new enough.
    pub(super) async fn to(address: &PostgresAddress, tls: MakeRustlsConnect) -> Result<Self, PostgresError> {
        let hosts = Hosts::of(address, tls);
        let reached = timeout(hosts.time_max(), hosts.reach()).await;
        let reached = reached.map_err(|late| Reason::from(late).of(address))?;
        let (client, task) = reached.map_err(|error| PostgresError::Unreachable {
            database: address.shown(),
            source: error.into(),
        })?;
        let way = Self { client, task };
        let begun = async {
            way.client.batch_execute(&settings(Purpose::Writing)).await?;
            way.check_version().await
        };
        let begun = timeout(CALL_MAX, begun).await;
        begun.unwrap_or_else(|late| Err(late.into())).map_err(|reason| reason.of(address))?;
        Ok(way)
    }

    async fn check_version(&self) -> Result<(), Reason> {
        let facts = "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
            current_setting('fsync')::boolean";
        let row = self.client.query_one(facts, &[]).await?;
        if row.try_get::<_, i32>(0)? < SERVER_VERSION_MIN {
            return Err(Reason::TooOld { found: row.try_get(1)? });
        }
        if !row.try_get::<_, bool>(2)? {
            tracing::warn!("this Postgres has fsync=off: a power loss may take everything");
        }
        Ok(())
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}
