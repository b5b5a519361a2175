//! The program and its commands on Postgres.

use std::{path::Path, time::Duration};

use chat_store::testing::{PostgresServer, postgres_database};
use serde_json::json;
use tempfile::tempdir;
use tokio::time::timeout;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::{
    DEADLINE, Running, ask, program, signal,
    support::{Client, http},
};

/// What nobody may be told.
const PASSWORD: &str = "hunter2";

async fn start(url: &str) -> Running {
    let mut command = program();
    // As it is meant to be given: a command line is for everybody to see.
    command.env("CHAT_DATABASE", url).args(["--listen", "127.0.0.1:0", "--log", "warn"]);
    Running::of(command).await
}

/// Executes statements as the superuser. The first column of what they give.
async fn sql(server: &PostgresServer, statements: &str) -> Vec<String> {
    let (client, connection) = tokio_postgres::connect(server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let answers = client.simple_query(statements).await.unwrap();
    let first = |answer: &SimpleQueryMessage| match answer {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    answers.iter().filter_map(first).collect()
}

/// Has a server ask this user for the password.
async fn ask_for_password(server: &PostgresServer, user: &str) {
    let file = sql(server, "SHOW hba_file").await.remove(0);
    let rules = format!(
        "SELECT 'host all {user} 127.0.0.1/32 scram-sha-256' UNION ALL SELECT 'host all all 127.0.0.1/32 trust'"
    );
    let statements = [
        format!("CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'"),
        format!("COPY ({rules}) TO '{file}'"),
        "SELECT pg_reload_conf()".to_owned(),
    ];
    for statement in statements {
        sql(server, &statement).await;
    }
    // The postmaster reads the file when it has had the signal.
    let without = server.url().replace("postgres@", &format!("{user}@"));
    let refused = async {
        while tokio_postgres::connect(&without, NoTls).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, refused).await.expect("it asks for the password");
}

#[tokio::test]
async fn a_database_that_cannot_be_entered_is_named_in_one_line() {
    let server = PostgresServer::start();
    ask_for_password(&server, "ann").await;
    let port = server.url().rsplit_once(':').unwrap().1.split_once('/').unwrap().0;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = taken.local_addr().unwrap();
    drop(taken);
    let here = format!("127.0.0.1:{port}");
    for (address, named) in [
        (format!("postgres://ann:{PASSWORD}3@{here}/postgres"), "password authentication failed"),
        (format!("postgres://ann@{here}/postgres"), "password missing"),
        (format!("postgres://{here}/none?user=ann&password={PASSWORD}"), "\"none\" does not exist"),
        (format!("postgres://eve:{PASSWORD}@{here}/postgres"), "\"eve\" does not exist"),
        (format!("postgres://ann:{PASSWORD}@{nobody}/postgres"), "refused"),
        (format!("postgres://ann:{PASSWORD}@{here}/postgres?sslmode=require"), "does not support TLS"),
        (format!("postgres://{here}/postgres?sslmode=verify-full&sslrootcert=/none"), "/none"),
    ] {
        for task in [&[][..], &["migrate"], &["renew-epochs"]] {
            let arguments = [&["--listen", "127.0.0.1:0", "--database", &address], task].concat();
            let line = ask(&arguments).await.refused(1);
            assert!(line.starts_with("error: --database: ") && line.contains(named), "{address}: {line}");
            assert!(!line.contains(PASSWORD), "{line}");
        }
    }
    let line = ask(&["migrate", "--database", &format!("postgres://ann:{PASSWORD}@{here}/postgres")]).await;
    assert!(line.refused(1).contains("permission denied"), "she may make no schema");
    let line = ask(&["renew-epochs", "--database", server.url()]).await.refused(1);
    assert!(line.contains("holds no rooms"), "{line}");
}

#[tokio::test]
async fn migrate_makes_the_schema_for_a_login_that_may_only_use_it() {
    let server = PostgresServer::start();
    ask_for_password(&server, "ann").await;
    let out = ask(&["migrate", "--database", server.url()]).await.done();
    assert!(out.contains("from schema version 0 to 1") && out.lines().count() == 1, "{out}");
    let out = ask(&["migrate", "--database", server.url()]).await.done();
    assert!(out.contains("schema version 1 already"), "{out}");
    // As docs/postgres.md says it.
    let page = format!("{}/../docs/postgres.md", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(page).unwrap();
    let (_, grants) = page.split_once("```sql\n").unwrap();
    let (grants, _) = grants.split_once("```").unwrap();
    sql(&server, &grants.replace("chat_server", "ann")).await;

    let url = server.url().replace("postgres@", &format!("ann:{PASSWORD}@"));
    let running = start(&url).await;
    let draft = json!({ "id": "r", "name": "r", "kind": "group", "visibility": "public" });
    let answer = http(running.address(), "POST", "/api/v1/rooms?user=ann", Some(draft)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let mut ann = Client::connect(running.address(), "ann", None).await;
    ann.join("r").await;
    for command in [
        json!({ "type": "send", "room": "r", "text": "hi", "key": "k" }),
        json!({ "type": "edit", "room": "r", "target": 2, "text": "hello" }),
        json!({ "type": "react", "room": "r", "target": 2, "emoji": "+1" }),
        json!({ "type": "delete", "room": "r", "target": 2 }),
    ] {
        let reply = ann.call(command).await;
        assert_eq!(reply["type"], "ack", "{reply}");
    }
    for (method, path, body, status) in [
        ("PATCH", "rooms/r", Some(json!({ "name": "R" })), 200),
        ("PUT", "rooms/r/members/bob", Some(json!({ "role": "member" })), 200),
        ("DELETE", "rooms/r", None, 204),
    ] {
        let answer = http(running.address(), method, &format!("/api/v1/{path}?user=ann"), body).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    let left = "SELECT count(*) FROM chat.tombstones";
    let swept = async {
        while sql(&server, left).await != ["0"] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, swept).await.expect("what it leaves is taken away");
    assert!(running.end().await.success());
}

/// Sends a signal to a program that waits for the schema, which another server changes. What it then says, and its code.
async fn end_while_it_waits(arguments: &[&str], name: &str) -> (String, Option<i32>) {
    let server = PostgresServer::start();
    let (client, connection) = tokio_postgres::connect(server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SELECT pg_advisory_lock(x'63686174'::int, 1)").await.unwrap();
    let mut command = program();
    let child = command.args(arguments).args(["--database", server.url()]).spawn().unwrap();
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    let waits = async {
        while sql(&server, waiting).await != ["1"] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, waits).await.expect("it waits for the lock");
    signal(child.id().unwrap(), name).await;
    let output = timeout(DEADLINE, child.wait_with_output()).await.expect("it ends").unwrap();
    assert!(output.stdout.is_empty(), "it did nothing");
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

#[tokio::test]
async fn a_command_that_waits_for_postgres_can_be_given_up() {
    let (said, code) = end_while_it_waits(&["migrate"], "INT").await;
    assert_eq!(code, Some(1));
    assert!(said.contains("given up: either all of it was done or nothing"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test]
async fn a_server_that_waits_for_postgres_as_it_starts_can_be_ended() {
    for name in ["TERM", "INT"] {
        let (said, code) = end_while_it_waits(&["--listen", "127.0.0.1:0", "--log", "warn"], name).await;
        assert_eq!((said.as_str(), code), ("", Some(0)), "{name}");
    }
}

#[tokio::test]
async fn renewed_epochs_send_clients_back_to_the_beginning() {
    let database = postgres_database();
    let server = start(database.url()).await;
    let mut ann = Client::connect(server.address(), "ann", None).await;
    let before = ann.join("r").await;
    ann.call(json!({ "type": "send", "room": "r", "text": "hi" })).await;
    let renew = ["renew-epochs", "--database", database.url()];
    let line = ask(&renew).await.refused(1);
    assert!(line.contains("in use by a server"), "{line}");
    ask(&["migrate", "--database", database.url()]).await.done();
    assert!(server.end().await.success());

    let out = ask(&renew).await.done();
    assert!(out.contains("new epochs: 1 rooms") && out.lines().count() == 1, "{out}");

    let server = start(database.url()).await;
    let mut ann = Client::connect(server.address(), "ann", None).await;
    let resume = json!({ "type": "join", "room": "r", "after": 1, "epoch": before["epoch"] });
    let joined = ann.call(resume).await;
    assert_eq!(joined["reset"], true, "{joined}");
    assert_ne!(joined["epoch"], before["epoch"]);
    assert!(server.end().await.success());
}

/// The file of an authority that has signed nothing.
fn stranger(dir: &Path) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let path = dir.join("stranger.pem");
    std::fs::write(&path, authority.self_signed(&key).unwrap().pem()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_way_to_postgres_is_secured_as_the_address_says() {
    let server = PostgresServer::start_with_tls();
    let authority = server.authority().unwrap().to_str().unwrap();
    let running = start(&format!("{}?sslmode=verify-full&sslrootcert={authority}", server.url())).await;
    let mut ann = Client::connect(running.address(), "ann", None).await;
    ann.join("r").await;
    let ack = ann.call(json!({ "type": "send", "room": "r", "text": "hi" })).await;
    assert_eq!(ack["type"], "ack", "{ack}");
    let ways = "SELECT DISTINCT ssl::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'chat'";
    assert_eq!(sql(&server, ways).await, ["true"], "each connection");
    assert!(running.end().await.success());

    let dir = tempdir().unwrap();
    let stranger = stranger(dir.path());
    for mode in ["verify-full", "verify-ca"] {
        let address = format!("{}?sslmode={mode}&sslrootcert={stranger}", server.url());
        let line = ask(&["--listen", "127.0.0.1:0", "--database", &address]).await.refused(1);
        assert!(line.contains("invalid peer certificate"), "{line}");
    }
}
