//! What the bot hears, and what it has to say to it.

use std::{collections::BTreeSet, io};

use chat_load::client::{Body, Draft, Driver, Event, Position, Told};

use super::{Stopped, answer_to, notebook::Notebook};

/// The bot's one room.
const ROOM: usize = 0;

pub(super) struct Talk<'a> {
    driver: &'a mut Driver,
    me: &'a str,
    notebook: &'a mut Notebook,
    /// Questions whose answer is not kept yet. Its bound is that of the driver.
    waiting: BTreeSet<u64>,
    /// The first question that it could not take in any more. It hears no further until all before it are answered.
    beyond: Option<u64>,
}

impl<'a> Talk<'a> {
    pub(super) const fn new(driver: &'a mut Driver, me: &'a str, notebook: &'a mut Notebook) -> Self {
        Self { driver, me, notebook, waiting: BTreeSet::new(), beyond: None }
    }

    /// Answers until there was too much to do at once, and all of that is done.
    pub(super) async fn run(mut self) -> Result<(), Stopped> {
        while self.beyond.is_none() || !self.waiting.is_empty() {
            match self.driver.next().await? {
                Told::Event { event, .. } => self.hear(&event),
                // An answer that is refused for good will never be taken.
                Told::Kept { key, .. } | Told::Rejected { key, .. } => {
                    self.waiting.retain(|question| key_of(*question) != key);
                }
                _ => {}
            }
            self.take_note()?;
        }
        Ok(())
    }

    fn hear(&mut self, event: &Event) {
        // A message that was deleted meanwhile has no text any more.
        let Body::Message { text: Some(text), .. } = &event.body else { return };
        let Some(answer) = answer_to(text, event.seq) else { return };
        if self.beyond.is_some() || event.from == self.me {
            return;
        }
        let draft = Draft { key: key_of(event.seq), text: answer, reply_to: Some(event.seq) };
        match self.driver.send(ROOM, draft) {
            Ok(()) => _ = self.waiting.insert(event.seq),
            Err(_) => self.beyond = Some(event.seq),
        }
    }

    /// Keeps up to where everything is settled: heard, and answered where it was a question.
    fn take_note(&mut self) -> io::Result<()> {
        let Some(Position { epoch, after }) = self.driver.position(ROOM) else { return Ok(()) };
        let open = self.waiting.first().copied().or(self.beyond);
        self.notebook.write(Position { epoch, after: open.map_or(after, |question| question - 1) })
    }
}

fn key_of(question: u64) -> String {
    format!("answer-{question}")
}
