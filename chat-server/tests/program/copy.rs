//! `copy`: from SQLite to Postgres.

use std::{path::Path, time::Duration};

use chat_store::testing::{PostgresDatabase, postgres_database};
use serde_json::json;
use tempfile::tempdir;
use tokio::time::timeout;
use tokio_postgres::{Client as Postgres, NoTls};

use crate::{
    DEADLINE, Running, Said, ask,
    backup::{Load, messages},
    program, run, signal,
    support::Client,
};

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

async fn copy(from: &Path, to: &PostgresDatabase) -> Said {
    ask(&["copy", "--from", &url(from), "--to", to.url()]).await
}

async fn sql(database: &PostgresDatabase) -> Postgres {
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// How many rooms there are.
async fn rooms(database: &PostgresDatabase) -> i64 {
    sql(database).await.query_one("SELECT count(*) FROM chat.rooms", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_copy_under_load_has_all_that_was_acknowledged_and_is_served_by_postgres() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let server = Running::start(&path, &[]).await;
    let load = Load::start(server.address());
    load.go_on(200).await;
    let before = load.acked();
    let database = postgres_database();
    let out = copy(&path, &database).await.done();
    assert!(out.contains("chat.db was copied to postgres://") && out.lines().count() == 1, "{out}");
    assert!(out.contains(": 1 rooms, ") && !out.contains('@'), "{out}");
    let acked = load.end().await;
    let joined = Client::connect(server.address(), "ann", None).await.join("r").await;
    assert!(server.end().await.success());

    let mut command = program();
    command.args(["--listen", "127.0.0.1:0", "--log", "warn", "--database", database.url()]);
    let moved = Running::of(command).await;
    let kept = messages(moved.address()).await;
    for (key, seq) in &before {
        assert_eq!(kept.get(key), Some(seq), "{key} was acknowledged before the copy began");
    }
    assert!(kept.iter().all(|(key, seq)| acked.get(key) == Some(seq)), "and it has nothing else");
    let told = format!("({} messages,", kept.len());
    assert!(out.contains(&told), "{told} {out}");
    let mut ann = Client::connect(moved.address(), "ann", None).await;
    let resume = json!({ "type": "join", "room": "r", "after": 5, "epoch": joined["epoch"] });
    assert_eq!(ann.call(resume).await["reset"], true);
    // A database that is served is no place to copy to, and one with rooms is none afterwards either.
    let line = copy(&path, &database).await.refused(1);
    assert!(line.contains("in use by a server"), "{line}");
    assert!(moved.end().await.success());
    let line = copy(&path, &database).await.refused(1);
    assert!(line.contains("has rooms already"), "{line}");
}

#[tokio::test]
async fn only_one_way_is_possible_and_what_is_wrong_is_told_without_a_secret() {
    let postgres = "postgres://ann:hunter2@127.0.0.1:1/chat";
    for (from, to, told) in [
        (postgres, "sqlite:a.db", "--from: copies go from sqlite:PATH to postgres://HOST/DATABASE only"),
        (postgres, postgres, "--from: copies go"),
        ("sqlite:a.db", "sqlite:b.db", "--to: copies go"),
        ("sqlite::memory:", postgres, "--from: copies go"),
        ("a.db", postgres, "--from: a database is"),
        ("sqlite:a.db", "postgres://ann:hunter2@h/d?sslmode=hunter2", "--to: sslmode"),
        ("sqlite:a.db", "postgres:ann:hunter2@h", "--to: a Postgres database is named"),
    ] {
        let line = ask(&["copy", "--from", from, "--to", to]).await.refused(2);
        assert!(line.contains(told) && !line.contains("hunter2"), "{told}: {line}");
    }
    let dir = tempdir().unwrap();
    let (from, none) = (dir.path().join("chat.db"), dir.path().join("none.db"));
    let line = ask(&["copy", "--from", &url(&none), "--to", postgres]).await.refused(1);
    assert!(line.contains("none.db") && line.contains("no database"), "{line}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "and nothing was made");
    ask(&["migrate", "--database", &url(&from)]).await.done();
    let mut command = program();
    command.args(["copy", "--from", &url(&from)]).env("CHAT_COPY_TO", postgres);
    let line = run(command).await.refused(1);
    assert!(line.contains("postgres://127.0.0.1:1/chat cannot be reached"), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
}

#[tokio::test]
async fn a_copy_that_is_interrupted_leaves_no_rooms() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let server = Running::start(&path, &[]).await;
    Client::connect(server.address(), "ann", None).await.join("r").await;
    assert!(server.end().await.success());
    let database = postgres_database();
    ask(&["migrate", "--database", database.url()]).await.done();
    let client = sql(&database).await;
    let sleeps = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$;
         CREATE TRIGGER wait BEFORE INSERT ON chat.rooms FOR EACH ROW EXECUTE FUNCTION wait()";
    client.batch_execute(sleeps).await.unwrap();
    let asleep = "SELECT EXISTS (
        SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')";
    for name in ["INT", "TERM"] {
        let mut command = program();
        command.args(["copy", "--from", &url(&path), "--to", database.url()]);
        let child = command.current_dir(dir.path()).spawn().unwrap();
        let wait = async {
            while !client.query_one(asleep, &[]).await.unwrap().get::<_, bool>(0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, wait).await.expect("it gets there");
        signal(child.id().unwrap(), name).await;
        let output = timeout(DEADLINE, child.wait_with_output()).await.expect("it ends").unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: it was interrupted\n");
        assert_eq!(rooms(&database).await, 0);
    }
    client.batch_execute("DROP TRIGGER wait ON chat.rooms").await.unwrap();
    copy(&path, &database).await.done();
    assert_eq!(rooms(&database).await, 1);
}
