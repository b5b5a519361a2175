//! The load tool as a program: flags, a bar on the terminal, and the result.

mod bar;
mod flags;
mod interrupt;
mod others;

use std::{
    fmt::Display,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use chat_load::{BreakingTable, Machine, Report, Side, Table, find};
use clap::Parser;
use serde::Serialize;

use self::{
    bar::Bar,
    flags::{Flags, Quest, Refusal, Run, Wanted},
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
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => complain(&error.to_string(), ExitCode::FAILURE),
    }
}

/// Does what was asked for, and tells what came of it: whether all is well.
fn work(wanted: &Wanted) -> Result<bool, AnyError> {
    // One thread: on a machine that is shared with the server it takes one core at most.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match wanted {
            Wanted::Run(run) => measure(run).await,
            Wanted::BreakingPoint { quest, as_json } => search(quest, *as_json).await,
            Wanted::Report { quests, out } => report(quests, out).await,
        }
    })
}

async fn measure(run: &Run) -> Result<bool, AnyError> {
    let mut interrupt = Interrupt::new()?;
    let bar = Bar::default();
    let found = run.server.measure(&run.settings, &bar, interrupt.wait()).await?;
    drop(bar);
    tell(&found, &Table(&found), run.as_json)?;
    Ok(found.verdict.is_good())
}

async fn search(quest: &Quest, as_json: bool) -> Result<bool, AnyError> {
    let mut interrupt = Interrupt::new()?;
    let bar = Bar::default();
    let found = find(&quest.subject, quest.bounds, quest.time_max, &bar, interrupt.wait()).await?;
    drop(bar);
    tell(&found, &BreakingTable(&found), as_json)?;
    Ok(found.is_good())
}

/// Searches at one server after the other. What was found stands in the report, also where it is not good.
async fn report(quests: &[Quest], out: &Path) -> Result<bool, AnyError> {
    let mut interrupt = Interrupt::new()?;
    Report::check(out)?;
    for Quest { subject, .. } in quests {
        subject.server.try_start(interrupt.wait()).await?;
    }
    let machine = Machine::look()?;
    let mut sides = Vec::new();
    for Quest { subject, bounds, time_max } in quests {
        let bar = Bar::default();
        let point = find(subject, *bounds, *time_max, &bar, interrupt.wait()).await?;
        drop(bar);
        tell(&point, &BreakingTable(&point), false)?;
        sides.push(Side { point, settings: subject.settings.clone() });
    }
    let are_good = sides.iter().all(|side| side.point.is_good());
    Report { machine, command: command(), sides }.write(out)?;
    Ok(are_good)
}

/// The command line of this process, as a shell takes it.
fn command() -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let words = std::env::args_os().map(|word| {
        let word = word.to_string_lossy().into_owned();
        if !word.is_empty() && word.chars().all(is_plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn tell(found: &impl Serialize, table: &impl Display, as_json: bool) -> Result<(), AnyError> {
    let text = if as_json { serde_json::to_string(found)? + "\n" } else { table.to_string() };
    let told = io::stdout().write_all(text.as_bytes());
    told.map_err(|error| format!("the result cannot be written: {error}").into())
}

fn complain(line: &str, code: ExitCode) -> ExitCode {
    // There is no other place left to say it.
    let _ = writeln!(io::stderr(), "error: {line}");
    code
}
