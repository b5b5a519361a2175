//! What every command line may say: of the messages, and of the server.

use std::{ffi::OsString, fs, path::PathBuf};

use chat_load::{Messages, Server, Settings, client::Subprotocol};
use clap::{Args, ValueEnum};

use super::Refusal;
use crate::others::Others;

/// Stands for the server beside this program: a folder is none.
const BESIDE: &str = ".";

/// What is asked of which server.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// Messages a second of each user who talks
    #[arg(long, default_value_t = 1.0)]
    rate: f64,
    /// Bytes of each message's text
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    text_bytes: usize,
    /// One object a frame, or as many as there are
    #[arg(long, value_enum, default_value_t = Spoken::Plain, conflicts_with = "send")]
    subprotocol: Spoken,
    /// The server
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The server's process on this machine, for its CPU and memory
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Starts this server for the run, on a fresh SQLite file; without PATH the chat-server beside this program
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = BESIDE,
        group = "started", conflicts_with_all = ["url", "server_pid"])]
    start: Option<PathBuf>,
    /// Starts another's server for the run, with the arguments after `--`; `{folder}` in them is a temporary folder. It
    /// must say `listening on http://HOST:PORT` once it serves, and be the process that was started
    #[arg(long, value_name = "PATH", group = "started", conflicts_with_all = ["url", "server_pid"])]
    start_other: Option<PathBuf>,
    /// A file with a token for each user, one a line, for a server that wants tokens
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Flags of the server that is started, after `--`
    #[arg(last = true, value_name = "FLAGS", requires = "started")]
    server_flags: Vec<OsString>,
    // Last, as all that comes after it would stand under its heading.
    #[command(flatten)]
    others: Others,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Spoken {
    #[value(name = "chat.v1")]
    Plain,
    #[value(name = "chat.v1.batch")]
    Batch,
}

impl Load {
    /// Puts into the settings what was asked for.
    pub(super) fn put_into(&self, settings: &mut Settings) -> Result<(), Refusal> {
        settings.rate = self.rate;
        settings.text_bytes = self.text_bytes;
        settings.subprotocol = match self.subprotocol {
            Spoken::Plain => Subprotocol::Plain,
            Spoken::Batch => Subprotocol::Batch,
        };
        settings.tokens = self.tokens()?;
        settings.messages = self.messages()?;
        Ok(())
    }

    /// How messages look at another's server.
    fn messages(&self) -> Result<Option<Messages>, Refusal> {
        let messages = self.others.look().as_ref().map(Messages::new).transpose();
        let messages = messages.map_err(|error| Refusal(error.to_string()))?;
        match messages {
            None if self.start_other.is_some() => Err(Refusal(
                "--start-other: how do its messages look? --send, --delivery and others say it".to_owned(),
            )),
            Some(_) if self.start.is_some() => Err(Refusal(
                "--start starts a chat-server, and --send says how another's messages look".to_owned(),
            )),
            messages => Ok(messages),
        }
    }

    /// The server that was asked for.
    pub(super) fn server(&self) -> Result<Server, Refusal> {
        let flags = self.server_flags.clone();
        Ok(match (&self.start, &self.start_other) {
            (Some(path), _) => {
                let program = if path.as_os_str() == BESIDE { beside()? } else { path.clone() };
                Server::Ours { program, flags }
            }
            (None, Some(program)) => Server::Others { program: program.clone(), arguments: flags },
            (None, None) => {
                let refused = |error| Refusal(format!("--url {}: {error}", self.url));
                Server::Running { target: self.url.parse().map_err(refused)?, pid: self.server_pid }
            }
        })
    }

    /// What the server is called.
    pub(super) fn name(&self) -> String {
        match (&self.start, &self.start_other) {
            (Some(_), _) => "chat-server".to_owned(),
            (None, Some(program)) => {
                program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
            }
            (None, None) => self.url.clone(),
        }
    }

    fn tokens(&self) -> Result<Vec<String>, Refusal> {
        let Some(path) = &self.tokens else { return Ok(Vec::new()) };
        let refused = |why: String| Refusal(format!("--tokens {}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        let tokens: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        let is_token =
            |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        match tokens.iter().position(|token| !is_token(token)) {
            Some(at) => Err(refused(format!("line {} is no token", at + 1))),
            None if tokens.is_empty() => Err(refused("there is none in it".to_owned())),
            None => Ok(tokens),
        }
    }
}

/// The server that was built together with this program.
fn beside() -> Result<PathBuf, Refusal> {
    let myself = std::env::current_exe().map_err(|error| Refusal(format!("--start: {error}")))?;
    Ok(myself.with_file_name("chat-server").with_extension(std::env::consts::EXE_EXTENSION))
}
