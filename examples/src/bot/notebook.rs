//! The one thing that a bot keeps.

use std::{fs, io, path::PathBuf};

use chat_load::client::Position;

/// Up to where everything is settled, in a file: it survives the bot.
#[derive(Debug)]
pub(super) struct Notebook {
    path: PathBuf,
    position: Option<Position>,
}

impl Notebook {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let position = match fs::read(&path) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self { path, position })
    }

    pub(super) const fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Writes the position down. A crash in between leaves the old one, and an old one costs only some work done again:
    /// that is why nothing here waits for the disk.
    pub(super) fn write(&mut self, position: Position) -> io::Result<()> {
        if self.position.as_ref() == Some(&position) {
            return Ok(());
        }
        let draft = self.path.with_extension("new");
        fs::write(&draft, serde_json::to_vec(&position)?)?;
        fs::rename(&draft, &self.path)?;
        self.position = Some(position);
        Ok(())
    }
}
