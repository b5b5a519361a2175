//! Copies that are stopped on their way.

use std::time::Duration;

use chat_store::{
    maintenance::{self, CopyError},
    testing::{PostgresServer, postgres_database},
};

use crate::support::{address, client, rows, small};

/// Nothing that is waited for may take longer. It is generous: it tells what hangs from what is slow.
const DEADLINE: Duration = Duration::from_mins(1);

/// Past any deadline.
const SLOW: &str = "pg_sleep(600)";

/// Makes the schema of a database, in which something is done for the second event of a room, when it is written or when
/// it is committed.
async fn prepare(url: &str, when: &str, what: &str) {
    maintenance::postgres::migrate(&url.parse().unwrap()).await.unwrap();
    let trigger = format!(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM {what}; RETURN NEW; END $$;
         CREATE {when} FOR EACH ROW WHEN (NEW.room = 1 AND NEW.seq = 2) EXECUTE FUNCTION wait()"
    );
    client(url).await.batch_execute(&trigger).await.unwrap();
}

const WRITTEN: &str = "TRIGGER wait BEFORE INSERT ON chat.events";
const COMMITTED: &str = "CONSTRAINT TRIGGER wait AFTER INSERT ON chat.events DEFERRABLE INITIALLY DEFERRED";

/// Waits until somebody sleeps in a database.
async fn until_asleep(url: &str) {
    let client = client(url).await;
    let asleep = "SELECT EXISTS (
        SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')";
    let wait = async {
        while !client.query_one(asleep, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("it gets there");
}

#[tokio::test]
async fn a_copy_that_is_interrupted_leaves_nothing_and_nobody_at_work() {
    let (_dir, path) = small().await;
    let database = postgres_database();
    prepare(database.url(), WRITTEN, SLOW).await;
    let to = address(&database);
    let stopped = maintenance::copy_until(&path, &to, until_asleep(database.url()));
    let error = tokio::time::timeout(DEADLINE, stopped).await.expect("it ends").unwrap_err();
    assert!(matches!(error, CopyError::Stopped), "{error:?}");
    assert_eq!(rows(database.url()).await, 0);
    let client = client(database.url()).await;
    let others =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
        AND pid <> pg_backend_pid()";
    assert_eq!(client.query_one(others, &[]).await.unwrap().get::<_, i64>(0), 0, "it was told to stop");
    client.batch_execute("DROP TRIGGER wait ON chat.events").await.unwrap();
    maintenance::copy(&path, &address(&database)).await.unwrap();
}

#[tokio::test]
async fn a_copy_whose_future_is_dropped_leaves_nothing() {
    let (_dir, path) = small().await;
    let database = postgres_database();
    prepare(database.url(), WRITTEN, SLOW).await;
    let to = address(&database);
    tokio::select! {
        done = maintenance::copy(&path, &to) => panic!("{done:?}"),
        () = until_asleep(database.url()) => {}
    }
    assert_eq!(rows(database.url()).await, 0);
}

#[tokio::test]
async fn a_copy_that_is_interrupted_in_its_commit_is_told_of() {
    let (_dir, path) = small().await;
    let database = postgres_database();
    prepare(database.url(), COMMITTED, "pg_sleep(0.3)").await;
    let to = address(&database);
    let copied = maintenance::copy_until(&path, &to, until_asleep(database.url()));
    let counts = tokio::time::timeout(DEADLINE, copied).await.expect("it ends").unwrap();
    assert_eq!((counts.rooms, counts.events, counts.messages), (2, 6, 2));
}

#[tokio::test]
async fn a_commit_that_postgres_refuses_is_told_from_one_that_nobody_knows_of() {
    let (_dir, path) = small().await;
    let database = postgres_database();
    prepare(database.url(), COMMITTED, "1 / (NEW.seq - 2)").await;
    let error = maintenance::copy(&path, &address(&database)).await.unwrap_err();
    assert!(matches!(error, CopyError::Target(_)), "{error:?}");
    assert_eq!(rows(database.url()).await, 0);

    let server = PostgresServer::start();
    let database = server.fresh_database();
    prepare(database.url(), COMMITTED, SLOW).await;
    let kill = async {
        until_asleep(database.url()).await;
        server.kill();
    };
    let to = address(&database);
    let (copied, ()) = tokio::join!(maintenance::copy(&path, &to), kill);
    let error = copied.unwrap_err();
    assert!(matches!(error, CopyError::Unconfirmed { .. }), "{error:?}");
    server.start_again();
    assert_eq!(rows(database.url()).await, 0);
}

#[tokio::test]
async fn a_postgres_that_stops_answering_keeps_nobody_from_ending() {
    let (_dir, path) = small().await;
    let server = PostgresServer::start();
    let database = server.fresh_database();
    prepare(database.url(), WRITTEN, SLOW).await;
    let freeze = async {
        until_asleep(database.url()).await;
        server.stop_answering();
    };
    let to = address(&database);
    let stopped = maintenance::copy_until(&path, &to, freeze);
    let error = tokio::time::timeout(DEADLINE, stopped).await.expect("it ends").unwrap_err();
    assert!(matches!(error, CopyError::Stopped), "{error:?}");
    server.answer_again();
    assert_eq!(rows(database.url()).await, 0);
}
