//! One run of `scripts/postgres`, by what it reads and prints.

#![expect(clippy::panic, reason = "for tests: what is missing must fail them")]

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use super::PostgresDatabase;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/postgres");

/// A Postgres server on a port of 127.0.0.1, with the durability of a real one, that ends with this value.
///
/// It ends, and what it wrote is removed, when this is dropped, and also when the process ends in any other way: it
/// lives as long as a pipe from here. No clone shares it; every method may be called from any thread.
///
/// # Panics
///
/// Each method panics when the server does not do what was asked.
#[derive(Debug)]
pub struct PostgresServer {
    url: String,
    authority: Option<PathBuf>,
    script: Mutex<Script>,
}

impl PostgresServer {
    /// Starts a server that takes connections without TLS only.
    ///
    /// # Panics
    ///
    /// When there is no Postgres here, or it does not start.
    pub fn start() -> Self {
        Self::run(Command::new(SCRIPT))
    }

    /// Starts a server that takes TLS too, with a certificate for `localhost` and 127.0.0.1 by the
    /// [`authority`](Self::authority) that was made for it.
    ///
    /// # Panics
    ///
    /// When there is no Postgres here, no `openssl`, or it does not start.
    pub fn start_with_tls() -> Self {
        let mut command = Command::new(SCRIPT);
        command.arg("--tls");
        Self::run(command)
    }

    fn run(command: Command) -> Self {
        let mut script = Script::run(command);
        let (url, authority) = script.hear_where();
        Self { url, authority, script: Mutex::new(script) }
    }

    /// `postgres://postgres@127.0.0.1:PORT/postgres`: the database that every server has, as the superuser. It stays
    /// the same through [`start_again`](Self::start_again).
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The file (PEM) with the certificate of who signed the server's; `None` where it takes no TLS.
    pub fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// A new, empty database on this server, which goes with the server.
    ///
    /// # Panics
    ///
    /// When the server does not make it: it must answer.
    pub fn fresh_database(&self) -> PostgresDatabase {
        PostgresDatabase::make_on(&self.url)
    }

    /// Stops all processes of the server (SIGSTOP): connections stay open and new ones are taken by the kernel, but
    /// nothing is answered until [`answer_again`](Self::answer_again).
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn stop_answering(&self) {
        self.ask("freeze", "frozen");
    }

    /// Lets a server that was stopped go on (SIGCONT), with what it was asked meanwhile.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn answer_again(&self) {
        self.ask("thaw", "thawed");
    }

    /// Kills all processes of the server at once (SIGKILL), stopped or not, as a crash does. What was committed is
    /// there after [`start_again`](Self::start_again).
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn kill(&self) {
        self.ask("kill", "killed");
    }

    /// Ends the server as an administrator does: transactions are rolled back and connections told.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn shut_down(&self) {
        self.ask("shutdown", "ended");
    }

    /// Starts a server that was killed or shut down, on the same data and the same port. It takes connections when this
    /// returns.
    ///
    /// # Panics
    ///
    /// When it runs, or does not start.
    pub fn start_again(&self) {
        // A panic of another test with this server leaves nothing half done: an answer was awaited or not.
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.say("start");
        let place = script.hear_where();
        assert_eq!(place, (self.url.clone(), self.authority.clone()), "it started elsewhere");
    }

    fn ask(&self, command: &str, wanted: &str) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.say(command);
        let answer = script.hear();
        assert_eq!(answer, wanted, "the answer to {command}");
    }
}

/// The script, which answers each line with a line. Its waits have bounds of their own, so there are none here.
#[derive(Debug)]
struct Script {
    process: Child,
    answers: BufReader<ChildStdout>,
    has_tls: bool,
}

impl Script {
    fn run(mut command: Command) -> Self {
        let has_tls = command.get_args().any(|argument| argument == "--tls");
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{SCRIPT} does not run: {error}"));
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, answers, has_tls }
    }

    fn say(&mut self, command: &str) {
        let commands = self.process.stdin.as_mut().expect("it is piped, and taken by nobody");
        writeln!(commands, "{command}").unwrap_or_else(|error| panic!("{SCRIPT} has ended: {error}"));
    }

    /// The next line. What goes wrong the script tells on stderr, which is ours.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap_or_else(|error| panic!("{SCRIPT} says no text: {error}"));
        assert!(line.ends_with('\n'), "{SCRIPT} has ended; stderr says why");
        line.trim_end().to_owned()
    }

    /// The lines that say that the server takes connections: where, and who signed its certificate.
    fn hear_where(&mut self) -> (String, Option<PathBuf>) {
        let url = self.hear();
        assert!(url.starts_with("postgres://"), "{SCRIPT}: {url}");
        let pid = self.hear();
        assert!(pid.starts_with("pid "), "{SCRIPT}: {pid}");
        let authority = self.has_tls.then(|| {
            let line = self.hear();
            line.strip_prefix("ca ").unwrap_or_else(|| panic!("{SCRIPT}: {line}")).into()
        });
        (url, authority)
    }
}

/// Returns when the server and its folder are gone.
impl Drop for Script {
    fn drop(&mut self) {
        // It closes stdin first, which the script takes for the end. If it cannot be waited for, it ends all the same.
        drop(self.process.wait());
    }
}
