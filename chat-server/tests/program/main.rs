//! The program: its settings, what it does with them, and its commands.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod backup;
mod commands;
mod copy;
mod mistakes;
mod postgres;
mod serve;
#[path = "../support/mod.rs"]
mod support;

use std::{
    net::SocketAddr,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tempfile::{TempDir, tempdir};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Nothing that is waited for may take longer. It is generous: it tells what hangs from what is slow.
const DEADLINE: Duration = Duration::from_mins(1);

/// The program, with no setting from the environment of the test.
fn program() -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_chat-server")))
}

/// The same under strace, which has these arguments.
fn program_under_strace(strace: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null"]).args(strace).arg(env!("CARGO_BIN_EXE_chat-server"));
    clean(command)
}

fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CHAT_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// What a program said that ended by itself.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs it to its end, in a directory of its own: a mistake that is one no longer starts a server, which would make its
/// database here.
async fn run(mut command: Command) -> Said {
    let dir = tempdir().unwrap();
    let output = command.current_dir(dir.path()).output();
    let output = timeout(DEADLINE, output).await.expect("it ends").unwrap();
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "it made what it was not told to: {left:?}");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs it with these arguments.
async fn ask(arguments: &[&str]) -> Said {
    let mut command = program();
    command.args(arguments);
    run(command).await
}

impl Said {
    /// It did what it was told, without a complaint. What it said.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// It said in one line why it would not, and ended with this code. The line.
    #[track_caller]
    fn refused(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{}", self.err);
        assert!(self.err.ends_with('\n') && self.err.lines().count() == 1, "{:?}", self.err);
        assert!(self.err.starts_with("error: "), "{:?}", self.err);
        self.err
    }
}

/// A server that runs. It is killed when it is dropped.
struct Running {
    child: Child,
    out: tokio::io::Lines<BufReader<ChildStdout>>,
    /// Where it runs.
    dir: TempDir,
    /// The first line that it said.
    line: String,
}

impl Running {
    /// Starts one on a free port.
    async fn start(database: &Path, arguments: &[&str]) -> Self {
        let mut command = program();
        command
            .args(["--database", &format!("sqlite:{}", database.display()), "--log", "warn"])
            .args(arguments);
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        Self::of(command).await
    }

    async fn of(mut command: Command) -> Self {
        let dir = tempdir().unwrap();
        let mut child = command.current_dir(dir.path()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(DEADLINE, out.next_line()).await.expect("it starts").unwrap();
        let Some(line) = line else {
            let output = child.wait_with_output().await.unwrap();
            panic!("it did not start: {}", String::from_utf8_lossy(&output.stderr));
        };
        Self { child, out, dir, line }
    }

    fn address(&self) -> SocketAddr {
        let (_, address) = self.line.split_once("://").unwrap();
        address.parse().unwrap()
    }

    async fn signal(&self, name: &str) {
        signal(self.child.id().unwrap(), name).await;
    }

    /// Ends it in peace.
    async fn end(mut self) -> ExitStatus {
        self.signal("TERM").await;
        timeout(DEADLINE, self.child.wait()).await.expect("it ends").unwrap()
    }
}

async fn signal(pid: u32, name: &str) {
    let killed = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().await.unwrap();
    assert!(killed.success());
}
