//! The program against a server that is not ours, whose messages it knows by flags: each mistake is found and named.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod server;

use std::{net::SocketAddr, process::Stdio};

use chat_load::{Measurement, Verdict};
use futures_util::future::join_all;
use server::{Mistake, Tells, start, start_plain};
use tokio::process::Command;

/// How messages look at a server that tells its senders this.
fn flags(tells: Tells) -> Vec<&'static str> {
    let mut flags = vec![
        "--path",
        "/chat/{room}/{user}",
        "--entered",
        r#"{"hello":*"#,
        "--send",
        r#"{"n":{id},"text":"{text}"}"#,
        "--delivery",
        r#"{"from":"{user}","room":"{room}","text":"{text}"}"#,
    ];
    match tells {
        Tells::Ack => flags.extend(["--ack", r#"{"ok":{id}}"#]),
        Tells::Echo => flags.push("--echo"),
        Tells::Nothing => {}
    }
    flags
}

/// A short run of a few users, with whatever flags.
async fn run_with(
    scenario: &str,
    tells: Tells,
    mistake: Mistake,
    flags: &[&str],
) -> (Option<i32>, Measurement) {
    run_at(start(tells, mistake).await, scenario, flags).await
}

async fn run_at(server: SocketAddr, scenario: &str, flags: &[&str]) -> (Option<i32>, Measurement) {
    let url = format!("http://{server}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-load"));
    command
        .args(scenario.split(' '))
        .args("--rate 50 --seconds 0.6 --warm-up 0.1 --settle 2 --json --url".split(' '))
        .arg(&url)
        .args(flags);
    let done = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    (done.status.code(), serde_json::from_slice(&done.stdout).unwrap())
}

async fn run_against(tells: Tells, mistake: Mistake) -> (Option<i32>, Measurement) {
    run_with("room --users 4", tells, mistake, &flags(tells)).await
}

/// What is counted of the deliveries, and of the acks.
fn counts(verdict: &Verdict) -> [u64; 6] {
    let Verdict { lost, doubled, out_of_order, altered, acks_missing, acks_doubled, .. } = verdict;
    [*lost, *doubled, *out_of_order, *altered, *acks_missing, *acks_doubled]
}

#[tokio::test]
async fn a_server_without_a_fault_passes_whatever_it_tells_its_senders() {
    for tells in [Tells::Ack, Tells::Echo, Tells::Nothing] {
        let (code, found) = run_against(tells, Mistake::None).await;
        assert_eq!(code, Some(0), "{tells:?}: {:?}", found.verdict);
        let traffic = &found.traffic;
        assert!(traffic.sent > 0 && traffic.delivered > traffic.sent, "{traffic:?}");
        assert!(found.delivery.samples > 0);
        let has_acks = tells != Tells::Nothing;
        assert_eq!(
            (found.has_acks, traffic.acked > 0, found.ack.samples > 0),
            (has_acks, has_acks, has_acks)
        );
    }
}

#[tokio::test]
async fn the_example_of_a_plain_broadcast_server_works_as_the_page_has_it() {
    let page = include_str!("../../../docs/load.md");
    let example = page.lines().find_map(|line| line.strip_prefix("chat-load room -n 100 --path / ")).unwrap();
    let (example, _) = example.split_once(" --url ").unwrap();
    let flags: Vec<&str> =
        ["--path", "/"].into_iter().chain(example.split(' ').map(|word| word.trim_matches('\''))).collect();
    let (code, found) = run_at(start_plain().await, "room --users 4", &flags).await;
    assert_eq!(code, Some(0), "{:?}", found.verdict);
    assert!(found.has_acks && found.ack.samples > 0 && found.delivery.samples > 0);
}

#[tokio::test]
async fn every_scenario_that_needs_no_resuming_passes() {
    for scenario in ["pairs --users 6", "fanout --users 5", "idle --users 5 --join"] {
        let (code, found) = run_with(scenario, Tells::Ack, Mistake::None, &flags(Tells::Ack)).await;
        assert_eq!(code, Some(0), "{scenario}: {:?}", found.verdict);
    }
}

/// What is wrong with the deliveries is found whether there are acks or not.
async fn fails(mistake: Mistake, wanted: [u64; 6], why: &str) {
    let runs = [Tells::Ack, Tells::Echo, Tells::Nothing]
        .map(async |tells| (tells, run_against(tells, mistake).await));
    for (tells, (code, found)) in join_all(runs).await {
        let verdict = &found.verdict;
        assert_eq!((code, counts(verdict)), (Some(1), wanted), "{tells:?} {mistake:?}: {verdict:?}");
        assert!(verdict.faults.iter().any(|fault| fault.contains(why)), "{verdict:?}");
    }
}

#[tokio::test]
async fn a_message_that_is_lost_fails_the_run() {
    fails(Mistake::Lose, [1, 0, 0, 0, 0, 0], "is missing before").await;
}

#[tokio::test]
async fn a_message_that_comes_twice_fails_the_run() {
    fails(Mistake::Double, [0, 1, 0, 0, 0, 0], "came again").await;
}

#[tokio::test]
async fn messages_of_one_author_that_change_places_fail_the_run() {
    fails(Mistake::Swap, [0, 0, 1, 0, 0, 0], "came after a later number").await;
}

#[tokio::test]
async fn a_message_that_is_not_what_was_sent_fails_the_run() {
    // What is altered is not there, either.
    fails(Mistake::Alter, [1, 0, 0, 1, 0, 0], "its text is another one").await;
    fails(Mistake::Cut, [1, 0, 0, 1, 0, 0], "it is not as a delivery should be").await;
    fails(Mistake::Misattribute, [1, 0, 0, 1, 0, 0], "somebody else said it").await;
    fails(Mistake::Misname, [1, 0, 0, 1, 0, 0], "it was said in another room").await;
    fails(Mistake::Invent, [0, 0, 0, 1, 0, 0], "nobody has said it yet").await;
}

#[tokio::test]
async fn a_connection_that_hears_no_more_fails_the_run() {
    let (code, found) = run_against(Tells::Ack, Mistake::LoseEnd).await;
    let verdict = &found.verdict;
    assert_eq!((code, verdict.doubled, verdict.out_of_order), (Some(1), 0, 0));
    assert!(verdict.lost > 1, "{verdict:?}");
    assert!(verdict.faults.iter().any(|fault| fault.contains("of the others have not come")), "{verdict:?}");
}

#[tokio::test]
async fn a_message_in_a_room_where_it_was_not_said_fails_the_run() {
    let flags = flags(Tells::Ack);
    let (code, found) = run_with("pairs --users 6", Tells::Ack, Mistake::Leak, &flags).await;
    let verdict = &found.verdict;
    // Each room has its mistake.
    assert_eq!((code, verdict.altered, verdict.lost), (Some(1), 3, 0), "{verdict:?}");
    assert!(verdict.faults[0].contains("it was said in another room"), "{verdict:?}");
}

#[tokio::test]
async fn a_message_that_comes_back_to_its_sender_fails_the_run_where_that_was_not_to_be() {
    let (code, found) = run_against(Tells::Nothing, Mistake::Return).await;
    assert_eq!((code, counts(&found.verdict)), (Some(1), [0, 0, 0, 1, 0, 0]), "{:?}", found.verdict);
    assert!(found.verdict.faults[0].contains("there is no --echo"), "{:?}", found.verdict);
}

#[tokio::test]
async fn an_ack_that_is_forgotten_or_comes_twice_fails_the_run() {
    let (code, found) = run_against(Tells::Ack, Mistake::ForgetAck).await;
    assert_eq!((code, counts(&found.verdict)), (Some(1), [0, 0, 0, 0, 1, 0]), "{:?}", found.verdict);
    assert!(found.verdict.faults[0].contains("1 have no ack"), "{:?}", found.verdict);
    let (code, found) = run_against(Tells::Ack, Mistake::DoubleAck).await;
    assert_eq!((code, counts(&found.verdict)), (Some(1), [0, 0, 0, 0, 0, 1]), "{:?}", found.verdict);
    assert!(found.verdict.faults[0].contains(r#"came again, or for nothing: {"ok":"#), "{:?}", found.verdict);
}

#[tokio::test]
async fn an_own_message_that_is_the_ack_is_held_to_the_same_as_those_of_others() {
    let (code, found) = run_against(Tells::Echo, Mistake::ForgetAck).await;
    // It is lost to its sender, who waits for its ack.
    assert_eq!((code, counts(&found.verdict)), (Some(1), [1, 0, 0, 0, 1, 0]), "{:?}", found.verdict);
    let (code, found) = run_against(Tells::Echo, Mistake::DoubleAck).await;
    assert_eq!((code, counts(&found.verdict)), (Some(1), [0, 1, 0, 0, 0, 1]), "{:?}", found.verdict);
    let (code, found) = run_against(Tells::Echo, Mistake::SwapAcks).await;
    assert_eq!((code, counts(&found.verdict)), (Some(1), [0, 0, 1, 0, 0, 0]), "{:?}", found.verdict);
}

#[tokio::test]
async fn acks_may_change_places_where_they_say_what_they_are_for() {
    let (code, found) = run_against(Tells::Ack, Mistake::SwapAcks).await;
    assert_eq!(code, Some(0), "{:?}", found.verdict);
}

#[tokio::test]
async fn a_connection_that_is_lost_fails_the_run_and_stays_away() {
    let (code, found) = run_against(Tells::Ack, Mistake::HangUp).await;
    let verdict = &found.verdict;
    assert_eq!((code, verdict.connections_lost, verdict.held_back), (Some(1), 1, 0), "{verdict:?}");
    assert!(verdict.lost > 0, "{verdict:?}");
}

#[tokio::test]
async fn flags_that_do_not_fit_the_server_fail_the_run_and_show_what_it_says() {
    let flags = ["--path", "/chat/{room}/{user}", "--send", r#"{"text":"{text}"}"#, "--delivery", "<{text}>"];
    let (code, found) = run_with("room --users 2", Tells::Nothing, Mistake::None, &flags).await;
    let verdict = &found.verdict;
    assert_eq!(code, Some(1));
    assert!(verdict.lost > 0);
    let wanted = r#"frames were neither a delivery nor an ack, such as {"hello":"#;
    assert!(verdict.faults.iter().any(|fault| fault.contains(wanted)), "{verdict:?}");
}
