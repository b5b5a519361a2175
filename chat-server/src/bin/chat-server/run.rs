//! From settings to a server, and to its end.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    future::Future,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    panic::PanicHookInfo,
    sync::Arc,
    time::Duration,
};

use chat_core::{
    Engine, Limits, MissingRooms,
    bus::PollBus,
    store::{Store, StoreError},
};
use chat_server::{
    JwtAuth, JwtKey, Metrics, MetricsError, OpenAuth, Server, ServerBuilder, Tls, limits::OPEN_ROOMS_MAX,
};
use chat_store::{OpenError, PostgresError, PostgresOptions, SqliteOptions};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::{Asked, Auth, Database, Degradation, Files, LogFormat, Settings, one_line};

/// Why the server did not start. What goes wrong later is logged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("the runtime cannot start: {0}")]
    Runtime(#[source] io::Error),
    #[error("--database: {}", with_causes(.0))]
    Open(#[from] OpenError),
    #[error("--database: {}", with_causes(.0))]
    Reach(#[from] PostgresError),
    #[error("the store: {}", with_causes(.0))]
    Store(#[source] StoreError),
    #[error("{flag}: {address} cannot be listened on: {source}")]
    Listen { flag: &'static str, address: SocketAddr, source: io::Error },
    #[error("it cannot be said where it listens: {0}")]
    Announce(#[source] io::Error),
    #[error("signals cannot be handled: {0}")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// One line of an error and of what led to it.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    one_line(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

/// Runs a server until it is told to end.
pub(crate) fn run(asked: &Asked, files: Files) -> Result<(), StartError> {
    let settings = &asked.settings;
    let _log = start_log(settings);
    for variable in asked.given.strangers() {
        tracing::warn!(?variable, "there is no such setting");
    }
    raise_descriptor_limit();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(StartError::Runtime)?;
    let ended = runtime.block_on(serve(settings, files));
    // Whatever still runs had its time. What it holds is dropped with it, the store last, which then closes its file.
    runtime.shutdown_timeout(settings.drain_timeout / 20);
    ended
}

async fn serve(settings: &Settings, files: Files) -> Result<(), StartError> {
    let mut end = Box::pin(end_signal().map_err(StartError::Signals)?);
    let mut hangups = Some(signal(SignalKind::hangup()).map_err(StartError::Signals)?);
    let metrics = Metrics::install()?;
    let opened = async { engine(open_store(settings).await?, settings).await.map_err(StartError::Store) };
    let engine = tokio::select! {
        engine = opened => engine?,
        // A database may have it wait for another server that changes the schema.
        () = &mut end => {
            tracing::info!("ended before it was open");
            return Ok(());
        }
    };
    // The larger part of the end is for the connections, the rest for what the engine still has to write.
    let sockets_limit = settings.drain_timeout * 4 / 5;
    let builder = Server::builder(engine.clone()).metrics(metrics).drain_limit(sockets_limit);
    if let Some(tls) = files.tls.clone()
        && let Some(reloads) = hangups.take()
    {
        tokio::spawn(reload_at(reloads, tls));
    }
    let server = furnish(builder, settings, files).build();
    let listener = listen("--listen", settings.listen).await?;
    let mut metrics_task = JoinSet::new();
    if let Some(address) = settings.metrics_listen {
        let listener = listen("--metrics-listen", address).await?;
        tracing::info!(address = %listener.local_addr().unwrap_or(address), "metrics are shown");
        let server = server.clone();
        // Figures are worth most while something ends: to the end of the drain, where this task is dropped.
        metrics_task.spawn(async move { server.serve_metrics(listener, std::future::pending()).await });
    }
    announce(&listener, &server).map_err(StartError::Announce)?;
    let shutdown = async {
        // Where there is no certificate to be read again, a hangup is what it is to other programs: the end.
        match hangups {
            None => end.await,
            Some(mut hangups) => tokio::select! {
                () = end => {}
                _ = hangups.recv() => {}
            },
        }
        tracing::info!("draining");
    };
    server.serve(listener, shutdown).await;
    drop(metrics_task);
    settle(&engine, settings.drain_timeout.saturating_sub(sockets_limit)).await;
    tracing::info!("ended");
    Ok(())
}

async fn engine(store: Arc<dyn Store>, settings: &Settings) -> Result<Engine, StoreError> {
    let mut limits = Limits::default();
    limits.rooms_per_connection = settings.rooms_per_connection.get();
    let engine = Engine::builder_shared(store).limits(limits);
    let engine = match settings.database {
        // Other servers may be there.
        Database::Postgres(_) => engine.bus(PollBus),
        // A file is one server's.
        Database::Sqlite(_) | Database::SqliteMemory => engine,
    };
    match settings.auth {
        Auth::Open => engine.missing_rooms(MissingRooms::Create { rooms_max: OPEN_ROOMS_MAX }),
        Auth::Jwt => engine,
    }
    .build()
    .await
}

/// Gives a server what the settings say.
fn furnish(builder: ServerBuilder, settings: &Settings, files: Files) -> ServerBuilder {
    let mut builder = builder
        .trust_proxies(settings.trusted_proxy.iter().map(|proxy| proxy.0))
        .connections_max(settings.connections());
    if let Some(max) = settings.connections_of_address().limit() {
        builder = builder.connections_per_address(max);
    }
    for origin in &settings.allowed_origin {
        builder = builder.allow_origin(origin.clone());
    }
    if let Some(limit) = settings.rate_of_user().limit() {
        builder = builder.rate_limit(limit);
    }
    if settings.degradation == Degradation::Off {
        builder = builder.endure_overload();
    }
    if let Some(tls) = files.tls {
        builder = builder.tls(tls);
    }
    match (settings.auth, files.key) {
        (Auth::Open, _) => builder.authenticator(OpenAuth).known_names_only(),
        (Auth::Jwt, Some(key)) => builder.authenticator(tokens(key, settings)),
        // The rules of the settings let it not come to this. Nobody is believed then.
        (Auth::Jwt, None) => builder,
    }
}

/// Believes the tokens of this key.
fn tokens(key: JwtKey, settings: &Settings) -> JwtAuth {
    let mut auth = JwtAuth::new(key);
    if let Some(audience) = &settings.jwt_audience {
        auth = auth.audience(audience);
    }
    if let Some(issuer) = &settings.jwt_issuer {
        auth = auth.issuer(issuer);
    }
    auth
}

async fn settle(engine: &Engine, limit: Duration) {
    // Leaves a little for the process itself to end in time.
    if tokio::time::timeout(limit * 3 / 4, engine.settle()).await.is_err() {
        tracing::warn!("the store did not take everything in time");
    }
}

async fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { flag, address, source })
}

/// Tells whoever started the server where it is.
fn announce(listener: &TcpListener, server: &Server) -> io::Result<()> {
    let address = listener.local_addr()?;
    let scheme = if server.speaks_tls() { "https" } else { "http" };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on {scheme}://{address}")?;
    stdout.flush()?;
    tracing::info!(%address, "listening");
    Ok(())
}

async fn open_store(settings: &Settings) -> Result<Arc<dyn Store>, StartError> {
    let sqlite = SqliteOptions::new().synchronous(settings.sqlite_synchronous.into());
    Ok(match &settings.database {
        Database::SqliteMemory => Arc::new(sqlite.open_in_memory().await?),
        Database::Sqlite(path) => Arc::new(sqlite.open(path).await?),
        Database::Postgres(address) => {
            let postgres = PostgresOptions::new((**address).clone());
            Arc::new(postgres.connections(settings.postgres_connections).open().await?)
        }
    })
}

/// Ready at the first SIGTERM or SIGINT.
pub(crate) fn end_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Reads the certificate again at each signal.
async fn reload_at(mut reloads: Signal, tls: Tls) {
    while reloads.recv().await.is_some() {
        let tls = tls.clone();
        // A bug in there was reported by the panic hook.
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || tls.reload()).await {
            tracing::error!(%error, "the certificates remain as they were");
        }
    }
}

/// Each connection is a descriptor, and the soft limit is often 1,024.
fn raise_descriptor_limit() {
    match rlimit::increase_nofile_limit(rlimit::INFINITY) {
        Ok(descriptors_max) => tracing::debug!(descriptors_max, "descriptor limit"),
        Err(error) => tracing::warn!(%error, "the descriptor limit stays as it is"),
    }
}

/// Lines of the log that wait for whoever reads it. Past it lines are lost: nobody is held up for them.
const LOG_LINES_MAX: usize = 8192;

/// Logs to standard error, until what it gives is dropped: then the last lines are written.
pub(crate) fn start_log(settings: &Settings) -> WorkerGuard {
    let filter = EnvFilter::new(settings.log.to_string());
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(LOG_LINES_MAX).finish(io::stderr());
    // A reader that has gone is no reason to say so where it would have read it.
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    match settings.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
    std::panic::set_hook(Box::new(log_panic));
    guard
}

/// A bug goes where all else goes, in one line: the hook that Rust has writes past the log and its format.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(tracing::field::display);
    let what = panic.payload_as_str();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(place, what, backtrace, "panicked");
}
