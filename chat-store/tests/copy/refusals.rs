//! What is not copied, or not to there, and that nothing is then changed.

use std::{fs, path::Path, time::Duration};

use chat_core::{rights::Visibility, store::Store};
use chat_store::{
    OpenError, PostgresError, SqliteStore,
    maintenance::{self, CopyError, Counts},
    testing::{PostgresDatabase, postgres_database},
};
use tokio::time::timeout;

use crate::support::{actor, address, alter, client, is_untouched, make_room, open, rows, small};

/// What comes of a copy to a database that a server has just left: for a moment its connections may be there yet.
async fn copy_to_left(path: &Path, database: &PostgresDatabase) -> Result<Counts, CopyError> {
    let end = async {
        loop {
            match maintenance::copy(path, &address(database)).await {
                Err(CopyError::Target(PostgresError::InUse { .. })) => {}
                end => return end,
            }
        }
    };
    timeout(Duration::from_mins(1), end).await.expect("its connections end")
}

#[tokio::test]
async fn a_database_that_has_rooms_is_left_as_it_is() {
    let (_dir, path) = small().await;
    let database = postgres_database();
    let store = open(&database).await;
    let room = make_room(&store, "already", Visibility::Public).await.no;
    drop(store);
    let before = rows(database.url()).await;
    let error = copy_to_left(&path, &database).await.unwrap_err();
    assert!(matches!(error, CopyError::NotEmpty { .. }), "{error:?}");
    assert!(!error.to_string().contains('\n') && !error.to_string().contains('@'), "{error}");
    assert_eq!(rows(database.url()).await, before);
    // A room that was deleted may still have events, under a number that is to be one of another room.
    let store = open(&database).await;
    store.delete_room(room, actor("ann")).await.unwrap().unwrap();
    drop(store);
    client(database.url()).await.execute("INSERT INTO chat.tombstones VALUES (77)", &[]).await.unwrap();
    let error = copy_to_left(&path, &database).await.unwrap_err();
    assert!(matches!(error, CopyError::NotEmpty { .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_that_a_server_has_open_is_not_written() {
    let (_dir, path) = small().await;
    let database = postgres_database();
    let store = open(&database).await;
    // It has connections from its first question on.
    store.ping().await.unwrap();
    let error = maintenance::copy(&path, &address(&database)).await.unwrap_err();
    assert!(matches!(error, CopyError::Target(PostgresError::InUse { .. })), "{error:?}");
    assert_eq!(rows(database.url()).await, 0);
    // Whoever copies is no server: nobody is in the way of the next one.
    drop(store);
    copy_to_left(&path, &database).await.unwrap();
}

#[tokio::test]
async fn a_target_that_is_not_there_or_newer_is_told() {
    let (_dir, path) = small().await;
    let database = postgres_database();
    // Bound and closed again: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("postgres://me:hidden@127.0.0.1:{port}/chat").parse().unwrap();
    let error = maintenance::copy(&path, &nobody).await.unwrap_err();
    assert!(matches!(error, CopyError::Target(PostgresError::Unreachable { .. })), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hidden"), "{error:?}");
    drop(open(&database).await);
    let newer = "INSERT INTO chat.migrations VALUES (999, 'x', 'x', 0)";
    client(database.url()).await.execute(newer, &[]).await.unwrap();
    let error = maintenance::copy(&path, &address(&database)).await.unwrap_err();
    assert!(matches!(error, CopyError::Target(PostgresError::Newer { found: 999, .. })), "{error:?}");
}

#[tokio::test]
async fn what_cannot_be_read_touches_nothing() {
    let (dir, good) = small().await;
    let database = postgres_database();
    let refused = async |path: &Path| {
        let CopyError::Source(error) = maintenance::copy(path, &address(&database)).await.unwrap_err() else {
            panic!("it is the source that cannot be used");
        };
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(is_untouched(&database).await, "{error}");
        error
    };
    let none = dir.path().join("none/none.db");
    assert!(matches!(refused(&none).await, OpenError::Missing { .. }));
    assert!(!none.parent().unwrap().exists(), "and nothing was made");
    let other = dir.path().join("other.db");
    fs::write(&other, "").unwrap();
    assert!(matches!(refused(&other).await, OpenError::Missing { .. }));
    fs::write(&other, "Dear diary,\n".repeat(1000)).unwrap();
    assert!(matches!(refused(&other).await, OpenError::Damaged { .. }));
    fs::remove_file(&other).unwrap();
    alter(&other, "CREATE TABLE diary (entry TEXT)");
    assert!(matches!(refused(&other).await, OpenError::Foreign { .. }));
    alter(&good, "PRAGMA user_version = 999");
    assert!(matches!(refused(&good).await, OpenError::Newer { found: 999, .. }));
    alter(&good, "PRAGMA user_version = 1; UPDATE migrations SET checksum = 'x'");
    assert!(matches!(refused(&good).await, OpenError::Altered { version: 1, .. }));
}

#[tokio::test]
async fn a_damaged_database_is_not_copied() {
    for damage in [
        "DELETE FROM events WHERE room = 2 AND seq = 3",
        "UPDATE events SET key = CAST(x'ff' AS TEXT) WHERE room = 2 AND seq = 3",
    ] {
        let (_dir, path) = small().await;
        alter(&path, damage);
        let database = postgres_database();
        let error = maintenance::copy(&path, &address(&database)).await.unwrap_err();
        assert!(matches!(error, CopyError::Source(OpenError::Damaged { .. })), "{damage}: {error:?}");
        let store = open(&database).await;
        assert_eq!(rows(database.url()).await, 0, "{damage}");
        drop(store);
    }
}

#[tokio::test]
async fn the_original_is_the_same_after_it_was_copied() {
    let (dir, path) = small().await;
    let names =
        || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let (bytes, before) = (fs::read(&path).unwrap(), names());
    maintenance::copy(&path, &address(&postgres_database())).await.unwrap();
    assert_eq!((fs::read(&path).unwrap(), names()), (bytes, before));
    SqliteStore::open(&path).await.unwrap();
}

#[tokio::test]
async fn what_postgres_lacks_or_has_otherwise_is_found_and_nothing_is_kept() {
    let (dir, path) = (tempfile::tempdir().unwrap(), "chat.db");
    let path = dir.path().join(path);
    let store = SqliteStore::open(&path).await.unwrap();
    crate::whole::fill(&store).await;
    drop(store);
    for (table, when, what) in [
        ("rooms", "NEW.id = 'emptied'", "RETURN NULL"),
        ("rooms", "NEW.id = 'busy'", "NEW.topic = 'else'; RETURN NEW"),
        ("events", "NEW.room = 1 AND NEW.seq = 3", "RETURN NULL"),
        ("events", "NEW.room = 2 AND NEW.kind = 1", "NEW.text = NEW.text || 'x'; RETURN NEW"),
        ("events", "NEW.room = 1 AND NEW.key IS NOT NULL", "NEW.key = NULL; RETURN NEW"),
        ("room_changes", "true", "RETURN NULL"),
        ("reactions", "NEW.removed", "NEW.removed = false; RETURN NEW"),
        ("members", "NEW.banned", "RETURN NULL"),
        ("read_marks", "NEW.\"user\" = 'ben'", "NEW.seq = NEW.seq - 1; RETURN NEW"),
        ("read_marks", "NEW.\"user\" = 'ben'", "NEW.room = 6; RETURN NEW"),
    ] {
        let database = postgres_database();
        maintenance::postgres::migrate(&address(&database)).await.unwrap();
        let trigger = format!(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; END $$;
             CREATE TRIGGER spoil BEFORE INSERT ON chat.{table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION spoil()"
        );
        client(database.url()).await.batch_execute(&trigger).await.unwrap();
        let error = maintenance::copy(&path, &address(&database)).await.unwrap_err();
        let CopyError::Differs { table: found, room, .. } = &error else { panic!("{what}: {error:?}") };
        assert_eq!(*found, table, "{what}: {error}");
        assert!((1..=6).contains(room), "{error}");
        assert_eq!(rows(database.url()).await, 0, "{what}");
    }
}
