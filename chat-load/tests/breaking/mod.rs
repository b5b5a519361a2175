//! The search for a breaking point at a server with a limit, and at one that fails.

use std::fs;

use chat_load::{BreakingPoint, End, Reason};

use super::{
    chat_load, complaint,
    support::{Fake, Mistake, TIRED_BEYOND},
};

/// A quick search from four users on.
const QUICK: &str = "breaking-point --from 4 --rate 10 --seconds 0.5 --warm-up 0.1 --settle 3 --url";

#[tokio::test]
async fn a_breaking_point_is_found_where_the_server_has_its_limit() {
    let server = Fake::start(Mistake::Tire).await;
    let url = format!("http://{}", server.address);
    let done = chat_load(&QUICK.split(' ').chain([url.as_str(), "--json"]).collect::<Vec<_>>()).await;
    assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    let found: BreakingPoint = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((done.status.code(), found.end), (Some(0), End::Found), "{found:?}");
    let (held, broke) = (found.held.unwrap(), found.broke.unwrap());
    assert!(held <= TIRED_BEYOND && broke == held + 1, "it held {held} and broke at {broke}");
    let step = found.breaking_step().unwrap();
    assert!(step.reasons.iter().any(|reason| matches!(reason, Reason::Slow { .. })), "{:?}", step.reasons);
    assert_eq!(found.failures().count(), 0);
    let broken = found.steps.iter().filter(|step| !step.is_held());
    let twice = broken.clone().filter(|step| step.users == broke).count();
    assert_eq!(twice, 2, "a break without full processors is measured again before it is believed");
    // Neither its process nor its figures are known.
    assert!(found.first_wall.is_none() && found.prediction.is_none());
    assert!(found.models.seed.missing.unwrap().contains("too few"));
}

#[tokio::test]
async fn a_message_that_is_lost_on_the_way_to_the_breaking_point_is_a_failure() {
    for (mistake, wanted) in [
        (Mistake::Lose, "FAILED                 with 4 users: 1 deliveries lost: later ones came"),
        (Mistake::LoseEnd, " acks were late, though it was not overloaded"),
        (Mistake::Double, "FAILED                 with 4 users: 1 doubled"),
    ] {
        let server = Fake::start(mistake).await;
        let url = format!("http://{}", server.address);
        let line = QUICK.replace("--rate 10", "--rate 50").replace("--settle 3", "--settle 1");
        let done = chat_load(&line.split(' ').chain([url.as_str()]).collect::<Vec<_>>()).await;
        let said = String::from_utf8(done.stdout).unwrap();
        assert_eq!(done.status.code(), Some(1), "{mistake:?}: {said}");
        assert!(said.contains(wanted), "{mistake:?}: {said}");
        assert!(said.contains("none: the server did what it must not do under any load"), "{said}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_break_within_the_bounds_is_said_to_and_no_success() {
    let server = Fake::start(Mistake::None).await;
    let url = format!("http://{}", server.address);
    let line = QUICK.split(' ').chain([url.as_str(), "--users-max", "5"]);
    let done = chat_load(&line.collect::<Vec<_>>()).await;
    let said = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("breaking point         none: it held 5, and no more were asked for"), "{said}");
}

#[tokio::test]
async fn a_search_that_cannot_be_is_refused() {
    for (arguments, code, wanted) in [
        (&["breaking-point", "--from", "1"][..], 2, "--from must be from 2 to 1000000"),
        (&["breaking-point", "--users-max", "10"], 2, "--users-max must be from --from to 1000000"),
        (&["breaking-point", "--tolerance", "0"], 2, "--tolerance must be from 0.1 to 100"),
        (&["breaking-point", "--steps-max", "1000"], 2, "--steps-max must be from 1 to 100"),
        (&["breaking-point", "--link", "0"], 2, "--link must be more than 0"),
        (&["breaking-point", "--scenario", "churn"], 2, "[possible values: room, pairs, mixed]"),
        (&["breaking-point", "--url", "http://127.0.0.1:1"], 1, "nothing answers at 127.0.0.1:1"),
        (&["report", "--start"], 2, "--out <FOLDER>"),
        (
            &["report", "--out", "x", "--original", "/nowhere/start"],
            2,
            "--original: /nowhere/start is not there",
        ),
    ] {
        let (found, said) = complaint(arguments).await;
        assert_eq!(found, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_report_is_written_with_the_command_that_made_it() {
    let server = Fake::start(Mistake::Tire).await;
    let url = format!("http://{}", server.address);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("it's here");
    let line = QUICK.replace("breaking-point", "report").replace("--from 4", "--from 8 --tolerance 40");
    let arguments: Vec<&str> =
        line.split(' ').chain([url.as_str(), "--out", out.to_str().unwrap()]).collect();
    let done = chat_load(&arguments).await;
    let said = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains("breaking point         "), "{said}");
    let markdown = fs::read_to_string(out.join("breaking-point.md")).unwrap();
    assert!(markdown.contains("/it'\\''s here'\n```"), "{markdown}");
    let page = fs::read_to_string(out.join("breaking-point.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("chat-load report --from 8"), "{page}");
    // Neither its process nor its figures are known, so of its CPU, memory and commits there are no plots.
    let latency = fs::read_to_string(out.join("breaking-point-latency.svg")).unwrap();
    assert!(latency.contains("500 ms") && !out.join("breaking-point-memory.svg").exists());
}

#[tokio::test]
async fn a_report_of_a_server_that_fails_is_written_and_no_success() {
    let server = Fake::start(Mistake::Double).await;
    let url = format!("http://{}", server.address);
    let folder = tempfile::tempdir().unwrap();
    let line = QUICK.replace("breaking-point", "report").replace("--rate 10", "--rate 50");
    let out = folder.path().to_str().unwrap();
    let done = chat_load(&line.split(' ').chain([url.as_str(), "--out", out]).collect::<Vec<_>>()).await;
    assert_eq!(done.status.code(), Some(1));
    let markdown = fs::read_to_string(folder.path().join("breaking-point.md")).unwrap();
    assert!(markdown.contains("with 4 users: 1 doubled"), "{markdown}");
}
