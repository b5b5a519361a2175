//! A bug ends the connection or the request that met it, and nothing else.

use axum::http::request::Parts;
use chat_core::{
    Draft, Identity,
    ids::{RoomId, UserId},
    policy::{Denied, Policy, Touch},
    protocol::Token,
    store::BoxFuture,
};
use chat_server::{AuthError, Authenticator, Grant, Metrics, OpenAuth};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};

use super::support::{Client, RawClient, TestServer, program::DEADLINE};

/// A service's own rules, each with a bug.
#[derive(Debug)]
struct Buggy;

/// The bug.
fn meet(name: &str) {
    assert_ne!(name, "boom", "planted");
}

impl Policy for Buggy {
    fn may_join(&self, _: &Identity, room: &RoomId) -> Result<(), Denied> {
        meet(room.as_str());
        Ok(())
    }

    fn may_send(&self, _: &Identity, _: &RoomId, draft: Draft) -> Result<Draft, Denied> {
        meet(&draft.text);
        Ok(draft)
    }

    fn may_touch(&self, who: &Identity, _: &RoomId, touch: Touch<'_>) -> Result<(), Denied> {
        match touch {
            Touch::Edit(text) => meet(text),
            Touch::React(emoji) => meet(emoji),
            _ => meet(who.user.as_str().trim_start_matches("delete-")),
        }
        Ok(())
    }

    fn may_manage(&self, _: &Identity, room: &RoomId, member: Option<&UserId>) -> Result<(), Denied> {
        meet(member.map_or(room.as_str(), UserId::as_str));
        Ok(())
    }
}

impl Authenticator for Buggy {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Grant, AuthError>> {
        Box::pin(async move {
            let grant = OpenAuth.authenticate(request).await?;
            meet(grant.identity.user.as_str());
            Ok(grant)
        })
    }

    fn authenticate_token<'a>(&'a self, token: &'a Token) -> BoxFuture<'a, Result<Grant, AuthError>> {
        meet(token.expose());
        Box::pin(async { Err(AuthError::Refused) })
    }
}

struct Stage {
    server: TestServer,
    metrics: Metrics,
    witness: Client<TcpStream>,
    /// Connections that met a bug.
    victims: u64,
    /// Requests that did.
    requests: u64,
}

impl Stage {
    async fn new() -> Self {
        let metrics = Metrics::install().unwrap();
        let shown = metrics.clone();
        let server = TestServer::builder(Buggy).await.authenticator(Buggy).metrics(shown);
        let server = TestServer::serve(server.build()).await;
        let mut witness = server.connect("ann").await;
        witness.join("r").await;
        let said = witness.call(json!({ "type": "send", "room": "r", "text": "hello" })).await;
        assert_eq!(said["seq"], 1);
        Self { server, metrics, witness, victims: 0, requests: 0 }
    }

    fn figure(&self, name: &str) -> u64 {
        let figures = self.metrics.render();
        let line = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |figure| figure.parse().unwrap())
    }

    /// Waits until a figure has got so far: a connection is counted once its socket is gone, which its client does not
    /// wait for.
    async fn counts(&self, name: &str, expected: u64) {
        let there = async {
            while self.figure(name) < expected {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, there).await.expect("it is counted");
        assert_eq!(self.figure(name), expected, "{name}");
    }

    /// The witness is still in the room, somebody new may come and hears what is said, and the one who met the bug may
    /// come back.
    async fn goes_on(&mut self, user: &str) {
        for newcomer in ["new", user] {
            let mut newcomer = RawClient::connect(self.server.address, newcomer).await;
            newcomer.join("r").await;
            let ack = self.witness.call(json!({ "type": "send", "room": "r", "text": "fine" })).await;
            assert_eq!(ack["type"], "ack");
            let (event, _) = timeout(DEADLINE, newcomer.event()).await.expect("it is heard");
            assert_eq!(event["seq"], ack["seq"]);
        }
    }

    /// A command that meets a bug.
    async fn breaks(&mut self, user: &str, command: Value) {
        let mut victim = RawClient::connect(self.server.address, user).await;
        victim.join("r").await;
        victim.say(&command).await;
        let code = timeout(DEADLINE, victim.ended()).await.expect("it ends");
        assert_eq!(code, Some(1011), "{command}");
        drop(victim);
        self.victims += 1;
        self.goes_on(user).await;
        self.counts("chat_connections_closed_total{reason=\"internal\"}", self.victims).await;
    }

    /// A request that does.
    async fn fails(&mut self, method: &str, path: &str, body: Option<Value>) {
        let answer = timeout(DEADLINE, self.server.http(method, path, body)).await.expect("an answer");
        assert_eq!(answer.error(), (500, "internal".into()), "{method} {path}");
        assert!(!answer.body.contains("planted") && !answer.body.contains("boom"), "{}", answer.body);
        assert!(answer.header("x-content-type-options").is_some());
        self.requests += 1;
        self.goes_on("bob").await;
        assert_eq!(self.figure("chat_errors_total{code=\"internal\"}"), self.requests);
    }
}

#[tokio::test]
async fn a_bug_ends_what_met_it_and_nothing_else() {
    let mut stage = Stage::new().await;
    for (user, command) in [
        ("bob", json!({ "type": "join", "room": "boom" })),
        ("bob", json!({ "type": "send", "room": "r", "text": "boom" })),
        ("bob", json!({ "type": "edit", "room": "r", "target": 1, "text": "boom" })),
        ("bob", json!({ "type": "react", "room": "r", "target": 1, "emoji": "boom" })),
        ("delete-boom", json!({ "type": "delete", "room": "r", "target": 1 })),
        ("bob", json!({ "type": "auth", "token": "boom" })),
    ] {
        stage.breaks(user, command).await;
    }
    let group = |id: &str| json!({ "id": id, "name": "x", "kind": "group", "visibility": "public" });
    assert_eq!(stage.server.http("POST", "/api/v1/rooms?user=ann", Some(group("own"))).await.status, 201);
    for (method, path, body) in [
        ("POST", "/rooms?user=ann", Some(group("boom"))),
        ("POST", "/rooms/r/messages?user=ann", Some(json!({ "text": "boom" }))),
        ("PUT", "/rooms/own/members/boom?user=ann", Some(json!({ "role": "member" }))),
        ("DELETE", "/rooms/own/members/boom?user=ann", None),
        ("GET", "/me?user=boom", None),
        ("GET", "/rooms?user=boom", None),
    ] {
        stage.fails(method, &format!("/api/v1{path}"), body).await;
    }
    // Before the socket is one, it is a request.
    let upgrade = super::support::upgrade_request(stage.server.address, "boom");
    assert_eq!(stage.server.raw_http(&upgrade).await.error(), (500, "internal".into()));
    // Nobody is left but the witness, and nothing was stored by what met a bug.
    while stage.figure("chat_connections") != 1 {
        tokio::task::yield_now().await;
    }
    let page = stage.server.http("GET", "/api/v1/rooms/r/messages?user=ann", None).await;
    assert!(!page.body.contains("boom"), "{}", page.body);
    assert!(!stage.server.http("GET", "/api/v1/rooms?user=ann", None).await.body.contains("boom"));
}
