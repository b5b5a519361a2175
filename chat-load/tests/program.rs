//! The program as a stranger runs it: what it finds at a server that makes a mistake, and what it says about its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod breaking;
mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Output, Stdio},
};

use chat_load::{Measurement, Table};
use support::{Fake, Mistake};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

async fn chat_load(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-load"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
}

/// A short run of a few users against a server that makes this mistake.
async fn run_against(mistake: Mistake) -> (Option<i32>, Measurement) {
    run_over("chat.v1", mistake).await
}

async fn run_over(subprotocol: &str, mistake: Mistake) -> (Option<i32>, Measurement) {
    let server = Fake::start(mistake).await;
    let url = format!("http://{}", server.address);
    let line = "room --users 4 --rate 50 --seconds 0.6 --warm-up 0.1 --settle 2 --json --subprotocol";
    let done = line.split(' ').chain([subprotocol, "--url", &url]);
    let done = chat_load(&done.collect::<Vec<_>>()).await;
    assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    (done.status.code(), serde_json::from_slice(&done.stdout).unwrap())
}

#[tokio::test]
async fn a_server_without_a_fault_passes() {
    let (code, found) = run_against(Mistake::None).await;
    assert_eq!(code, Some(0), "{:?}", found.verdict);
    assert!(found.verdict.is_good());
    assert!(
        found.traffic.sent > 0 && found.traffic.acked > 0 && found.traffic.delivered > found.traffic.acked
    );
    assert!(found.delivery.samples > 0 && found.ack.samples > 0);
    assert!(found.figures.is_none() && found.server.is_none(), "it has neither");
    assert_eq!(found.figures_missing, None, "it says that it has none");
}

#[tokio::test]
async fn what_is_under_way_when_the_measuring_ends_is_measured_too() {
    let (code, found) = run_against(Mistake::Stall).await;
    assert_eq!(code, Some(0), "{:?}", found.verdict);
    assert!(found.traffic.acked < found.traffic.sent, "the stall outlasts the measuring");
    assert_eq!(found.ack.samples, found.traffic.sent);
    assert!(found.delivery.samples > found.traffic.delivered, "each of them went to three");
}

#[tokio::test]
async fn figures_that_cannot_be_read_are_missed_and_the_run_is_kept() {
    let (code, found) = run_against(Mistake::HideFigures).await;
    assert_eq!(code, Some(0), "{:?}", found.verdict);
    assert!(found.figures.is_none() && found.traffic.acked > 0);
    let why = found.figures_missing.as_deref().unwrap();
    assert!(why.starts_with("the connection ended before there was an answer"), "{why}");
    let told = Table(&found).to_string();
    assert!(
        told.contains(&format!("commits                not known, as /metrics cannot be read: {why}")),
        "{told}"
    );
}

#[tokio::test]
async fn a_message_that_is_lost_fails_the_run() {
    let (code, found) = run_against(Mistake::Lose).await;
    assert_eq!((code, found.verdict.lost, found.verdict.doubled), (Some(1), 1, 0));
    assert!(found.verdict.faults[0].contains(": 20 is missing before 21"), "{:?}", found.verdict.faults);
}

#[tokio::test]
async fn a_connection_that_hears_no_more_fails_the_run() {
    let (code, found) = run_against(Mistake::LoseEnd).await;
    let verdict = &found.verdict;
    assert_eq!(code, Some(1));
    // Nothing came after what was lost: only the others tell that there was more.
    assert!(verdict.lost > 1 && verdict.acks_missing > 1, "{verdict:?}");
    assert!(verdict.faults.iter().any(|fault| fault.contains("have not come")), "{verdict:?}");
    assert!(verdict.faults.iter().any(|fault| fault.contains("have no ack")), "{verdict:?}");
}

#[tokio::test]
async fn a_message_that_comes_twice_fails_the_run() {
    let (code, found) = run_against(Mistake::Double).await;
    assert_eq!((code, found.verdict.lost, found.verdict.doubled), (Some(1), 0, 1));
    assert!(found.verdict.faults[0].contains(": 20 came again"), "{:?}", found.verdict.faults);
}

#[tokio::test]
async fn messages_that_change_places_fail_the_run() {
    let (code, found) = run_against(Mistake::Swap).await;
    let verdict = &found.verdict;
    assert_eq!((code, verdict.lost, verdict.doubled, verdict.out_of_order), (Some(1), 0, 0, 1));
    assert!(verdict.faults[1].contains(": 20 came after a later number"), "{:?}", verdict.faults);
}

#[tokio::test]
async fn an_ack_that_is_forgotten_fails_the_run() {
    let (code, found) = run_against(Mistake::ForgetAck).await;
    let verdict = &found.verdict;
    assert_eq!((code, verdict.acks_missing), (Some(1), 1));
    // It stood for a number of the stream, which nobody accounts for.
    assert_eq!((verdict.lost, verdict.numbers_unaccounted), (1, 1));
    assert!(verdict.faults.iter().any(|fault| fault.contains("have no ack")), "{:?}", verdict.faults);
}

#[tokio::test]
async fn an_ack_that_comes_twice_fails_the_run() {
    let (code, found) = run_against(Mistake::DoubleAck).await;
    let verdict = &found.verdict;
    assert_eq!((code, verdict.acks_doubled, verdict.doubled), (Some(1), 1, 1));
    assert!(verdict.faults.iter().any(|fault| fault.contains("came again, or for nothing")), "{verdict:?}");
}

#[tokio::test]
async fn acks_that_change_places_fail_the_run() {
    let (code, found) = run_against(Mistake::SwapAcks).await;
    let verdict = &found.verdict;
    // Both the number and the answer come after later ones.
    assert_eq!(
        (code, verdict.out_of_order, verdict.acks_missing, verdict.lost),
        (Some(1), 2, 0, 0),
        "{verdict:?}"
    );
}

#[tokio::test]
async fn a_message_that_is_kept_twice_fails_the_run() {
    let (code, found) = run_against(Mistake::KeepTwice).await;
    let verdict = &found.verdict;
    assert_eq!((code, verdict.numbers_unaccounted, verdict.lost), (Some(1), 1, 0), "{verdict:?}");
}

#[tokio::test]
async fn a_message_in_the_wrong_room_fails_the_run() {
    let (code, found) = run_against(Mistake::Misroute).await;
    assert_eq!((code, found.verdict.protocol, found.verdict.lost), (Some(1), 1, 1), "{:?}", found.verdict);
    assert!(found.verdict.faults[0].contains("elsewhere was not joined"), "{:?}", found.verdict.faults);
}

#[tokio::test]
async fn a_message_that_is_not_what_was_sent_fails_the_run() {
    for (mistake, wanted) in
        [(Mistake::Alter, "its text is another one"), (Mistake::Misattribute, "somebody else said it")]
    {
        let (code, found) = run_against(mistake).await;
        let verdict = &found.verdict;
        assert_eq!((code, verdict.altered, verdict.lost), (Some(1), 1, 0), "{verdict:?}");
        assert!(verdict.faults[0].contains(wanted), "{:?}", verdict.faults);
    }
}

#[tokio::test]
async fn what_cannot_be_read_fails_the_run() {
    let (code, found) = run_against(Mistake::Garble).await;
    assert_eq!((code, found.verdict.protocol), (Some(1), 1), "{:?}", found.verdict);
    assert!(found.verdict.faults[0].contains("unreadable: {\"kind\""), "{:?}", found.verdict.faults);
}

#[tokio::test]
async fn a_connection_that_is_lost_fails_the_run_and_comes_back_without_a_gap() {
    let (code, found) = run_against(Mistake::HangUp).await;
    let verdict = &found.verdict;
    assert_eq!((code, verdict.connections_lost), (Some(1), 1), "{verdict:?}");
    assert_eq!((verdict.lost, verdict.doubled, verdict.acks_missing), (0, 0, 0), "{verdict:?}");
}

#[tokio::test]
async fn a_send_that_is_refused_for_good_fails_the_run() {
    let (code, found) = run_against(Mistake::Refuse).await;
    let verdict = &found.verdict;
    assert_eq!(
        (code, verdict.refused, verdict.refusals.get("forbidden")),
        (Some(1), 1, Some(&1)),
        "{verdict:?}"
    );
}

#[tokio::test]
async fn what_goes_wrong_in_a_batch_is_found_too() {
    let (code, found) = run_over("chat.v1.batch", Mistake::None).await;
    assert_eq!(code, Some(0), "{:?}", found.verdict);
    for mistake in [Mistake::Lose, Mistake::Double, Mistake::Swap, Mistake::ForgetAck, Mistake::Misroute] {
        let (code, found) = run_over("chat.v1.batch", mistake).await;
        let verdict = &found.verdict;
        let counts =
            [verdict.lost, verdict.doubled, verdict.out_of_order, verdict.acks_missing, verdict.protocol];
        let wanted = match mistake {
            Mistake::Lose => [1, 0, 0, 0, 0],
            Mistake::Double => [0, 1, 0, 0, 0],
            Mistake::Swap => [0, 0, 1, 0, 0],
            Mistake::ForgetAck => [1, 0, 0, 1, 0],
            _ => [1, 0, 0, 0, 1],
        };
        assert_eq!((code, counts), (Some(1), wanted), "{mistake:?}");
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_the_table_too() {
    let server = Fake::start(Mistake::Lose).await;
    let url = format!("http://{}", server.address);
    let line = "room -n 4 --rate 50 --seconds 0.6 --warm-up 0 --url";
    let done = chat_load(&line.split(' ').chain([url.as_str()]).collect::<Vec<_>>()).await;
    let said = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("FAILED                 1 lost, 0 doubled, 0 out of order"), "{said}");
    assert!(said.contains(": 20 is missing before 21"), "{said}");
}

/// The exit code and what it complains about.
async fn complaint(arguments: &[&str]) -> (Option<i32>, String) {
    let done = chat_load(arguments).await;
    assert!(done.stdout.is_empty());
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_named() {
    let mute = Fake::start(Mistake::Mute).await;
    let mute = format!("http://{}", mute.address);
    for (arguments, wanted) in [
        (
            &["room", "--url", "http://127.0.0.1:1"][..],
            "nothing answers at 127.0.0.1:1: is the server running?",
        ),
        (&["room", "--url", &mute], "the server does not speak chat.v1 but none"),
        (&["room", "--url", &mute, "--server-pid", "1073741824"], "of process 1073741824 cannot be read"),
        (&["room", "--start", "/nowhere/chat-server"], "/nowhere/chat-server cannot be started: "),
        (&["room", "--start=/bin/true"], "the server ended with exit status: 0 before it served"),
    ] {
        let (code, said) = complaint(arguments).await;
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_report_whose_second_server_does_not_start_ends_before_the_first_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let no_program = folder.path().join("original");
    fs::write(&no_program, "").unwrap();
    let out = folder.path().join("out");
    let (no_program, out) = (no_program.to_str().unwrap(), out.to_str().unwrap());
    // Nobody is at the first one: that would be told as soon as it is measured.
    let arguments = ["report", "--url", "http://127.0.0.1:1", "--original", no_program, "--out", out];
    let (code, line) = complaint(&arguments).await;
    assert_eq!(code, Some(1));
    assert!(line.contains("original cannot be started"), "{line}");
}

#[tokio::test]
async fn a_mistake_on_the_command_line_is_named() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let empty = empty.path().to_str().unwrap();
    for (arguments, wanted) in [
        (&["rom"][..], "a similar subcommand exists: 'room'"),
        (&["room", "--user", "3"], "a similar argument exists: '--users'"),
        (&["room", "--users", "0"], "--users must be from 1 to 1000000"),
        (&["room", "--users", "100000000000"], "--users must be from 1 to 1000000"),
        (&["churn", "--storms", "4294967295"], "--storms must be at most 10000"),
        (&["churn", "--room-size", "0"], "--room-size must be from 1 to 1000000"),
        (&["room", "--rate", "-1"], "unexpected argument '-1'"),
        (&["room", "--rate=0"], "--rate must be from 0.001 to 1000"),
        (&["room", "--seconds", "soon"], "it must be seconds"),
        (&["room", "--text-bytes", "5"], "--text-bytes must be from 17 to 1048576"),
        (&["room", "--text-bytes", "100000000000"], "--text-bytes must be from 17 to 1048576"),
        (&["room", "--subprotocol", "chat.v2"], "[possible values: chat.v1, chat.v1.batch]"),
        (&["room", "--url", "https://127.0.0.1"], "--url https://127.0.0.1: it must be http://HOST:PORT"),
        (&["room", "--start", "x", "--server-pid", "1"], "cannot be used with '--server-pid <PID>'"),
        (&["room", "--", "--listen", "x"], "<--start [<PATH>]|--start-other <PATH>>"),
        (&["room", "--start-other", "x"], "--start-other: how do its messages look?"),
        (&["room", "--start-other", "x", "--start"], "cannot be used with '--start [<PATH>]'"),
        (&["room", "--send", "{text}"], "--delivery <PATTERN>"),
        (
            &["room", "--send", "{text}", "--subprotocol", "chat.v1"],
            "cannot be used with '--subprotocol <SUBPROTOCOL>'",
        ),
        (&["room", "--ack", "{id}"], "--send <FORM>"),
        (&["room", "--send", "{txt}", "--delivery", "{text}"], "--send: {txt} is not known"),
        (&["room", "--send", "{text}", "--delivery", "*{text}"], "must be something that ends it"),
        (&["churn", "--send", "{text}", "--delivery", "{text}"], "nobody resumes at another's server"),
        (&["fanout", "--send", "{text}", "--delivery", "{text}"], "fanout needs acks"),
        (&["room", "--send", "{text}", "--delivery", "{text}", "--text-bytes", "17"], "must be from 36 to"),
        (&["room", "--tokens", empty], "there is none in it"),
        (&["fanout", "--in-flight", "2000"], "--in-flight must be from 1 to 1024"),
    ] {
        let (code, said) = complaint(arguments).await;
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn too_few_descriptors_are_told_before_anything_is_opened() {
    let program = env!("CARGO_BIN_EXE_chat-load");
    let command = format!("ulimit -n 100; exec {program} room --users 200 --url http://127.0.0.1:1");
    let done = Command::new("sh").args(["-c", &command]).output().await.unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("264 file descriptors are needed, and the limit is 100"), "{said}");
}

/// A run at a rate that cannot be made, at a server that is started for it. What the server tells of itself, its process
/// and its arguments, stands on standard error first.
async fn endless_run(fake: &Fake, folder: &Path) -> (Child, Lines<BufReader<ChildStderr>>, String) {
    let program = folder.join("server");
    let script = format!(
        "#!/bin/sh\necho \"$$ $*\" >&2\necho 'listening on http://{}'\nexec sleep 60\n",
        fake.address
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-load"));
    command.args("pairs --users 300 --rate 1000 --seconds 1000 --warm-up 0 --start".split(' ')).arg(&program);
    let mut run = command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut said = BufReader::new(run.stderr.take().unwrap()).lines();
    let told = said.next_line().await.unwrap().unwrap();
    (run, said, told)
}

#[tokio::test]
async fn whatever_ends_the_run_ends_the_server_with_it_and_removes_its_folder() {
    for signal in ["INT", "TERM", "HUP"] {
        let fake = Fake::start(Mistake::None).await;
        let folder = tempfile::tempdir().unwrap();
        let (mut run, mut said, told) = endless_run(&fake, folder.path()).await;
        let (server, arguments) = told.split_once(' ').unwrap();
        let database = arguments.split(' ').find_map(|argument| argument.strip_prefix("sqlite:")).unwrap();
        let (process, database) = (Path::new("/proc").join(server), Path::new(database).parent().unwrap());
        assert!(process.exists() && database.exists());
        fake.said.notified().await;
        let pid = run.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().await.unwrap().success());
        assert_eq!(run.wait().await.unwrap().code(), Some(1));
        assert_eq!(said.next_line().await.unwrap().unwrap(), format!("error: interrupted by SIG{signal}"));
        assert!(!process.exists(), "the server is gone");
        assert!(!database.exists(), "its folder is gone");
    }
}
