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
//! All that a connection needs is the driver's, which does as `docs/reconnect.md` says.

mod notebook;
mod talk;

use std::{io, path::PathBuf};

use chat_load::client::{Bounds, Driver, Entry, Stopped as ShutOut, http::Target};

use self::{notebook::Notebook, talk::Talk};

/// Why a bot cannot go on. Coming back would not help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stopped {
    /// Its position cannot be read or written.
    #[error("the notebook cannot be used")]
    Notebook(#[from] io::Error),
    /// The server does not let it in, or not into the room.
    #[error(transparent)]
    ShutOut(#[from] ShutOut),
}

/// A bot of one room.
#[derive(Debug)]
pub struct Bot {
    server: Target,
    user: String,
    room: String,
    notebook: Notebook,
    pauses: Bounds,
}

impl Bot {
    /// A bot that is this user to a server that believes everybody, and keeps its position in the file `notebook`. Where
    /// there is no such file yet, it answers what is said from now on.
    ///
    /// # Errors
    /// [`Stopped::Notebook`] where the file is there and cannot be read.
    pub fn new(
        server: Target,
        user: &str,
        room: &str,
        notebook: impl Into<PathBuf>,
    ) -> Result<Self, Stopped> {
        let notebook = Notebook::open(notebook.into())?;
        let (user, room) = (user.to_owned(), room.to_owned());
        Ok(Self { server, user, room, notebook, pauses: Bounds::default() })
    }

    /// The same with other waits before it comes back.
    #[must_use]
    pub const fn pauses(mut self, pauses: Bounds) -> Self {
        self.pauses = pauses;
        self
    }

    /// Answers until it cannot go on, and returns why.
    ///
    /// # Cancel safety
    /// Dropping it is as good as a crash: the next bot with this notebook goes on where this one was.
    pub async fn run(mut self) -> Stopped {
        loop {
            let mut driver = self.driver();
            match Talk::new(&mut driver, &self.user, &mut self.notebook).run().await {
                // There is more than it holds at once: the rest of it is heard again.
                Ok(()) => driver.end().await,
                Err(stopped) => return stopped,
            }
        }
    }

    /// A driver that goes on where the notebook says.
    fn driver(&self) -> Driver {
        let entry = Entry::named(&self.user);
        let driver = Driver::new(self.server.clone(), entry, [self.room.clone()]).pauses(self.pauses);
        match self.notebook.position() {
            Some(position) => driver.resume(0, position.clone()),
            None => driver,
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
