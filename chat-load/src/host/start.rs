//! A server of one's own, for the length of a run.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::client::http::{InvalidTarget, Target};

/// A server that has not said by then where it listens will not.
const START_MAX: Duration = Duration::from_secs(30);

/// What it says once it serves.
const LISTENING: &str = "listening on ";

/// The server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It is no program.
    #[error("{} cannot be started: {source}", program.display())]
    Program {
        /// What was to be started.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No folder for its database.
    #[error("no temporary folder for its database: {0}")]
    Folder(#[source] io::Error),
    /// It ended instead; what it had to say is on standard error.
    #[error("the server ended with {0} before it served: what it said stands above")]
    Ended(ExitStatus),
    /// It said something else.
    #[error("the server does not say where it listens: {0:?}")]
    Unheard(String),
    /// It hangs.
    #[error("the server did not serve within {} s", START_MAX.as_secs())]
    Silent,
    /// Where it listens cannot be reached.
    #[error("the server listens on {0}: {1}")]
    Target(String, #[source] InvalidTarget),
}

/// A `chat-server` on a free port of this machine, with a fresh SQLite file in a temporary folder. It is killed, and the
/// folder removed, when this is dropped.
#[derive(Debug)]
pub struct Started {
    child: Child,
    target: Target,
    pid: u32,
    _folder: TempDir,
}

impl Started {
    /// Starts a server with these flags on top. Its log goes to standard error.
    ///
    /// # Errors
    /// [`StartError`].
    ///
    /// # Cancel safety
    /// Dropping it kills what was started.
    pub async fn start(program: &Path, flags: &[OsString]) -> Result<Self, StartError> {
        let folder = tempfile::tempdir().map_err(StartError::Folder)?;
        let mut command = Command::new(program);
        // Settings of the surroundings would make it another server than the flags say.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CHAT_")) {
            command.env_remove(name);
        }
        let database = format!("sqlite:{}", folder.path().join("chat.db").display());
        command
            .args(["--listen", "127.0.0.1:0", "--auth", "open", "--log", "warn", "--database", &database])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let failed = |source| StartError::Program { program: program.to_owned(), source };
        let mut child = command.spawn().map_err(failed)?;
        let target = timeout(START_MAX, listening(&mut child, program)).await;
        let (target, pid) = target.map_err(|_late| StartError::Silent)??;
        Ok(Self { child, target, pid, _folder: folder })
    }

    /// Where it listens.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Its process.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends it. Its database goes with it, so there is nothing that it should save.
    ///
    /// # Errors
    /// Where it cannot be killed.
    ///
    /// # Cancel safety
    /// It is killed all the same.
    pub async fn stop(mut self) -> io::Result<()> {
        self.child.kill().await
    }
}

/// Where a server listens that has just been started, and its process.
async fn listening(child: &mut Child, program: &Path) -> Result<(Target, u32), StartError> {
    let failed = |source| StartError::Program { program: program.to_owned(), source };
    let pid = child.id().expect("nobody has waited for it");
    let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    said.read_line(&mut line).await.map_err(failed)?;
    if line.is_empty() {
        return Err(StartError::Ended(child.wait().await.map_err(failed)?));
    }
    let Some(url) = line.trim().strip_prefix(LISTENING) else { return Err(StartError::Unheard(line)) };
    let target = url.parse().map_err(|error| StartError::Target(url.to_owned(), error))?;
    Ok((target, pid))
}
