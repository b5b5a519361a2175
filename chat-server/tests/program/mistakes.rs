//! One line for each mistake, and nothing started. All of them are in the unit tests of the program; here are some, by
//! each way in.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use crate::{ask, program, run};

#[tokio::test]
async fn a_mistake_is_named_in_one_line() {
    for (arguments, named) in [
        (vec!["--listen", "nowhere"], "--listen"),
        (vec!["--listen", "0.0.0.0:0"], "loopback"),
        (vec!["--listen"], "--listen"),
        (vec!["--database", "mysql://x"], "--database"),
        (vec!["--database", "postgres://localhost/chat?sslmode=allow"], "sslmode=allow"),
        (
            vec!["--database", "postgres://localhost/chat", "--sqlite-synchronous", "full"],
            "--sqlite-synchronous",
        ),
        (vec!["--postgres-connections", "20"], "--postgres-connections"),
        (vec!["--nats", "nats://localhost"], "--nats"),
        (vec!["--auth", "accounts"], "--auth"),
        (vec!["--auth", "jwt"], "--jwt-secret"),
        (vec!["--log", "a=b=c"], "--log"),
        (vec!["--log-format", "xml"], "--log-format"),
        (vec!["--drain-timeout", "soon"], "--drain-timeout"),
        (vec!["--tls-cert", "cert.pem"], "--tls-key"),
        (vec!["--no-such-flag"], "--no-such-flag"),
        (vec!["stray"], "stray"),
        (vec!["check-config", "--listen", "nowhere"], "--listen"),
        (vec!["--listen", "nowhere", "check-config"], "--listen"),
        (vec!["backup"], "FILE"),
        (vec!["migrate", "--database", "sqlite::memory:"], "--database"),
        (vec!["backup", "copy", "--database", "postgres://localhost/chat"], "pg_dump"),
    ] {
        let line = ask(&arguments).await.refused(2);
        assert!(line.contains(named), "{arguments:?}: {line}");
    }
}

#[tokio::test]
async fn a_mistake_in_the_environment_is_named_by_its_variable() {
    for (name, value) in [
        ("CHAT_LISTEN", "x"),
        ("CHAT_AUTH", "none"),
        ("CHAT_DRAIN_TIMEOUT", "-1"),
        ("CHAT_DRAIN_TIMEOUT", ""),
        ("CHAT_LISTN", "1"),
        ("CHAT_JWT_SECRET", "hunter2"),
    ] {
        let mut command = program();
        command.env(name, value);
        let line = run(command).await.refused(2);
        assert!(line.contains(name) && !line.contains("hunter2"), "{name}: {line}");
    }
    let mut command = program();
    command.env("CHAT_LOG", OsStr::from_bytes(b"\xff"));
    let line = run(command).await.refused(2);
    assert!(line.contains("CHAT_LOG: it is not UTF-8"), "{line}");
}

#[tokio::test]
async fn a_mistake_in_a_file_is_named_by_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a\nb.toml");
    std::fs::write(&path, "log = 'info'\njwt-secret = 'hunter2'\n").unwrap();
    let line = ask(&["--config", path.to_str().unwrap()]).await.refused(2);
    assert!(line.contains("b.toml line 2: jwt-secret") && !line.contains("hunter2"), "{line}");
    std::fs::write(&path, "log = 'info'\nlog = 'info\x1b[31m").unwrap();
    let line = ask(&["--config", path.to_str().unwrap()]).await.refused(2);
    assert!(line.contains("b.toml line 2") && !line.contains('\x1b'), "{line}");
}

#[tokio::test]
async fn what_cannot_be_opened_is_named_in_one_line() {
    let line = ask(&["--database", "sqlite:/proc/nothing/chat.db"]).await.refused(1);
    assert!(line.contains("/proc/nothing"), "{line}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = ask(&["--database", "sqlite::memory:", "--listen", &address]).await.refused(1);
    assert!(line.contains(&address), "{line}");
}

#[tokio::test]
async fn the_version_and_the_help_go_to_standard_output() {
    let version = ask(&["--version"]).await.done();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    for arguments in [&["--help"][..], &["-h"], &["help"], &["backup", "--help"]] {
        let mut command = program();
        command.args(arguments).env("CHAT_JWT_SECRET", "hunter2");
        let help = run(command).await.done();
        assert!(help.contains("CHAT_LISTEN") && !help.contains("hunter2"), "{help}");
        let is_whole = !arguments.contains(&"backup");
        assert_eq!(help.starts_with("A chat server"), is_whole, "{help}");
    }
}
