//! The command line.

mod load;
mod search;

use std::{path::PathBuf, time::Duration};

use chat_load::{OTHERS_TEXT_BYTES_MIN, Scenario, Server, Settings, TEXT_BYTES_MIN, client::WAITING_MAX};
use clap::{Args, Parser, Subcommand};

pub(crate) use self::search::Quest;
use self::{
    load::Load,
    search::{ORIGINAL, Search},
};

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
    /// With how many users does a server break, why, and what does it say of itself?
    BreakingPoint {
        /// All steps, and what is made of them, as one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        search: Search,
    },
    /// The breaking point, and what is to be known of it, as Markdown and as a page, with plots
    Report {
        /// The folder for the report
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// Measures the server under `benches/original`, too, which PATH starts
        #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = ORIGINAL)]
        original: Option<PathBuf>,
        #[command(flatten)]
        search: Search,
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
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
    // Last, as all that comes after it would stand under its last heading.
    #[command(flatten)]
    load: Load,
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
pub(crate) enum Wanted {
    /// One run.
    Run(Box<Run>),
    /// The number of users at which a server breaks.
    BreakingPoint { quest: Box<Quest>, as_json: bool },
    /// That of one server, or of two side by side, as a report.
    Report { quests: Vec<Quest>, out: PathBuf },
}

/// One run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) settings: Settings,
    pub(crate) server: Server,
    pub(crate) as_json: bool,
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
            What::BreakingPoint { search, json } => {
                return Ok(Wanted::BreakingPoint { quest: Box::new(search.quest()?), as_json: *json });
            }
            What::Report { search, out, original } => {
                let mut quests = vec![search.quest()?];
                if let Some(path) = original {
                    quests.push(search.original(path)?);
                }
                return Ok(Wanted::Report { quests, out: out.clone() });
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
        self.load.put_into(&mut settings)?;
        check(&settings)?;
        Ok(Wanted::Run(Box::new(Run { settings, server: self.load.server()?, as_json: self.json })))
    }
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
