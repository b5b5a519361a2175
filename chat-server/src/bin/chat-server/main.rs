//! The chat server as a program: settings, log, store, engine, signals.

mod config;
mod run;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use self::config::{Config, Refusal};

/// The exit code of a mistake in the settings.
const MISTAKE: u8 = 2;

fn main() -> ExitCode {
    match Config::read(std::env::args_os()) {
        Ok(config) => match run::run(config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("error: {error}"));
                ExitCode::FAILURE
            }
        },
        Err(Refusal::Told(text)) => {
            // Where nobody reads it, nobody misses it.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(Refusal::Mistake(line)) => {
            complain(&line);
            ExitCode::from(MISTAKE)
        }
    }
}

fn complain(line: &str) {
    // There is no other place left to say it.
    let _ = writeln!(io::stderr(), "{line}");
}
