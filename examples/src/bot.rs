//! A bot that answers commands in a room of a running server, misses none and answers none twice, whatever happens to
//! its connection, to the server or to itself.
//!
//! It keeps no list of what it has answered. Three things do instead:
//!
//! - **The timeline is its list of work.** It keeps one number: everything up to there is settled. When it comes back it
//!   joins `after` that number, and hears again whatever is not.
//! - **An answer has a key** that follows from its question. Sent twice, it is kept once.
//! - **An answer follows from its question alone**, so that it does not matter which of the two tries was kept.
//!
//! When to come back, and after which wait, stands in `docs/reconnect.md`.

mod notebook;
mod pauses;
mod talk;

use std::path::PathBuf;

use tokio::time::{Instant, sleep};

use self::{
    notebook::Notebook,
    pauses::STEADY_AFTER,
    talk::{Ended, Talk},
};
pub use self::{notebook::Position, pauses::Pauses, talk::Stopped};

/// A bot of one room.
#[derive(Debug)]
pub struct Bot {
    url: String,
    room: String,
    notebook: Notebook,
    pauses: Pauses,
}

impl Bot {
    /// A bot that connects to the socket at `url` as whoever the server takes it for, and keeps its position in the file
    /// `notebook`. Where there is no such file yet, it answers what is said from now on.
    ///
    /// # Errors
    /// [`Stopped::Notebook`] where the file is there and cannot be read.
    pub fn new(url: &str, room: &str, notebook: impl Into<PathBuf>) -> Result<Self, Stopped> {
        let notebook = Notebook::open(notebook.into())?;
        Ok(Self { url: url.to_owned(), room: room.to_owned(), notebook, pauses: Pauses::default() })
    }

    /// The same with other waits before it comes back.
    #[must_use]
    pub const fn pauses(mut self, pauses: Pauses) -> Self {
        self.pauses = pauses;
        self
    }

    /// Answers, and comes back after each lost connection. It returns why it cannot go on.
    ///
    /// # Cancel safety
    /// Dropping it is as good as a crash: the next bot with this notebook goes on where this one was.
    pub async fn run(mut self) -> Stopped {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let ended = self.talk().await;
            if began.elapsed() >= STEADY_AFTER {
                failures = 0;
            }
            let wait = match ended {
                Ended::Stopped(reason) => return reason,
                Ended::Behind => continue,
                Ended::Restart => self.pauses.after_restart(),
                Ended::Lost { at_least } => self.pauses.after_loss(failures).max(at_least),
            };
            failures += 1;
            sleep(wait).await;
        }
    }

    /// One connection, from its beginning to its end.
    async fn talk(&mut self) -> Ended {
        match Talk::begin(&self.url, &self.room, &mut self.notebook).await {
            Ok(talk) => talk.run().await,
            Err(ended) => ended,
        }
    }
}

/// Sides of a die unless it is told.
const SIDES: u64 = 6;

/// What the bot says to a message with this text and number; `None` where it was not asked.
///
/// `!roll` is no chance but a function of the message's number: the bot may have to say it again.
///
/// ```
/// use chat_examples::bot::answer_to;
/// assert_eq!(answer_to("!ping", 7).as_deref(), Some("pong"));
/// assert_eq!(answer_to("!roll 20", 7), answer_to("!roll 20", 7));
/// assert_eq!(answer_to("hello", 7), None);
/// ```
pub fn answer_to(text: &str, seq: u64) -> Option<String> {
    let mut words = text.split_whitespace();
    match words.next()? {
        "!ping" => Some("pong".to_owned()),
        "!roll" => {
            let sides = words.next().map_or(Some(SIDES), |word| word.parse().ok());
            Some(match sides {
                Some(sides @ 2..=1000) => format!("rolled a {}", 1 + mix(seq) % sides),
                _ => "a die has 2 to 1000 sides".to_owned(),
            })
        }
        _ => None,
    }
}

/// The finalizer of `SplitMix64` (<https://prng.di.unimi.it/splitmix64.c>): neighbouring numbers come out unlike.
const fn mix(seq: u64) -> u64 {
    let mixed = seq.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_die_falls_on_each_of_its_sides() {
        let fallen: std::collections::BTreeSet<_> =
            (1..200).filter_map(|seq| answer_to("!roll", seq)).collect();
        let sides: Vec<String> = (1..=6).map(|side| format!("rolled a {side}")).collect();
        assert!(fallen.iter().eq(&sides), "{fallen:?}");
        for bad in ["!roll 0", "!roll 1", "!roll 1001", "!roll -3", "!roll many"] {
            assert_eq!(answer_to(bad, 1).as_deref(), Some("a die has 2 to 1000 sides"), "{bad}");
        }
    }
}
