//! `check-config`, `migrate` and `renew-epochs`.

use std::{fs, path::Path};

use serde_json::json;
use tempfile::tempdir;

use crate::{
    Running, ask, program, run,
    support::{Client, http},
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn database(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

#[tokio::test]
async fn check_config_tells_each_setting_and_where_it_is_from_and_opens_nothing() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("chat.toml");
    fs::write(&file, "log = 'warn'\nallowed-origin = ['https://a.example', 'https://b.example']\n").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let path = dir.path().join("none/chat.db");
    let mut command = program();
    command
        .args(["--config", file.to_str().unwrap(), "--listen", &listen, "check-config", "--auth", "jwt"])
        .env("CHAT_JWT_SECRET", SECRET)
        .env("CHAT_DATABASE", database(&path));
    let out = run(command).await.done();
    let file = file.display();
    for line in [
        format!("config = \"{file}\" # --config"),
        format!("listen = \"{listen}\" # --listen"),
        format!("database = \"{}\" # CHAT_DATABASE", database(&path)),
        "auth = \"jwt\" # --auth".to_owned(),
        "jwt-secret = \"***\" # CHAT_JWT_SECRET".to_owned(),
        format!(
            "allowed-origin = [\"https://a.example\", \"https://b.example\"] # {file} line 2: allowed-origin"
        ),
        "rate-user = \"20:100\" # default".to_owned(),
        "connections-per-address = \"100\" # default".to_owned(),
        "drain-timeout = \"10s\" # default".to_owned(),
        format!("log = \"warn\" # {file} line 1: log"),
    ] {
        assert!(out.lines().any(|told| told == line), "{line}\nis not in\n{out}");
    }
    assert!(!out.contains(SECRET));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "only the file is there");
}

#[tokio::test]
async fn what_check_config_tells_is_a_file_of_settings() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("chat.toml");
    let arguments = ["--trusted-proxy", "10.0.0.0/8", "--rate-user", "3:4", "--jwt-issuer"];
    // What is odd comes back as it was.
    let odd = "a \"b\" \\ \t#";
    let key = dir.path().join("key");
    fs::write(&key, SECRET).unwrap();
    let key = ["--auth", "jwt", "--jwt-secret-file", key.to_str().unwrap(), "check-config"];
    let out = ask(&[&arguments[..], &[odd], &key].concat()).await.done();
    fs::write(&file, &out).unwrap();
    let again = ask(&["--config", file.to_str().unwrap(), "check-config"]).await.done();
    let values = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("config = "));
        lines.map(|line| line.rsplit_once(" # ").unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&out));
}

#[tokio::test]
async fn of_the_address_of_a_database_only_what_is_no_login_is_told() {
    for (address, told) in [
        ("postgres://ann:hunter2@db.example:5433/chat", "postgres://db.example:5433/chat"),
        ("postgres://db.example/chat?user=ann&password=hunter2", "postgres://db.example/chat"),
        ("postgresql://ann:hunter2@one,two/chat?sslmode=require", "postgres://one,two/chat"),
    ] {
        let out = ask(&["check-config", "--database", address, "--postgres-connections", "4"]).await.done();
        assert!(out.contains(&format!("\ndatabase = \"{told}\" # --database\n")), "{out}");
        assert!(out.contains("\npostgres-connections = \"4\" # --postgres-connections\n"), "{out}");
        assert!(!out.contains("sqlite") && !out.contains("ann") && !out.contains("hunter2"), "{out}");
    }
    let out = ask(&["check-config"]).await.done();
    assert!(out.contains("\nsqlite-synchronous = ") && !out.contains("postgres"), "{out}");
}

#[tokio::test]
async fn check_config_reads_the_files_that_settings_name() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let path = |name: &str| tests.join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("keys/certificate.pem"), path("keys/rsa.pem"));
    ask(&["check-config", "--tls-cert", &cert, "--tls-key", &key]).await.done();
    let none = path("keys/none.pem");
    for (cert, key, setting, file) in [
        (&key, &key, "--tls-cert:", "rsa.pem"),
        (&cert, &cert, "--tls-key:", "certificate.pem"),
        (&cert, &path("keys/p256.pem"), "--tls-key:", "p256.pem"),
        (&none, &key, "--tls-cert:", "none.pem"),
        (&cert, &none, "--tls-key:", "none.pem"),
    ] {
        let line = ask(&["check-config", "--tls-cert", cert, "--tls-key", key]).await.refused(2);
        assert!(line.contains(setting) && line.contains(file), "{setting} {file}: {line}");
    }
    for public in ["rsa", "p256", "ed25519"] {
        let public = path(&format!("keys/{public}.pub.pem"));
        ask(&["check-config", "--auth", "jwt", "--jwt-public-key", &public]).await.done();
    }
    for unfit in ["rsa_1024.pub", "p384.pub", "rsa", "none"] {
        let unfit = path(&format!("keys/{unfit}.pem"));
        let line = ask(&["check-config", "--auth", "jwt", "--jwt-public-key", &unfit]).await.refused(2);
        assert!(line.contains("--jwt-public-key") && line.contains(&unfit), "{line}");
    }
}

#[tokio::test]
async fn a_command_on_the_database_minds_only_what_it_needs() {
    let dir = tempdir().unwrap();
    let url = database(&dir.path().join("chat.db"));
    let arguments =
        ["--auth", "jwt", "--listen", "0.0.0.0:443", "--tls-cert", "/nowhere", "migrate", "--database", &url];
    ask(&arguments).await.done();
    ask(&["--nonsense", "migrate", "--database", &url]).await.refused(2);
    ask(&["--listen", "nowhere", "migrate", "--database", &url]).await.refused(2);
}

#[tokio::test]
async fn migrate_says_from_which_version_to_which() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("new/chat.db");
    let url = database(&path);
    let out = ask(&["migrate", "--database", &url]).await.done();
    assert!(out.contains("from schema version 0 to 2") && out.lines().count() == 1, "{out}");
    let out = ask(&["migrate", "--database", &url]).await.done();
    assert!(out.contains("schema version 2 already"), "{out}");
    let server = Running::start(&path, &[]).await;
    let line = ask(&["migrate", "--database", &url]).await.refused(1);
    assert!(line.contains("in use"), "{line}");
    assert!(server.end().await.success());
    fs::write(&path, "Dear diary,\n".repeat(1000)).unwrap();
    let line = ask(&["migrate", "--database", &url]).await.refused(1);
    assert!(line.contains("damaged"), "{line}");
}

#[tokio::test]
async fn renewed_epochs_send_clients_back_to_the_beginning() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let url = database(&path);
    let line = ask(&["renew-epochs", "--database", &url]).await.refused(1);
    assert!(line.contains("no database"), "{line}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let server = Running::start(&path, &[]).await;
    let mut ann = Client::connect(server.address(), "ann", None).await;
    let before = ann.join("r").await;
    ann.call(json!({ "type": "send", "room": "r", "text": "hi" })).await;
    let line = ask(&["renew-epochs", "--database", &url]).await.refused(1);
    assert!(line.contains("in use"), "{line}");
    let again = Client::connect(server.address(), "ann", None).await.join("r").await;
    assert_eq!(again["epoch"], before["epoch"], "nothing was changed");
    assert!(server.end().await.success());

    let out = ask(&["renew-epochs", "--database", &url]).await.done();
    assert!(out.contains("1 rooms"), "{out}");

    let server = Running::start(&path, &[]).await;
    let mut ann = Client::connect(server.address(), "ann", None).await;
    let resume = json!({ "type": "join", "room": "r", "after": 1, "epoch": before["epoch"] });
    let joined = ann.call(resume).await;
    assert_eq!(joined["reset"], true, "{joined}");
    assert_ne!(joined["epoch"], before["epoch"]);
    let page = http(server.address(), "GET", "/api/v1/rooms/r/messages?user=ann", None).await.json();
    assert!(page["events"].as_array().unwrap().iter().any(|event| event["text"] == "hi"), "{page}");
    assert!(server.end().await.success());
}
