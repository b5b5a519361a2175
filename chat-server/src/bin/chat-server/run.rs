//! From settings to a server, and to its end.

use std::{
    future::Future,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use chat_core::{Engine, MissingRooms, store::StoreError};
use chat_server::{Metrics, MetricsError, OpenAuth, Server};
use chat_store::{OpenError, SqliteStore};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use crate::config::{Auth, Config, Database, LogFormat};

/// Rooms that joins may make in `open` mode. Past it a join of another finds nothing.
const OPEN_ROOMS_MAX: u64 = 100_000;

/// Why the server did not start. What goes wrong later is logged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("the runtime cannot start: {0}")]
    Runtime(#[source] io::Error),
    #[error("--database: the directory {path} cannot be made: {source}")]
    Directory { path: String, source: io::Error },
    #[error("--database: {}", with_causes(.0))]
    Open(#[source] OpenError),
    #[error("the store: {}", with_causes(.0))]
    Store(#[source] StoreError),
    #[error("--listen: {address} cannot be listened on: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("signals cannot be handled: {0}")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// One line of an error and of what led to it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(|error| error.to_string().replace('\n', " ")).collect::<Vec<_>>().join(": ")
}

/// Runs a server until it is told to end.
pub(crate) fn run(config: Config) -> Result<(), StartError> {
    start_log(&config);
    raise_descriptor_limit();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(StartError::Runtime)?;
    let ended = runtime.block_on(serve(config));
    // Whatever still runs had its time.
    runtime.shutdown_background();
    ended
}

async fn serve(config: Config) -> Result<(), StartError> {
    let shutdown = shutdown_signal()?;
    let metrics = Metrics::install()?;
    let store = open_store(&config.database).await?;
    let missing = MissingRooms::Create { rooms_max: OPEN_ROOMS_MAX };
    let engine = Engine::builder(store).missing_rooms(missing).build().await.map_err(StartError::Store)?;
    // The larger part of the end is for the connections, the rest for what the engine still has to write.
    let sockets_limit = config.drain_timeout * 4 / 5;
    let builder = Server::builder(engine.clone()).metrics(metrics).drain_limit(sockets_limit);
    let server = match config.auth {
        Auth::Open => builder.authenticator(OpenAuth).build(),
    };
    let address = config.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
    announce(&listener).map_err(|source| StartError::Listen { address, source })?;
    server.serve(listener, shutdown).await;
    settle(&engine, config.drain_timeout.saturating_sub(sockets_limit)).await;
    tracing::info!("ended");
    Ok(())
}

async fn settle(engine: &Engine, limit: Duration) {
    // Leaves a little for the process itself to end in time.
    if tokio::time::timeout(limit * 3 / 4, engine.settle()).await.is_err() {
        tracing::warn!("the store did not take everything in time");
    }
}

/// Tells whoever started the server where it is.
fn announce(listener: &TcpListener) -> io::Result<()> {
    let address = listener.local_addr()?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on http://{address}")?;
    stdout.flush()?;
    tracing::info!(%address, "listening");
    Ok(())
}

async fn open_store(database: &Database) -> Result<SqliteStore, StartError> {
    let store = match database {
        Database::SqliteMemory => SqliteStore::in_memory().await,
        Database::Sqlite(path) => {
            make_directory_of(path)?;
            SqliteStore::open(path).await
        }
    };
    store.map_err(StartError::Open)
}

fn make_directory_of(path: &Path) -> Result<(), StartError> {
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(directory)
        .map_err(|source| StartError::Directory { path: directory.display().to_string(), source })
}

/// Ready at the first SIGTERM or SIGINT.
fn shutdown_signal() -> Result<impl Future<Output = ()>, StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("draining");
    })
}

/// Each connection is a descriptor, and the soft limit is often 1,024.
fn raise_descriptor_limit() {
    match rlimit::increase_nofile_limit(rlimit::INFINITY) {
        Ok(descriptors_max) => tracing::debug!(descriptors_max, "descriptor limit"),
        Err(error) => tracing::warn!(%error, "the descriptor limit stays as it is"),
    }
}

fn start_log(config: &Config) {
    let filter = EnvFilter::new(config.log.to_string());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match config.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
}
