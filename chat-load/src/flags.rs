//! The command line.

use std::{ffi::OsString, fs, path::PathBuf, time::Duration};

use chat_load::{
    Messages, OTHERS_TEXT_BYTES_MIN, Scenario, Settings, TEXT_BYTES_MIN,
    client::{Subprotocol, WAITING_MAX, http::Target},
};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::others::Others;

/// Puts a chat server under load from many users, verifies every number and ack, and says what it cost.
///
/// It ends with 0 where nothing was lost, doubled or out of order, with 1 where something was or the run could not be
/// made, and with 2 where the flags are wrong.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Flags {
    #[command(subcommand)]
    scenario: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All in one room, each says one message a second
    Room(Common),
    /// Two in each room, an operator and a manager, each says one message a second
    Pairs(Common),
    /// One talks as fast as acks come, so many others listen
    Fanout {
        #[command(flatten)]
        common: Common,
        /// Messages of the one who talks that have no ack yet
        #[arg(long, value_name = "N", default_value_t = 64)]
        in_flight: usize,
    },
    /// Connections that say nothing: what is their memory?
    Idle {
        #[command(flatten)]
        common: Common,
        /// All of them join one room
        #[arg(long)]
        join: bool,
    },
    /// Small rooms where all talk; all connections drop at once and come back where they were
    Churn {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        storms: Storms,
        /// Users in each room
        #[arg(long, value_name = "N", default_value_t = 10)]
        room_size: usize,
    },
    /// Some of all, each user in more than one room
    Mixed {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        storms: Storms,
        /// Users in each of the rooms that are no pairs
        #[arg(long, value_name = "N", default_value_t = 50)]
        room_size: usize,
    },
}

#[derive(Debug, Args)]
struct Storms {
    /// How often all connections drop
    #[arg(long, value_name = "N", default_value_t = 1)]
    storms: u32,
    /// They come back within this time, each at a random moment
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    within: Duration,
}

/// Stands for the server beside this program: a folder is none.
const BESIDE: &str = ".";

#[derive(Debug, Args)]
struct Common {
    /// How many users there are
    #[arg(long, short = 'n', default_value_t = 100)]
    users: usize,
    /// How long is measured
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// How long they talk before that
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    warm_up: Duration,
    /// How long the last acks and deliveries may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    settle: Duration,
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
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
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

/// A length of time is at most a day.
const SECONDS_MAX: f64 = 86_400.0;

/// So many users are more than one thread can carry, and as many as loopback has ports for.
const USERS_MAX: usize = 1_000_000;

/// A server takes texts of some KiB: this is far beyond, and all that wait for acks can be held.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// More than one each second of an hour.
const STORMS_MAX: u32 = 10_000;

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    let seconds = seconds.filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("it must be seconds from 0 to {SECONDS_MAX}"))
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) settings: Settings,
    pub(crate) target: Target,
    pub(crate) pid: Option<u32>,
    pub(crate) start: Option<Start>,
    pub(crate) server_flags: Vec<OsString>,
    pub(crate) as_json: bool,
}

/// What is to be started for the run.
#[derive(Debug)]
pub(crate) enum Start {
    Ours(PathBuf),
    Others(PathBuf),
}

/// One line about what is wrong.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) String);

impl Flags {
    pub(crate) fn wanted(&self) -> Result<Wanted, Refusal> {
        let (common, settings) = match &self.scenario {
            What::Room(common) => (common, Settings::new(Scenario::Room)),
            What::Pairs(common) => (common, Settings::new(Scenario::Pairs)),
            What::Fanout { common, in_flight } => {
                (common, Settings { in_flight: *in_flight, ..Settings::new(Scenario::Fanout) })
            }
            What::Idle { common, join } => {
                (common, Settings { idle_joins: *join, ..Settings::new(Scenario::Idle) })
            }
            What::Churn { common, storms, room_size } => {
                (common, storms.settings(*room_size, Settings::new(Scenario::Churn)))
            }
            What::Mixed { common, storms, room_size } => {
                (common, storms.settings(*room_size, Settings::new(Scenario::Mixed)))
            }
        };
        common.wanted(settings)
    }
}

impl Storms {
    fn settings(&self, room_size: usize, settings: Settings) -> Settings {
        Settings { storms: self.storms, storm: self.within, room_size, ..settings }
    }
}

impl Common {
    fn wanted(&self, mut settings: Settings) -> Result<Wanted, Refusal> {
        settings.users = self.users;
        settings.measured = self.seconds;
        settings.warm_up = self.warm_up;
        settings.settle = self.settle;
        settings.rate = self.rate;
        settings.text_bytes = self.text_bytes;
        settings.subprotocol = match self.subprotocol {
            Spoken::Plain => Subprotocol::Plain,
            Spoken::Batch => Subprotocol::Batch,
        };
        settings.tokens = self.tokens()?;
        settings.messages = self.messages()?;
        check(&settings)?;
        let refused = |error| Refusal(format!("--url {}: {error}", self.url));
        Ok(Wanted {
            settings,
            target: self.url.parse().map_err(refused)?,
            pid: self.server_pid,
            start: match (&self.start, &self.start_other) {
                (Some(path), _) if path.as_os_str() == BESIDE => Some(Start::Ours(beside()?)),
                (Some(path), _) => Some(Start::Ours(path.clone())),
                (None, other) => other.clone().map(Start::Others),
            },
            server_flags: self.server_flags.clone(),
            as_json: self.json,
        })
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

fn check(settings: &Settings) -> Result<(), Refusal> {
    if let Some(messages) = &settings.messages {
        messages.fit(settings).map_err(|error| Refusal(error.to_string()))?;
    }
    let text_bytes_min = if settings.messages.is_some() { OTHERS_TEXT_BYTES_MIN } else { TEXT_BYTES_MIN };
    let is_rate = settings.rate.is_finite() && (0.001..=1000.0).contains(&settings.rate);
    for (is_right, text) in [
        ((1..=USERS_MAX).contains(&settings.users), format!("--users must be from 1 to {USERS_MAX}")),
        (!settings.measured.is_zero(), "--seconds must be more than 0".to_owned()),
        (is_rate, "--rate must be from 0.001 to 1000".to_owned()),
        (
            (text_bytes_min..=TEXT_BYTES_MAX).contains(&settings.text_bytes),
            format!(
                "--text-bytes must be from {text_bytes_min} to {TEXT_BYTES_MAX}: a text begins with the moment of its sending"
            ),
        ),
        (
            (1..=WAITING_MAX).contains(&settings.in_flight),
            format!("--in-flight must be from 1 to {WAITING_MAX}"),
        ),
        ((1..=USERS_MAX).contains(&settings.room_size), format!("--room-size must be from 1 to {USERS_MAX}")),
        (settings.storms <= STORMS_MAX, format!("--storms must be at most {STORMS_MAX}")),
    ] {
        if !is_right {
            return Err(Refusal(text));
        }
    }
    Ok(())
}
