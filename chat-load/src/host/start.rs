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
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::client::http::{InvalidTarget, Target};

/// A server that has not said by then where it listens will not.
const START_MAX: Duration = Duration::from_secs(30);

/// Another's server may have to install what it is made of first.
const INSTALL_MAX: Duration = Duration::from_mins(5);

/// What it says once it serves.
const LISTENING: &str = "listening on ";

/// Its first line is no longer, or it is none that says this.
const LINE_BYTES_MAX: u64 = 4 << 10;

/// Stands for the temporary folder in the arguments of another's server.
const FOLDER: &str = "{folder}";

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
    #[error("the server did not serve within {} s", .0.as_secs())]
    Silent(Duration),
    /// Where it listens cannot be reached.
    #[error("the server listens on {0}: {1}")]
    Target(String, #[source] InvalidTarget),
}

/// A server on this machine, with a temporary folder for its database. It is killed, and the folder removed, when this is
/// dropped.
#[derive(Debug)]
pub struct Started {
    child: Child,
    target: Target,
    pid: u32,
    folder: TempDir,
}

impl Started {
    /// Starts a `chat-server` on a free port and a fresh SQLite file, with these flags on top. Its log goes to standard
    /// error.
    ///
    /// # Errors
    /// [`StartError`].
    ///
    /// # Cancel safety
    /// Dropping it kills what was started.
    pub async fn start(program: &Path, flags: &[OsString]) -> Result<Self, StartError> {
        let folder = tempfile::tempdir().map_err(StartError::Folder)?;
        let database = format!("sqlite:{}", folder.path().join("chat.db").display());
        let mut command = Command::new(program);
        command
            .args(["--listen", "127.0.0.1:0", "--auth", "open", "--log", "warn", "--database", &database])
            .args(flags);
        Self::spawn(command, program, folder, START_MAX).await
    }

    /// Starts another's server, with these arguments and no others; `{folder}` in them is a fresh temporary folder. Once
    /// it serves it must say `listening on http://HOST:PORT` as its first line, and the process that was started must be
    /// the one that serves, so that its costs are the server's. All else that it says goes to standard error.
    ///
    /// # Errors
    /// [`StartError`].
    ///
    /// # Cancel safety
    /// Dropping it kills what was started.
    pub async fn start_other(program: &Path, arguments: &[OsString]) -> Result<Self, StartError> {
        let folder = tempfile::tempdir().map_err(StartError::Folder)?;
        let path = folder.path().to_string_lossy().into_owned();
        let mut command = Command::new(program);
        for argument in arguments {
            match argument.to_str() {
                Some(text) => command.arg(text.replace(FOLDER, &path)),
                None => command.arg(argument),
            };
        }
        Self::spawn(command, program, folder, INSTALL_MAX).await
    }

    async fn spawn(
        mut command: Command,
        program: &Path,
        folder: TempDir,
        longest: Duration,
    ) -> Result<Self, StartError> {
        // Settings of the surroundings would make it another server than the flags say.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CHAT_")) {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let failed = |source| StartError::Program { program: program.to_owned(), source };
        let mut child = command.spawn().map_err(failed)?;
        let pid = child.id().expect("nobody has waited for it");
        let target = timeout(longest, listening(&mut child, program)).await;
        let (target, said) = target.map_err(|_late| StartError::Silent(longest))??;
        tokio::spawn(pass_on(said));
        Ok(Self { child, target, pid, folder })
    }

    /// Where it listens.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Where its database is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
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

/// Where a server listens that has just been started, and what else it says.
async fn listening(
    child: &mut Child,
    program: &Path,
) -> Result<(Target, BufReader<ChildStdout>), StartError> {
    let failed = |source| StartError::Program { program: program.to_owned(), source };
    let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = Vec::new();
    (&mut said).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await.map_err(failed)?;
    if line.is_empty() {
        return Err(StartError::Ended(child.wait().await.map_err(failed)?));
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    let Some(url) = line.trim().strip_prefix(LISTENING) else { return Err(StartError::Unheard(line)) };
    let target = url.parse().map_err(|error| StartError::Target(url.to_owned(), error))?;
    Ok((target, said))
}

/// A server that may not say any more would break, or wait for ever. It ends with the server.
async fn pass_on(mut said: BufReader<ChildStdout>) {
    // Where standard error is closed there is nobody to tell.
    let _ = tokio::io::copy_buf(&mut said, &mut tokio::io::stderr()).await;
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    async fn start(script: &str) -> Result<Started, StartError> {
        Started::start_other(Path::new("/bin/sh"), &["-c".into(), script.into(), "{folder}/x".into()]).await
    }

    #[tokio::test]
    async fn another_server_gets_its_arguments_and_no_others_and_a_folder_that_goes_with_it() {
        let script = r#"echo hi > "$0"; echo "listening on http://127.0.0.1:9"; exec sleep 60"#;
        let server = start(script).await.unwrap();
        let folder = server.folder().to_owned();
        assert_eq!(server.target().address, ([127, 0, 0, 1], 9).into());
        assert_eq!(std::fs::read_to_string(folder.join("x")).unwrap(), "hi\n");
        server.stop().await.unwrap();
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn another_server_that_says_more_is_heard_out() {
        // Whoever writes to nobody dies of it, and makes no sign.
        let script = r#"echo "listening on http://127.0.0.1:9"; echo more; : > "$0"; exec sleep 60"#;
        let server = start(script).await.unwrap();
        let sign = server.folder().join("x");
        while !sign.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.stop().await.unwrap();
    }

    #[tokio::test]
    async fn another_server_that_does_not_serve_is_told_from_one_that_says_something_else() {
        let ended = start("exit 3").await.unwrap_err();
        assert!(ended.to_string().contains("exit status: 3 before it served"), "{ended}");
        let strange = start("echo hello").await.unwrap_err();
        assert!(strange.to_string().contains(r#""hello\n""#), "{strange}");
        let binary = start(r"printf '\377\n'").await.unwrap_err();
        assert!(matches!(binary, StartError::Unheard(_)), "{binary}");
        let endless = start("exec tr '\\0' x </dev/zero").await.unwrap_err();
        assert!(matches!(&endless, StartError::Unheard(said) if said.len() < 1 << 16), "{endless}");
    }
}
