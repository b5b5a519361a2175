//! What is done to the database without serving it.

use std::{fs, io, path::Path};

use chat_store::maintenance;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    Failure,
    config::{Asked, Database, Maintenance, Mistake, one_line},
    run::{end_signal, start_log, with_causes},
};

/// Does it, and says what was done in one line.
pub(crate) fn run(task: &Maintenance, asked: &Asked) -> Result<String, Failure> {
    let Database::Sqlite(database) = &asked.settings.database else {
        let place = asked.given.place("database");
        return Err(Mistake::at(place, "a throw-away database has nothing to be done to it").into());
    };
    let _log = start_log(&asked.settings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| undone(&error))?.block_on(async {
        let end = interruption().map_err(|error| undone(&error))?;
        work(task, database, end).await
    })
}

/// What interrupts a command: also the end of the session that it was started in, unless it is to outlive that (nohup).
fn interruption() -> io::Result<impl Future<Output = ()>> {
    let end = end_signal()?;
    let mut hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
    Ok(async move {
        let hangup = async {
            match &mut hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = end => {}
            () = hangup => {}
        }
    })
}

/// Whether the program was started with SIGHUP ignored. Linux tells; elsewhere it is taken for not so.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Its number is 1, and so its bit the lowest.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Does it. Only a copy can be given up; for the rest, which is one step, it is the truth that has to be waited for.
async fn work(task: &Maintenance, database: &Path, end: impl Future<Output = ()>) -> Result<String, Failure> {
    let name = shown(database);
    match task {
        Maintenance::Migrate => {
            let done = maintenance::migrate(database).await.map_err(|error| of_database(&error))?;
            Ok(if done.from == done.to {
                format!("{name} has schema version {} already\n", done.to)
            } else {
                format!("{name} was brought from schema version {} to {}\n", done.from, done.to)
            })
        }
        Maintenance::RenewEpochs => {
            let rooms = maintenance::renew_epochs(database).await.map_err(|error| of_database(&error))?;
            Ok(format!("{name} has new epochs: {rooms} rooms\n"))
        }
        Maintenance::Backup { file } => {
            let copied =
                maintenance::backup_until(database, file, end).await.map_err(|error| undone(&error))?;
            let (rooms, bytes) = (copied.rooms, copied.bytes);
            Ok(format!("{name} was copied to {}: {rooms} rooms, {bytes} bytes\n", shown(file)))
        }
    }
}

fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

fn of_database(error: &chat_store::OpenError) -> Failure {
    Failure::Undone(format!("--database: {}", with_causes(error)))
}

fn undone(error: &dyn std::error::Error) -> Failure {
    Failure::Undone(with_causes(error))
}
