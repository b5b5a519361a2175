//! What is done to the database without serving it.

use std::path::Path;

use chat_store::maintenance;

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
        let end = end_signal().map_err(|error| undone(&error))?;
        tokio::select! {
            // Dropping the work waits until it has cleaned up.
            () = end => Err(Failure::Undone("it was interrupted".to_owned())),
            done = work(task, database) => done,
        }
    })
}

async fn work(task: &Maintenance, database: &Path) -> Result<String, Failure> {
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
            let copied = maintenance::backup(database, file).await.map_err(|error| undone(&error))?;
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
