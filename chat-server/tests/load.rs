//! The load tool against the server: every scenario passes, and what is not as it should be is found.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{future::pending, path::Path, time::Duration};

use chat_core::policy::AllowAll;
use chat_load::{
    Bounds, BreakingPoint, End, Measurement, RunError, Scenario, Server, Settings, Started, Subject, Wall,
    client::{Subprotocol, http::Target},
    find, run,
};
use chat_server::{JwtAuth, JwtKey, RateLimit};
use serde_json::{Value, json};
use support::{
    TestServer, at_most,
    tokens::{SECRET, token_for},
};

/// A short run. What is not about pace has more messages than a second would bring.
fn settings(scenario: Scenario, subprotocol: Subprotocol) -> Settings {
    Settings {
        users: 20,
        measured: Duration::from_millis(800),
        warm_up: Duration::from_millis(100),
        rate: 10.0,
        room_size: 5,
        storm: Duration::from_millis(300),
        subprotocol,
        ..Settings::new(scenario)
    }
}

async fn measure(server: &TestServer, settings: &Settings) -> Result<Measurement, RunError> {
    run(settings, &Target::from(server.address), None, &()).await
}

/// Runs a scenario over both subprotocols. What was found passes.
async fn passes(scenario: Scenario) -> [Measurement; 2] {
    let server = TestServer::start().await;
    let plain = measure(&server, &settings(scenario, Subprotocol::Plain)).await.unwrap();
    let batch = measure(&server, &settings(scenario, Subprotocol::Batch)).await.unwrap();
    for found in [&plain, &batch] {
        assert!(found.verdict.is_good(), "{:?}", found.verdict);
        let silent = scenario == Scenario::Idle;
        assert_eq!((found.traffic.sent > 0, found.traffic.delivered > 0), (!silent, !silent));
        // It can be had back from what is written down.
        let written = serde_json::to_string(found).unwrap();
        let read: Measurement = serde_json::from_str(&written).unwrap();
        assert_eq!((read.scenario, read.traffic, &read.verdict), (scenario, found.traffic, &found.verdict));
    }
    [plain, batch]
}

#[tokio::test]
async fn one_room_passes() {
    for found in passes(Scenario::Room).await {
        assert_eq!((found.users, found.rooms), (20, 1));
        assert!(found.traffic.delivered > found.traffic.acked, "others get what one says");
        assert!(found.delivery.samples > 0 && found.ack.samples > 0 && found.lateness.samples > 0);
        assert!(found.figures.is_none(), "this server has none");
    }
}

#[tokio::test]
async fn pairs_pass() {
    for found in passes(Scenario::Pairs).await {
        assert_eq!((found.users, found.rooms), (20, 10));
    }
}

#[tokio::test]
async fn a_flood_passes() {
    for found in passes(Scenario::Fanout).await {
        assert_eq!((found.users, found.rooms), (21, 1));
    }
}

#[tokio::test]
async fn silence_passes() {
    for found in passes(Scenario::Idle).await {
        assert_eq!((found.users, found.rooms), (20, 0));
    }
    let server = TestServer::start().await;
    let settings = Settings { idle_joins: true, ..settings(Scenario::Idle, Subprotocol::Plain) };
    let found = measure(&server, &settings).await.unwrap();
    assert!(found.verdict.is_good(), "{:?}", found.verdict);
    assert_eq!(found.rooms, 1);
}

#[tokio::test]
async fn storms_pass() {
    for found in passes(Scenario::Churn).await {
        let storms = found.storms.unwrap();
        assert_eq!((storms.dropped, storms.resume.samples), (20, 20));
        assert!(storms.whole_ms.is_some(), "all came back");
    }
    let server = TestServer::start().await;
    let settings = Settings { storms: 4, rate: 50.0, ..settings(Scenario::Churn, Subprotocol::Plain) };
    let found = measure(&server, &settings).await.unwrap();
    assert!(found.verdict.is_good(), "{:?}", found.verdict);
    assert_eq!(found.storms.unwrap().dropped, 80);
}

#[tokio::test]
async fn a_mixture_passes() {
    for found in passes(Scenario::Mixed).await {
        // One for all, four of pairs, and two of five.
        assert_eq!(found.rooms, 7);
    }
}

#[tokio::test]
async fn a_server_that_is_started_for_the_run_is_looked_at_and_leaves_nothing() {
    let flags = ["--degradation".into(), "off".into()];
    let server = Started::start(Path::new(env!("CARGO_BIN_EXE_chat-server")), &flags).await.unwrap();
    let settings = settings(Scenario::Room, Subprotocol::Plain);
    let found = run(&settings, server.target(), Some(server.pid()), &()).await.unwrap();
    assert!(found.verdict.is_good(), "{:?}", found.verdict);
    let cost = found.server.unwrap();
    assert!(cost.cpu_ms_per_s > 0.0 && cost.us_per_message.unwrap() > cost.us_per_delivery.unwrap());
    assert!(cost.memory_open_bytes > 1 << 20 && cost.memory_max_bytes > 1 << 20);
    let figures = found.figures.unwrap();
    assert!(figures.mean_batch.unwrap() >= 1.0 && figures.commits_per_s > 0.0);
    assert!((figures.after.connections - 20.0).abs() < 0.1);
    let process = format!("/proc/{}", server.pid());
    assert!(Path::new(&process).exists());
    server.stop().await.unwrap();
    assert!(!Path::new(&process).exists());
}

#[tokio::test]
async fn the_way_to_a_breaking_point_is_measured_at_fresh_servers() {
    let program = env!("CARGO_BIN_EXE_chat-server").into();
    let subject = Subject {
        name: "chat-server".to_owned(),
        settings: settings(Scenario::Room, Subprotocol::Plain),
        server: Server::Ours { program, flags: Vec::new() },
        link_bits_per_s: Some(1e9),
    };
    let bounds = Bounds { first: 4, users_max: 10, unit: 2, tolerance: 0.05, steps_max: 10 };
    let minutes = Duration::from_mins(2);
    let found = find(&subject, bounds, minutes, &(), pending::<RunError>()).await.unwrap();
    assert_eq!((found.end, found.held, found.broke), (End::Unbroken, Some(10), None), "{found:?}");
    assert!(!found.is_good(), "no breaking point was found");
    let measured = found.steps.iter().map(|step| step.measurement.as_ref().unwrap());
    let pids: Vec<u32> = measured.map(|found| found.server.unwrap().pid).collect();
    assert!(pids.len() >= 2 && pids.windows(2).all(|two| two[0] != two[1]), "{pids:?}");
    for step in &found.steps {
        let cpu = step.cpu.unwrap();
        assert!(cpu.server > 0.0 && cpu.tool > 0.0 && cpu.machine >= cpu.server + cpu.tool, "{cpu:?}");
        assert!(Wall::ALL.iter().all(|wall| step.walls[wall] > 0.0), "{:?}", step.walls);
        assert!(step.is_carried() && step.failures.is_empty(), "{step:?}");
        let found = step.measurement.as_ref().unwrap();
        let (figures, traffic) = (found.figures.as_ref().unwrap(), &found.traffic);
        // Over about the same time: what the server wrote is what the tool read.
        let read = f64::from(u32::try_from(traffic.read_bytes).unwrap()) / found.seconds;
        let written = figures.written_bytes_per_s.unwrap();
        assert!(written > read / 4.0 && written < read * 4.0, "{written} written, {read} read");
        assert!(figures.writes_per_s.unwrap() > 0.0, "{figures:?}");
    }
    // It can be had back from what is written down.
    let written = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<BreakingPoint>(&written).unwrap().steps.len(), found.steps.len());
}

#[tokio::test]
async fn flags_of_a_started_server_are_its_own() {
    let program = Path::new(env!("CARGO_BIN_EXE_chat-server"));
    let error = Started::start(program, &["--no-such-flag".into()]).await.unwrap_err();
    assert!(error.to_string().contains("ended with exit status: 2"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_full_is_told_from_one_that_fails() {
    let builder = TestServer::builder(AllowAll).await;
    for (builder, wanted) in [
        (builder.connections_max(at_most(10)), "refuses with 503, overloaded"),
        (
            TestServer::builder(AllowAll).await.connections_per_address(at_most(10)),
            "refuses with 429, rate_limited",
        ),
    ] {
        let server = TestServer::serve(builder.build()).await;
        let error = measure(&server, &settings(Scenario::Room, Subprotocol::Plain)).await.unwrap_err();
        assert!(matches!(error, RunError::Connect { .. }), "{error:?}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[tokio::test]
async fn what_is_refused_for_the_moment_is_sent_again_and_acked() {
    let limit = RateLimit::new(5, 2).unwrap();
    let server = TestServer::start_as(|builder| builder.rate_limit(limit)).await;
    let settings = Settings { users: 4, ..settings(Scenario::Room, Subprotocol::Plain) };
    let found = measure(&server, &settings).await.unwrap();
    assert!(found.verdict.is_good(), "{:?}", found.verdict);
    assert!(found.verdict.refusals["rate_limited"] > 0);
}

#[tokio::test]
async fn users_who_have_tokens_show_them() {
    let key = JwtKey::secret(SECRET).unwrap();
    let server = TestServer::start_as(|builder| builder.authenticator(JwtAuth::new(key))).await;
    let tokens = (0..20).map(|user| token_for(&format!("user{user}"))).collect();
    let settings = Settings { tokens, ..settings(Scenario::Room, Subprotocol::Plain) };
    let found = measure(&server, &settings).await.unwrap();
    assert!(found.verdict.is_good(), "{:?}", found.verdict);
    let few = Settings { tokens: settings.tokens[..5].to_vec(), ..settings };
    let error = measure(&server, &few).await.unwrap_err();
    assert_eq!(error.to_string(), "20 users need a token each, and there are 5");
}

/// The one room of a run that goes on, once so many messages are in it.
async fn busy_room(server: &TestServer) -> String {
    loop {
        let rooms = server.http("GET", "/api/v1/rooms?user=stranger", None).await.json();
        if let Some(room) = rooms["rooms"].get(0).filter(|room| room["last_seq"].as_u64() > Some(10)) {
            return room["id"].as_str().unwrap().to_owned();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_message_of_somebody_else_is_not_taken_for_one_of_the_run() {
    let server = TestServer::start().await;
    let disturbing = async {
        let path = format!("/api/v1/rooms/{}/messages?user=stranger", busy_room(&server).await);
        let answer = server.http("POST", &path, Some(json!({ "text": "hello" }))).await;
        assert_eq!(answer.status, 201);
    };
    let settings = settings(Scenario::Room, Subprotocol::Plain);
    let (found, ()) = tokio::join!(measure(&server, &settings), disturbing);
    let verdict = found.unwrap().verdict;
    assert_eq!((verdict.numbers_unaccounted, verdict.lost, verdict.protocol), (1, 0, 0), "{verdict:?}");
}

#[tokio::test]
async fn what_has_no_number_is_passed_over() {
    let server = TestServer::start().await;
    let looking_on = async {
        let room = busy_room(&server).await;
        let mut stranger = server.connect("stranger").await;
        assert_eq!(stranger.join(&room).await["type"], "joined");
        for (command, wanted) in [
            (json!({ "type": "typing", "room": room }), "ok"),
            (json!({ "type": "read", "room": room, "seq": 5 }), "ok"),
        ] {
            let reply: Value = stranger.call(command).await;
            assert_eq!(reply["type"], wanted);
        }
    };
    let settings = settings(Scenario::Room, Subprotocol::Batch);
    let (found, ()) = tokio::join!(measure(&server, &settings), looking_on);
    let verdict = found.unwrap().verdict;
    assert!(verdict.is_good(), "{verdict:?}");
}
