//! The command line of a search for a breaking point.

use std::{ffi::OsString, path::Path, time::Duration};

use chat_load::{Bounds, Look, Messages, Scenario, Server, Settings, Subject};
use clap::{Args, ValueEnum};

use super::{Load, Refusal, USERS_MAX, check, seconds};

/// What starts the server that others are compared with, from the root of the sources on.
pub(super) const ORIGINAL: &str = "benches/original/start";

/// A search ends after so many steps, however far they are from each other.
const STEPS_MAX: usize = 100;

#[derive(Debug, Args)]
pub(super) struct Search {
    /// What the users do
    #[arg(long, value_enum, default_value_t = Growing::Room)]
    scenario: Growing,
    /// With how many users to begin
    #[arg(long, value_name = "N", default_value_t = 25)]
    from: usize,
    /// No more users than this
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    users_max: usize,
    /// How near the number that breaks and the one that holds must be
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    tolerance: f64,
    /// No more steps than this
    #[arg(long, value_name = "N", default_value_t = 24)]
    steps_max: usize,
    /// No step begins that might not end within this time
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    time_max: Duration,
    /// How long each step is measured
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    seconds: Duration,
    /// How long they talk before that
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    warm_up: Duration,
    /// What is not acked and delivered so long after the last send is late
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    settle: Duration,
    /// Users in each of the rooms of `mixed` that are no pairs
    #[arg(long, value_name = "N", default_value_t = 50)]
    room_size: usize,
    /// What the network between server and users carries; without it the network is no wall
    #[arg(long, value_name = "MBIT/S")]
    link: Option<f64>,
    #[command(flatten)]
    load: Load,
}

/// What grows by the number of its users, and is steady otherwise.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Growing {
    /// All in one room
    Room,
    /// Two in each room
    Pairs,
    /// Some of all, without a storm
    Mixed,
}

/// A search for a breaking point.
#[derive(Debug)]
pub(crate) struct Quest {
    pub(crate) subject: Subject,
    pub(crate) bounds: Bounds,
    pub(crate) time_max: Duration,
}

impl Search {
    /// The same search at the server that others are compared with.
    pub(super) fn original(&self, path: &Path) -> Result<Quest, Refusal> {
        if !path.is_file() {
            return Err(Refusal(format!("--original: {} is not there", path.display())));
        }
        let quest = self.quest()?;
        let messages = Messages::new(&Look::original());
        let messages = messages.map_err(|error| Refusal(format!("--original: {error}")))?;
        let settings = Settings { messages: Some(messages), tokens: Vec::new(), ..quest.subject.settings };
        check(&settings)?;
        let arguments = ["--port", "0", "--folder", "{folder}"].map(OsString::from);
        let subject = Subject {
            name: "benches/original".to_owned(),
            settings,
            server: Server::Others { program: path.to_owned(), arguments: arguments.into() },
            ..quest.subject
        };
        Ok(Quest { subject, ..quest })
    }

    pub(super) fn quest(&self) -> Result<Quest, Refusal> {
        let mut settings = Settings {
            users: self.from,
            measured: self.seconds,
            warm_up: self.warm_up,
            settle: self.settle,
            room_size: self.room_size,
            // What comes in a storm is no figure of a number of users.
            storms: 0,
            ..Settings::new(self.scenario.scenario())
        };
        self.load.put_into(&mut settings)?;
        check(&settings)?;
        let is_link = self.link.is_none_or(|link| link.is_finite() && link > 0.0);
        for (is_right, text) in [
            ((2..=USERS_MAX).contains(&self.from), format!("--from must be from 2 to {USERS_MAX}")),
            (
                (self.from..=USERS_MAX).contains(&self.users_max),
                format!("--users-max must be from --from to {USERS_MAX}"),
            ),
            ((0.1..=100.0).contains(&self.tolerance), "--tolerance must be from 0.1 to 100".to_owned()),
            ((1..=STEPS_MAX).contains(&self.steps_max), format!("--steps-max must be from 1 to {STEPS_MAX}")),
            (is_link, "--link must be more than 0".to_owned()),
        ] {
            if !is_right {
                return Err(Refusal(text));
            }
        }
        let bounds = Bounds {
            first: self.from,
            users_max: self.users_max,
            unit: if matches!(self.scenario, Growing::Pairs) { 2 } else { 1 },
            tolerance: self.tolerance / 100.0,
            steps_max: self.steps_max,
        };
        let subject = Subject {
            name: self.load.name(),
            settings,
            server: self.load.server()?,
            link_bits_per_s: self.link.map(|link| link * 1e6),
        };
        Ok(Quest { subject, bounds, time_max: self.time_max })
    }
}

impl Growing {
    const fn scenario(self) -> Scenario {
        match self {
            Self::Room => Scenario::Room,
            Self::Pairs => Scenario::Pairs,
            Self::Mixed => Scenario::Mixed,
        }
    }
}

#[cfg(test)]
mod tests {
    use chat_load::Echo;

    use super::*;

    #[test]
    fn messages_of_the_original_look_as_its_own_script_says() {
        let script = include_str!("../../../benches/original/load");
        let Look { path, enter, entered, send, ack, delivery, echo } = Look::original();
        let flags = [("path", Some(path)), ("enter", enter), ("entered", entered), ("send", Some(send))];
        for (flag, form) in flags.into_iter().chain([("ack", ack), ("delivery", Some(delivery))]) {
            match form {
                Some(form) => assert!(script.contains(&format!("--{flag} '{form}'")), "--{flag} {form}"),
                None => assert!(!script.contains(&format!("--{flag} ")), "--{flag}"),
            }
        }
        assert!(echo == Echo::None && !script.contains("--echo"));
        assert!(script.contains("-- --port 0 --folder '{folder}'"), "{script}");
    }
}
