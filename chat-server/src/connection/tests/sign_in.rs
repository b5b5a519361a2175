//! Who comes in, for how long, and how often they may ask.

use std::time::{SystemTime, UNIX_EPOCH};

use chat_core::{ids::Timestamp, protocol::Token, store::BoxFuture};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::{
    AuthError, Authenticator, RateLimit,
    limits::{AUTH_CHECK_MAX, AUTH_WAIT_MAX, REFUSALS_BURST},
};

/// Tokens that say how they are to be taken.
#[derive(Debug)]
struct Told;

impl Authenticator for Told {
    fn authenticate<'a>(
        &'a self,
        _: &'a axum::http::request::Parts,
    ) -> BoxFuture<'a, Result<Grant, AuthError>> {
        Box::pin(async { Err(AuthError::Missing) })
    }

    fn authenticate_token<'a>(&'a self, token: &'a Token) -> BoxFuture<'a, Result<Grant, AuthError>> {
        Box::pin(async move {
            match token.expose() {
                "slow" => sleep(AUTH_CHECK_MAX / 2).await,
                "never" => std::future::pending().await,
                "bug" => panic!("planted"),
                "down" => return Err(AuthError::Unavailable("planted".into())),
                seconds => {
                    let seconds = seconds.parse().map_err(|_other| AuthError::Refused)?;
                    return Ok(ann_for(Duration::from_secs(seconds)));
                }
            }
            Ok(Identity::new("ann").unwrap().into())
        })
    }
}

fn ann_for(time: Duration) -> Grant {
    let ends = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time;
    Grant::from(Identity::new("ann").unwrap()).until(Timestamp(i64::try_from(ends.as_millis()).unwrap()))
}

type Socket = WebSocketStream<DuplexStream>;

async fn stranger() -> (Socket, JoinHandle<()>) {
    let harness = Harness::with(|builder| builder.authenticator(Told)).await;
    let (peer, task) = harness.connect_as(None, 1 << 20);
    (WebSocketStream::from_raw_socket(peer, Role::Client, None).await, task)
}

async fn say(socket: &mut Socket, frame: Value) {
    socket.send(Message::text(frame.to_string())).await.unwrap();
}

async fn auth(socket: &mut Socket, token: &str) {
    say(socket, json!({ "type": "auth", "id": 1, "token": token })).await;
}

async fn hear(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Shows a token that is good for so long, and reads on to the answer.
async fn come_in(socket: &mut Socket, seconds: u64) {
    auth(socket, &seconds.to_string()).await;
    assert_eq!(hear(socket).await["type"], "welcome");
    assert_eq!(hear(socket).await, json!({ "type": "ok", "id": 1 }));
}

/// Whole seconds from `since` until now, to the nearest: grants are told in the time of the wall.
fn seconds(since: Instant) -> u64 {
    (since.elapsed() + Duration::from_millis(500)).as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_stranger_who_says_nothing_is_shown_out() {
    let begun = Instant::now();
    let (mut socket, _task) = stranger().await;
    assert_eq!(closed(&mut socket).await, 4001);
    assert_eq!(begun.elapsed().as_secs(), AUTH_WAIT_MAX.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_stranger_who_only_pings_is_shown_out_all_the_same() {
    let begun = Instant::now();
    let (mut socket, _task) = stranger().await;
    let code = loop {
        tokio::select! {
            code = closed(&mut socket) => break code,
            () = sleep(Duration::from_secs(1)) => {}
        }
        // It may just have been closed.
        let _ = socket.send(Message::Ping("x".into())).await;
    };
    assert_eq!(code, 4001);
    assert_eq!(seconds(begun), AUTH_WAIT_MAX.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_when_its_grant_does() {
    let (mut socket, task) = stranger().await;
    let begun = Instant::now();
    come_in(&mut socket, 3).await;
    assert_eq!(closed(&mut socket).await, 4001);
    assert_eq!(seconds(begun), 3);
    drop(socket);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_grant_of_the_request_ends_too() {
    let harness = Harness::new().await;
    let begun = Instant::now();
    let (peer, _task) = harness.connect_as(Some(ann_for(Duration::from_secs(100))), 1 << 20);
    let mut socket = WebSocketStream::from_raw_socket(peer, Role::Client, None).await;
    assert_eq!(closed(&mut socket).await, 4001);
    assert_eq!(seconds(begun), 100);
}

#[tokio::test(start_paused = true)]
async fn a_new_token_prolongs_or_shortens_a_grant() {
    let (mut socket, _task) = stranger().await;
    let begun = Instant::now();
    come_in(&mut socket, 3).await;
    sleep(Duration::from_secs(2)).await;
    auth(&mut socket, "100").await;
    assert_eq!(hear(&mut socket).await["type"], "ok");
    sleep(Duration::from_secs(8)).await;
    // One that is not accepted changes nothing.
    auth(&mut socket, "x").await;
    assert_eq!(hear(&mut socket).await["code"], "unauthorized");
    auth(&mut socket, "down").await;
    let down = hear(&mut socket).await;
    assert_eq!((&down["code"], &down["retry_after_ms"]), (&json!("unavailable"), &json!(1000)));
    auth(&mut socket, "5").await;
    assert_eq!(hear(&mut socket).await["type"], "ok");
    assert_eq!(closed(&mut socket).await, 4001);
    assert_eq!(seconds(begun), 15);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_came_in_time_counts_though_it_is_looked_at_for_long() {
    let (mut socket, _task) = stranger().await;
    sleep(AUTH_WAIT_MAX * 99 / 100).await;
    auth(&mut socket, "slow").await;
    assert_eq!(hear(&mut socket).await["type"], "welcome");

    let (mut socket, task) = stranger().await;
    come_in(&mut socket, 2).await;
    sleep(Duration::from_secs(1)).await;
    auth(&mut socket, "slow").await;
    assert_eq!(hear(&mut socket).await["type"], "ok", "after the first grant has ended");
    sleep(Duration::from_secs(20)).await;
    assert!(!task.is_finished());

    let (mut socket, _task) = stranger().await;
    come_in(&mut socket, 2).await;
    sleep(Duration::from_secs(1)).await;
    auth(&mut socket, "never").await;
    assert_eq!(hear(&mut socket).await["code"], "unavailable");
    assert_eq!(closed(&mut socket).await, 4001, "the first grant has ended meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_token_counts_though_nothing_can_be_written() {
    let harness = Harness::with(|builder| builder.authenticator(Told)).await;
    let (mut peer, task) = harness.connect_as(Some(ann_for(Duration::from_secs(3))), 64);
    peer.write_all(&frame(0x81, r#"{"type":"auth","token":"100"}"#)).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    assert!(!task.is_finished());
    let mut socket = WebSocketStream::from_raw_socket(peer, Role::Client, None).await;
    assert_eq!(hear(&mut socket).await["type"], "welcome");
    auth(&mut socket, "x").await;
    assert_eq!(hear(&mut socket).await["code"], "unauthorized", "it is open");
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_token_waits_for_it() {
    let (mut socket, _task) = stranger().await;
    auth(&mut socket, "slow").await;
    say(&mut socket, json!({ "type": "join", "id": 2, "room": "r" })).await;
    let heard = [hear(&mut socket).await, hear(&mut socket).await, hear(&mut socket).await];
    assert_eq!(heard.map(|frame| frame["type"].clone()), ["welcome", "ok", "joined"]);
}

#[tokio::test(start_paused = true)]
async fn an_authenticator_that_fails_ends_a_stranger_s_connection_and_no_other() {
    for (token, code) in [("never", 1011), ("down", 1011), ("bug", 1011), ("x", 4001)] {
        let (mut socket, task) = stranger().await;
        auth(&mut socket, token).await;
        assert_eq!(closed(&mut socket).await, code, "{token}");
        drop(socket);
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_floods_on_is_shown_out() {
    let limit = RateLimit::new(1, 10).unwrap();
    let harness = Harness::with(|builder| builder.rate_limit(limit)).await;
    let (mut socket, _task) = harness.client("ann").await;
    say(&mut socket, json!({ "type": "join", "id": 0, "room": "r" })).await;
    for id in 1..1000 {
        let send = json!({ "type": "send", "id": id, "room": "r", "text": "x" });
        if socket.feed(Message::text(send.to_string())).await.is_err() {
            break;
        }
    }
    let _ = socket.flush().await;
    let (mut acks, mut refusals) = (0, 0);
    let code = loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => {
                acks += u32::from(text.contains(r#""type":"ack""#));
                refusals += u32::from(text.contains(r#""rate_limited""#) && text.contains("retry_after_ms"));
            }
            Message::Close(frame) => break u16::from(frame.unwrap().code),
            _ => {}
        }
    };
    assert_eq!(code, 4029);
    // The last ones of both are lost with the connection, and the bucket fills a little meanwhile.
    assert!(
        (1..20).contains(&acks) && (REFUSALS_BURST / 2..=REFUSALS_BURST).contains(&refusals),
        "{acks} {refusals}"
    );
}
