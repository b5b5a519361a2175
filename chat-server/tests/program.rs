//! The program's settings: one line for each mistake, and nothing started.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Command,
    time::timeout,
};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CHAT_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The exit code, standard output and standard error of a program that ends by itself.
async fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let output = timeout(Duration::from_secs(10), command.output()).await.expect("it ends").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_mistake_is_named_in_one_line() {
    for (arguments, named) in [
        (vec!["--listen", "nowhere"], "--listen"),
        (vec!["--listen", "0.0.0.0:0"], "loopback"),
        (vec!["--listen"], "--listen"),
        (vec!["--database", "mysql://x"], "--database"),
        (vec!["--database", "postgres://localhost/chat"], "no Postgres"),
        (vec!["--auth", "accounts"], "--auth"),
        (vec!["--auth", "jwt"], "--auth"),
        (vec!["--log", "a=b=c"], "--log"),
        (vec!["--log-format", "xml"], "--log-format"),
        (vec!["--drain-timeout", "soon"], "--drain-timeout"),
        (vec!["--no-such-flag"], "--no-such-flag"),
        (vec!["stray"], "stray"),
    ] {
        let (code, out, err) = output(program().args(&arguments)).await;
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.contains(named) && err.lines().count() == 1, "{arguments:?}: {err}");
    }
    for (name, value) in [("CHAT_LISTEN", "x"), ("CHAT_AUTH", "none"), ("CHAT_DRAIN_TIMEOUT", "-1")] {
        let (code, _, err) = output(program().env(name, value)).await;
        assert_eq!((code, err.lines().count()), (Some(2), 1), "{name}: {err}");
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_named_in_one_line() {
    let (code, _, err) = output(program().args(["--database", "sqlite:/proc/nothing/chat.db"])).await;
    assert_eq!((code, err.lines().count()), (Some(1), 1), "{err}");
    assert!(err.contains("/proc/nothing"), "{err}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, err) =
        output(program().args(["--database", "sqlite::memory:", "--listen", &address])).await;
    assert_eq!((code, err.lines().count()), (Some(1), 1), "{err}");
    assert!(err.contains(&address), "{err}");
}

#[tokio::test]
async fn the_version_and_the_help_go_to_standard_output() {
    for flag in ["--version", "--help"] {
        let (code, out, err) = output(program().arg(flag)).await;
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(
            out.contains(if flag == "--help" { "CHAT_LISTEN" } else { env!("CARGO_PKG_VERSION") }),
            "{out}"
        );
    }
}

#[tokio::test]
async fn a_flag_beats_the_environment_and_metrics_are_shown() {
    let mut child = program()
        .env("CHAT_LISTEN", "nowhere")
        .env("CHAT_DATABASE", "sqlite::memory:")
        .args(["--listen", "127.0.0.1:0", "--log-format", "json"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let address = line.strip_prefix("listening on http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for name in ["process_resident_memory_bytes", "process_open_fds", "chat_messages_committed_total"] {
        assert!(answer.contains(name), "{name}");
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    let proxied =
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n";
    stream.write_all(proxied).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    child.kill().await.unwrap();
    assert_eq!(lines.next_line().await.unwrap(), None, "one line only");
}
