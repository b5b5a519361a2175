//! The load tool as a program: flags, a bar on the terminal, and the result.

mod bar;
mod flags;
mod interrupt;
mod others;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use chat_load::{Measurement, Started, Table, client::http::Target, run};
use clap::Parser;

use self::{
    bar::Bar,
    flags::{Flags, Refusal, Start, Wanted},
    interrupt::Interrupt,
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
    runtime.block_on(measure(wanted))
}

async fn measure(wanted: &Wanted) -> Result<Measurement, AnyError> {
    let mut interrupt = Interrupt::new()?;
    let Some(start) = &wanted.start else {
        return measure_at(wanted, &wanted.target, wanted.pid, &mut interrupt).await;
    };
    // Before the server starts, as it inherits the limit.
    chat_load::raise_descriptors()?;
    let starting = async {
        match start {
            Start::Ours(program) => Started::start(program, &wanted.server_flags).await,
            Start::Others(program) => Started::start_other(program, &wanted.server_flags).await,
        }
    };
    let server = tokio::select! {
        started = starting => started?,
        error = interrupt.wait() => return Err(error.into()),
    };
    let measured = measure_at(wanted, server.target(), Some(server.pid()), &mut interrupt).await;
    // However the run ended: the server must be gone before its folder is.
    server.stop().await?;
    measured
}

async fn measure_at(
    wanted: &Wanted,
    target: &Target,
    pid: Option<u32>,
    interrupt: &mut Interrupt,
) -> Result<Measurement, AnyError> {
    let bar = Bar::default();
    tokio::select! {
        measured = run(&wanted.settings, target, pid, &bar) => Ok(measured?),
        error = interrupt.wait() => Err(error.into()),
    }
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
