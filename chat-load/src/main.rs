//! The load tool as a program: flags, a bar on the terminal, and the result.

mod bar;
mod flags;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use chat_load::{Measurement, Started, Table, run};
use clap::Parser;
use tokio::signal;

use self::{
    bar::Bar,
    flags::{Flags, Refusal, Wanted},
};

/// The exit code of a mistake on the command line.
const MISTAKE: u8 = 2;

type AnyError = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let flags = Flags::parse();
    let wanted = match flags.wanted() {
        Ok(wanted) => wanted,
        Err(Refusal(line)) => return complain(&line, ExitCode::from(MISTAKE)),
    };
    match work(&wanted) {
        Ok(measurement) => tell(&measurement, wanted.as_json),
        Err(error) => complain(&error.to_string(), ExitCode::FAILURE),
    }
}

fn work(wanted: &Wanted) -> Result<Measurement, AnyError> {
    // One thread: on a machine that is shared with the server it takes one core at most.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            measured = measure(wanted) => measured,
            interrupted = signal::ctrl_c() => Err(interrupted.map_or_else(AnyError::from, |()| "interrupted".into())),
        }
    })
}

async fn measure(wanted: &Wanted) -> Result<Measurement, AnyError> {
    let bar = Bar::default();
    let Some(program) = &wanted.start else {
        return Ok(run(&wanted.settings, &wanted.target, wanted.pid, &bar).await?);
    };
    // Before the server starts, as it inherits the limit.
    chat_load::raise_descriptors()?;
    let server = Started::start(program, &wanted.server_flags).await?;
    let measured = run(&wanted.settings, server.target(), Some(server.pid()), &bar).await;
    server.stop().await?;
    Ok(measured?)
}

fn tell(measurement: &Measurement, as_json: bool) -> ExitCode {
    let text = if as_json {
        serde_json::to_string(measurement).expect("it has nothing that JSON has not") + "\n"
    } else {
        Table(measurement).to_string()
    };
    if let Err(error) = io::stdout().write_all(text.as_bytes()) {
        return complain(&format!("the result cannot be written: {error}"), ExitCode::FAILURE);
    }
    if measurement.verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn complain(line: &str, code: ExitCode) -> ExitCode {
    // There is no other place left to say it.
    let _ = writeln!(io::stderr(), "error: {line}");
    code
}
