//! The Postgres servers that other tests and the benches stand on: whether they do what those rely on.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of a #[test]")]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use chat_store::testing::{PostgresServer, postgres_database};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/postgres");

/// How long a test waits for what must not come.
const SILENCE: Duration = Duration::from_millis(300);

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn count(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}

const TABLES: &str = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";

#[tokio::test]
async fn a_fresh_database_is_empty_and_another_one_than_the_one_before() {
    let first = postgres_database();
    let client = connect(first.url()).await;
    client.batch_execute("CREATE TABLE one (n int)").await.unwrap();
    assert_eq!(count(&client, TABLES).await, 1);

    let second = postgres_database();
    assert_ne!(first.url(), second.url());
    assert_eq!(count(&connect(second.url()).await, TABLES).await, 0);
}

#[tokio::test]
async fn a_database_that_is_done_with_is_dropped_although_somebody_is_connected() {
    let (first, second) = (postgres_database(), postgres_database());
    let one_connected = connect(first.url()).await;
    let client = connect(second.url()).await;
    let query = format!("SELECT count(*) FROM pg_database WHERE datname = '{}'", first.name());
    assert_eq!(count(&client, &query).await, 1);

    drop(first);
    assert_eq!(count(&client, &query).await, 0);
    one_connected.batch_execute("SELECT 1").await.unwrap_err();
}

#[tokio::test]
async fn the_server_is_as_durable_as_a_real_one() {
    let database = postgres_database();
    let client = connect(database.url()).await;
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let value: String = client.query_one(&format!("SHOW {setting}"), &[]).await.unwrap().get(0);
        assert_eq!(value, "on", "{setting}");
    }
}

#[tokio::test]
async fn a_stopped_server_answers_nobody_until_it_goes_on() {
    let server = PostgresServer::start();
    let client = connect(server.url()).await;

    server.stop_answering();
    let mut query = Box::pin(client.simple_query("SELECT 1"));
    let mut newcomer = Box::pin(connect(server.url()));
    timeout(SILENCE, &mut query).await.unwrap_err();
    assert!(timeout(SILENCE, &mut newcomer).await.is_err(), "a new connection was answered");

    server.answer_again();
    query.await.unwrap();
    newcomer.await.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_killed_server_starts_again_at_its_place_with_what_was_committed() {
    let server = PostgresServer::start();
    let database = server.fresh_database();
    let client = connect(database.url()).await;
    client.batch_execute("CREATE TABLE one (n int); INSERT INTO one VALUES (1)").await.unwrap();

    server.kill();
    client.simple_query("SELECT 1").await.unwrap_err();
    assert!(tokio_postgres::connect(server.url(), NoTls).await.is_err(), "a dead server took a connection");
    server.start_again();
    assert_eq!(count(&connect(database.url()).await, "SELECT count(*) FROM one").await, 1);

    // Dead while it was stopped, and ended in good order.
    server.stop_answering();
    server.kill();
    server.start_again();
    server.shut_down();
    server.start_again();
    assert_eq!(count(&connect(database.url()).await, "SELECT count(*) FROM one").await, 1);
}

#[tokio::test]
async fn a_server_with_tls_shows_a_certificate_of_its_authority() {
    let server = PostgresServer::start_with_tls();
    let authority = CertificateDer::from_pem_file(server.authority().unwrap()).unwrap();
    let connect_trusting = async |roots: RootCertStore| {
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut config: tokio_postgres::Config = server.url().parse().unwrap();
        config.ssl_mode(SslMode::Require).connect(MakeRustlsConnect::new(tls)).await
    };

    assert!(connect_trusting(RootCertStore::empty()).await.is_err(), "nobody was trusted");
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    let (client, connection) = connect_trusting(roots).await.unwrap();
    tokio::spawn(connection);
    let query = "SELECT count(*) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl";
    assert_eq!(count(&client, query).await, 1);
    assert_eq!(PostgresServer::start().authority(), None);
}

/// A run of the script, with what it printed until the server took connections.
struct Run {
    script: Child,
    url: String,
    postmaster: PathBuf,
}

impl Run {
    /// Temporary folders are made below this one.
    fn start(temporary: &Path, arguments: &[&str]) -> Self {
        let mut script = Command::new(SCRIPT)
            .args(arguments)
            .env("TMPDIR", temporary)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(script.stdout.take().unwrap()).lines();
        let mut line = || lines.next().expect("the script has ended").unwrap();
        let url = line();
        let postmaster = Path::new("/proc").join(line().strip_prefix("pid ").unwrap());
        assert!(postmaster.exists());
        Self { script, url, postmaster }
    }

    fn signal(&self, name: &str) {
        let pid = self.postmaster.file_name().unwrap();
        assert!(Command::new("kill").arg(name).arg(pid).status().unwrap().success());
    }

    /// Closes stdin, as the end of any process does with its end of a pipe.
    fn let_go(mut self) {
        assert!(self.script.wait().unwrap().success());
        assert!(!self.postmaster.exists(), "the server outlived the script");
    }
}

/// A folder that the server's user may enter, too.
fn open_folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn is_empty(folder: &TempDir) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn nothing_of_a_server_is_left_when_stdin_ends_whatever_state_it_is_in() {
    let folder = open_folder();
    for signal in [None, Some("-STOP"), Some("-KILL")] {
        let run = Run::start(folder.path(), &[]);
        assert!(!is_empty(&folder), "its folder is elsewhere");
        if let Some(signal) = signal {
            run.signal(signal);
        }
        run.let_go();
        assert!(is_empty(&folder), "its folder was left after {signal:?}");
    }
}

#[tokio::test]
async fn a_folder_that_was_asked_for_is_kept_and_holds_the_same_cluster_the_next_time() {
    let folder = open_folder();
    let kept = folder.path().join("kept").to_str().unwrap().to_owned();
    let run = Run::start(folder.path(), &["--dir", &kept]);
    connect(&run.url).await.batch_execute("CREATE TABLE one (n int)").await.unwrap();
    let url = run.url.clone();
    run.let_go();

    let port = url.rsplit_once(':').unwrap().1.trim_end_matches("/postgres");
    let run = Run::start(folder.path(), &["--dir", &kept, "--port", port]);
    assert_eq!(run.url, url);
    assert_eq!(count(&connect(&run.url).await, TABLES).await, 1);
    run.let_go();
}

#[test]
fn what_the_script_cannot_do_it_says_in_one_line() {
    let folder = open_folder();
    fs::write(folder.path().join("mine"), "").unwrap();
    let folder = folder.path().to_str().unwrap();
    let server = PostgresServer::start();
    let taken = server.url().rsplit_once(':').unwrap().1.trim_end_matches("/postgres");
    for (arguments, code, wanted) in [
        (&["--what"][..], 2, "unknown flag '--what'"),
        (&["what"], 2, "unknown flag 'what'"),
        (&["--dir"], 2, "--dir needs a value"),
        (&["--port"], 2, "--port needs a value"),
        (&["--port", "0"], 2, "'0' is not a port"),
        (&["--port", "65536"], 2, "'65536' is not a port"),
        (&["--port", "-x"], 2, "'-x' is not a port"),
        (&["--port", taken], 1, "is taken"),
        (&["--dir", folder], 1, "is neither empty nor"),
    ] {
        let output = Command::new(SCRIPT).args(arguments).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.starts_with("scripts/postgres: ") && said.contains(wanted), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
