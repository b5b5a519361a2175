//! The chat server as a program: settings, log, store, engine, signals.

mod config;
mod maintain;
mod run;
mod show;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use self::config::{Asked, Mistake, Refusal, Task};

/// The exit code of a mistake in the settings.
const MISTAKE: u8 = 2;

/// Why the program ends with more than a zero, in one line.
enum Failure {
    /// The settings are wrong: nothing was begun.
    Mistake(String),
    /// It could not be done.
    Undone(String),
}

impl From<Mistake> for Failure {
    fn from(mistake: Mistake) -> Self {
        Self::Mistake(mistake.to_string())
    }
}

fn main() -> ExitCode {
    let done = match Asked::read(std::env::args_os(), std::env::vars_os()) {
        Ok(asked) => work(&asked),
        Err(Refusal::Mistake(mistake)) => Err(mistake.into()),
        Err(Refusal::Told(text)) => {
            tell(&text);
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Mistake(line)) => complain(&line, ExitCode::from(MISTAKE)),
        Err(Failure::Undone(line)) => complain(&line, ExitCode::FAILURE),
    }
}

fn work(asked: &Asked) -> Result<(), Failure> {
    match &asked.task {
        None => {
            let files = asked.check()?;
            run::run(asked, files).map_err(|error| Failure::Undone(error.to_string()))
        }
        Some(Task::CheckConfig) => {
            asked.check()?;
            tell(&show::effective(asked));
            Ok(())
        }
        Some(Task::Copy(databases)) => maintain::copy(databases, asked).map(|line| tell(&line)),
        Some(Task::Maintain(task)) => maintain::run(task, asked).map(|line| tell(&line)),
    }
}

fn tell(text: &str) {
    // Where nobody reads it, nobody misses it.
    let _ = io::stdout().write_all(text.as_bytes());
}

fn complain(line: &str, code: ExitCode) -> ExitCode {
    // There is no other place left to say it.
    let _ = writeln!(io::stderr(), "error: {line}");
    code
}
