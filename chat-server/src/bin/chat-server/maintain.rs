//! What is done to the database without serving it.

use std::{fmt, fs, io, path::Path, pin::Pin};

use chat_store::{
    PostgresAddress,
    maintenance::{self, Counts, Migrated},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    Failure,
    config::{Asked, Database, Databases, Maintenance, Mistake, one_line},
    run::{end_signal, start_log, with_causes},
};

/// Whose business it is instead.
const NO_BACKUP: &str =
    "Postgres is backed up with its own pg_dump; after a restore, renew-epochs belongs to it";

/// Resolves when the command is to be given up.
type End = Pin<Box<dyn Future<Output = ()>>>;

/// Does it, and says what was done in one line.
pub(crate) fn run(task: &Maintenance, asked: &Asked) -> Result<String, Failure> {
    let mistake = |what| Failure::from(Mistake::at(asked.given.place("database"), what));
    match &asked.settings.database {
        Database::SqliteMemory => Err(mistake("a throw-away database has nothing to be done to it")),
        Database::Sqlite(path) => attend(asked, |end| on_sqlite(task, path, end)),
        Database::Postgres(address) => {
            attend(asked, |end| on_postgres(task, address, end, || mistake(NO_BACKUP)))
        }
    }
}

/// Copies a database from one store to another, and says what in one line.
pub(crate) fn copy(databases: &Databases, asked: &Asked) -> Result<String, Failure> {
    let (from, to) = databases.read()?;
    attend(asked, async |end| {
        let copied = maintenance::copy_until(&from, &to, end).await.map_err(|error| undone(&error))?;
        let Counts { rooms, events, messages, room_changes, reactions, members, read_marks, .. } = copied;
        Ok(format!(
            "{} was copied to {to}: {rooms} rooms, {events} events ({messages} messages, {room_changes} changes of \
             rooms), {reactions} reactions, {members} members, {read_marks} read marks\n",
            shown(&from),
        ))
    })
}

/// Runs it in a runtime of its own, with the log and the signals that it needs.
fn attend<W>(asked: &Asked, work: impl FnOnce(End) -> W) -> Result<String, Failure>
where
    W: Future<Output = Result<String, Failure>>,
{
    let _log = start_log(&asked.settings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| undone(&error))?.block_on(async {
        let end = interruption().map_err(|error| undone(&error))?;
        work(Box::pin(end)).await
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

/// Only a copy can be given up; for the rest, which is one step, it is the truth that has to be waited for.
async fn on_sqlite(task: &Maintenance, database: &Path, end: End) -> Result<String, Failure> {
    let name = shown(database);
    match task {
        Maintenance::Migrate => {
            let done = maintenance::migrate(database).await.map_err(|error| of_database(&error))?;
            Ok(migrated(&name, done))
        }
        Maintenance::RenewEpochs => {
            let rooms = maintenance::renew_epochs(database).await.map_err(|error| of_database(&error))?;
            Ok(renewed(&name, rooms))
        }
        Maintenance::Backup { file } => {
            let copied =
                maintenance::backup_until(database, file, end).await.map_err(|error| undone(&error))?;
            let (rooms, bytes) = (copied.rooms, copied.bytes);
            Ok(format!("{name} was copied to {}: {rooms} rooms, {bytes} bytes\n", shown(file)))
        }
    }
}

/// The same on a server, which may never answer: so it can be given up.
async fn on_postgres(
    task: &Maintenance,
    address: &PostgresAddress,
    end: End,
    no_backup: impl FnOnce() -> Failure,
) -> Result<String, Failure> {
    let name = address.to_string();
    let work = async {
        match task {
            Maintenance::Migrate => {
                let done = maintenance::postgres::migrate(address).await;
                Ok(migrated(&name, done.map_err(|error| of_database(&error))?))
            }
            Maintenance::RenewEpochs => {
                let rooms = maintenance::postgres::renew_epochs(address).await;
                Ok(renewed(&name, rooms.map_err(|error| of_database(&error))?))
            }
            Maintenance::Backup { .. } => Err(no_backup()),
        }
    };
    tokio::select! {
        done = work => done,
        () = end => Err(Failure::Undone(format!("{name}: given up: either all of it was done or nothing"))),
    }
}

fn migrated(name: &str, done: Migrated) -> String {
    if done.from == done.to {
        format!("{name} has schema version {} already\n", done.to)
    } else {
        format!("{name} was brought from schema version {} to {}\n", done.from, done.to)
    }
}

fn renewed(name: &str, rooms: impl fmt::Display) -> String {
    format!("{name} has new epochs: {rooms} rooms\n")
}

fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

fn of_database(error: &dyn std::error::Error) -> Failure {
    Failure::Undone(format!("--database: {}", with_causes(error)))
}

fn undone(error: &dyn std::error::Error) -> Failure {
    Failure::Undone(with_causes(error))
}
