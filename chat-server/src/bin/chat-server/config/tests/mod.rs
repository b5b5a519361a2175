//! The settings from all three sources.

mod given;
mod mistakes;
mod page;

use std::{fs, path::Path};

use super::*;

/// 32 bytes.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What one process is given.
#[derive(Debug, Default)]
struct Process {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    dir: Option<tempfile::TempDir>,
}

impl Process {
    fn new() -> Self {
        Self::default()
    }

    fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
        self
    }

    fn env(mut self, variable: &str, value: &str) -> Self {
        self.environment.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// Gives it a file `chat.toml`, named by a variable.
    fn file(mut self, text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.toml");
        fs::write(&path, text).unwrap();
        self.dir = Some(dir);
        self.env("CHAT_CONFIG", path.to_str().unwrap())
    }

    fn read(&self) -> Result<Asked, Refusal> {
        let arguments = self.arguments.iter().map(OsString::from);
        let environment = self.environment.iter().map(|(name, value)| (name.into(), value.into()));
        Asked::read(std::iter::once("chat-server".into()).chain(arguments), environment)
    }

    #[track_caller]
    fn settings(&self) -> Settings {
        match self.read() {
            Ok(asked) => asked.settings,
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    /// The line of a mistake in a value, or between values.
    #[track_caller]
    fn mistake(&self) -> String {
        let line = match self.read() {
            Err(Refusal::Mistake(mistake)) => mistake.to_string(),
            Err(Refusal::Told(text)) => panic!("no mistake, but {text}"),
            Ok(asked) => asked.check().expect_err("there is a mistake").to_string(),
        };
        assert!(!line.contains('\n'), "{line:?}");
        line
    }
}
