//! Databases of their own for tests, on a server that they share.

#![expect(clippy::panic, reason = "for tests: what is missing must fail them")]

use std::{
    env,
    error::Error,
    process,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{runtime, time};
use tokio_postgres::NoTls;

use super::PostgresServer;

/// Names a server that is there already, by a URL whose user may make databases. `scripts/test` has one for all tests.
const SHARED_SERVER: &str = "CHAT_TEST_POSTGRES";

/// Making or dropping a database takes some tens of milliseconds, and more under the load of other tests; past this the
/// server hangs.
const STATEMENT_MAX: Duration = Duration::from_mins(1);

/// A new, empty database, on the server that the environment variable `CHAT_TEST_POSTGRES` names by its URL; where it
/// is not set, on one that this process starts for its tests when the first asks.
///
/// It is dropped with this value, whoever is connected to it.
///
/// ```no_run
/// let database = chat_store::testing::postgres_database();
/// println!("psql {}", database.url());
/// ```
///
/// # Panics
///
/// When there is no Postgres here, or the server does not make the database.
pub fn postgres_database() -> PostgresDatabase {
    /// Lives as long as the process: nothing drops it, and it ends by its pipe.
    static OWN_SERVER: OnceLock<PostgresServer> = OnceLock::new();
    let server = match env::var(SHARED_SERVER) {
        Ok(url) => url,
        Err(env::VarError::NotPresent) => OWN_SERVER.get_or_init(PostgresServer::start).url().to_owned(),
        Err(error) => panic!("{SHARED_SERVER}: {error}"),
    };
    let mut database = PostgresDatabase::make_on(&server);
    database.dropped_on = Some(server);
    database
}

/// A database that was empty when it was made, and that no other test knows.
#[derive(Debug)]
pub struct PostgresDatabase {
    name: String,
    url: String,
    /// The server that outlives it. `None` where it goes with its server, which may be stopped or dead by then.
    dropped_on: Option<String>,
}

impl PostgresDatabase {
    /// Its `postgres://` URL, with what the server's URL says besides.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name, which is fit to stand in SQL without quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn make_on(server: &str) -> Self {
        let name = unique_name();
        execute(server, &format!("CREATE DATABASE {name}"))
            .unwrap_or_else(|error| panic!("no new database on {server}: {error}"));
        Self { url: with_database(server, &name), name, dropped_on: None }
    }
}

/// Does its best: a server that is gone needs nothing dropped.
impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        if let Some(server) = &self.dropped_on
            && let Err(error) = execute(server, &format!("DROP DATABASE {} WITH (FORCE)", self.name))
        {
            tracing::warn!(database = self.name, error, "the database stays");
        }
    }
}

/// No other process has it, not even one with the same pid in another container.
fn unique_name() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("chat_test_{}_{}_{:x}", process::id(), MADE.fetch_add(1, Relaxed), now.as_nanos())
}

/// Executes one statement on a connection of its own, on a thread of its own: whoever asks may be in a runtime, which
/// cannot be waited for from within.
fn execute(server: &str, statement: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                time::timeout(STATEMENT_MAX, async {
                    let (client, connection) = tokio_postgres::connect(server, NoTls).await?;
                    tokio::spawn(connection);
                    Ok(client.batch_execute(statement).await?)
                })
                .await?
            })
        })?;
        thread.join().unwrap_or_else(|_| Err("the thread panicked".into()))
    })
}

/// The URL of another database on the same server.
fn with_database(server: &str, name: &str) -> String {
    let (address, settings) =
        server.split_once('?').map_or((server, None), |(address, rest)| (address, Some(rest)));
    let Some((scheme, rest)) = address.split_once("://") else {
        panic!("a server is named by a URL, postgres://…, and not by '{server}'")
    };
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    let settings = settings.map_or_else(String::new, |settings| format!("?{settings}"));
    format!("{scheme}://{host}/{name}{settings}")
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn another_database_is_on_the_same_server_with_the_same_settings() {
        for (server, wanted) in [
            ("postgres://postgres@127.0.0.1:20000/postgres", "postgres://postgres@127.0.0.1:20000/x"),
            ("postgres://a:b@host", "postgres://a:b@host/x"),
            ("postgresql://host/", "postgresql://host/x"),
            (
                "postgres://host/y?sslmode=disable&options=a/b",
                "postgres://host/x?sslmode=disable&options=a/b",
            ),
            ("postgres://host?sslmode=disable", "postgres://host/x?sslmode=disable"),
        ] {
            assert_eq!(with_database(server, "x"), wanted);
        }
    }
}
