//! The program over a database that outlives it.

#![allow(dead_code, reason = "each test file uses its own part")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{fs::OpenOptions, net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use chat_store::testing::{PostgresDatabase, postgres_database};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, timeout},
};
use tokio_postgres::NoTls;

use super::Answer;

/// Nothing that is waited for may take longer. It is generous: it tells what hangs from what is slow.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Where servers run, and the database that they have. It outlives them.
#[derive(Debug)]
pub(crate) struct Home {
    dir: TempDir,
    database: Database,
}

#[derive(Debug)]
enum Database {
    Sqlite,
    Postgres(PostgresDatabase),
}

impl Home {
    /// With a database on SQLite.
    pub(crate) fn new() -> Self {
        Self::with(Database::Sqlite)
    }

    /// With a database on the Postgres that tests share.
    pub(crate) fn on_postgres() -> Self {
        Self::of(postgres_database())
    }

    /// With this database.
    pub(crate) fn of(database: PostgresDatabase) -> Self {
        Self::with(Database::Postgres(database))
    }

    fn with(database: Database) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), database }
    }

    /// Waits until nobody does anything to the database any more: Postgres may hear later that a server was killed, and
    /// still commit what that had asked for.
    pub(crate) async fn quiet(&self) {
        let Database::Postgres(database) = &self.database else { return };
        let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let others = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
        let begun = Instant::now();
        while client.query_one(others, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            assert!(begun.elapsed() < DEADLINE, "somebody is there still");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts a server on a free port, over what earlier ones left.
    pub(crate) async fn start(&self) -> Program {
        self.start_with(&["--log", "error"], Stdio::inherit()).await
    }

    /// Starts a server where an earlier one was.
    pub(crate) async fn start_at(&self, address: SocketAddr) -> Program {
        self.start_with(&["--log", "error", "--listen", &address.to_string()], Stdio::inherit()).await
    }

    /// Starts a server that logs into a file: [`log`](Self::log).
    pub(crate) async fn start_logging(&self, arguments: &[&str]) -> Program {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        self.start_with(arguments, log.into()).await
    }

    /// All that servers have logged here.
    pub(crate) fn log(&self) -> String {
        String::from_utf8(std::fs::read(self.log_path()).unwrap()).unwrap()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    async fn start_with(&self, arguments: &[&str], stderr: Stdio) -> Program {
        let database = match &self.database {
            Database::Sqlite => format!("sqlite:{}", self.dir.path().join("chat.db").display()),
            Database::Postgres(database) => database.url().to_owned(),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CHAT_")) {
            command.env_remove(name);
        }
        let mut child = command
            .current_dir(self.dir.path())
            .args(["--database", &database])
            .args(if arguments.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] })
            .args(if arguments.contains(&"--auth") { &[][..] } else { &["--auth", "open"] })
            .args(["--degradation", "off"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(DEADLINE, lines.next_line()).await.expect("it starts").unwrap();
        let line = line.expect("it says where it listens");
        let address = line.strip_prefix("listening on http://").expect(&line).parse().unwrap();
        Program { _guard: guard(child.id().unwrap()), child, address }
    }
}

/// Kills the server where the test goes without a word: its end of the pipe is closed then.
fn guard(pid: u32) -> Child {
    Command::new("sh")
        .args(["-c", "read -r _; kill -9 $0", &pid.to_string()])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// A running server. It is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    /// Dropped before the server is, so that it never kills a process that came after.
    _guard: Child,
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Program {
    /// Ends it with SIGKILL.
    pub(crate) async fn kill(mut self) {
        timeout(DEADLINE, self.child.kill()).await.expect("it dies").unwrap();
    }

    /// Asks it to end with SIGTERM.
    pub(crate) async fn terminate(&self) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    }

    /// Waits until it has ended. Returns its exit code.
    pub(crate) async fn ended(mut self) -> Option<i32> {
        timeout(DEADLINE, self.child.wait()).await.expect("it ends").unwrap().code()
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// A figure of memory: `VmRSS` as it is, `VmHWM` as it was at most.
    pub(crate) fn memory_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).unwrap();
        kib.parse::<u64>().unwrap() << 10
    }

    /// The figure of a metric.
    pub(crate) async fn metric(&self, name: &str) -> Option<u64> {
        let answer = self.http("GET", "/metrics", None).await;
        let line = answer.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|figure| figure.parse().unwrap())
    }

    /// Waits until a metric has a figure that is good.
    pub(crate) async fn wait_for_metric(&self, name: &str, is_good: impl Fn(u64) -> bool) {
        let begun = Instant::now();
        while !self.metric(name).await.is_some_and(&is_good) {
            assert!(begun.elapsed() < DEADLINE, "{name} stays {:?}", self.metric(name).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn http(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let answer = super::http(self.address, method, path, body);
        timeout(DEADLINE, answer).await.expect("requests are answered")
    }
}
