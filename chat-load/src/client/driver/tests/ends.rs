//! How connections end, and whether it comes back.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[tokio::test]
async fn it_comes_back_after_each_close_that_may_pass_and_stops_at_the_others() {
    for code in [1001, 1008, 1011, 4008, 4009, 4029] {
        let (mut scene, visit) = Scene::joined().await;
        visit.close(code).await;
        let wait = scene.lost().await;
        assert!(wait <= Duration::from_millis(2), "{code}: {wait:?}");
        assert!(code != 4029 || wait >= BOUNDS.flooding, "{wait:?}");
        drop(scene.comes(5).await);
    }
    for code in [1002, 1003, 1007, 1009, 4001, 4003] {
        let (mut scene, visit) = Scene::joined().await;
        visit.close(code).await;
        assert!(matches!(scene.stops().await, Stopped::Closed(same) if same == code));
        assert!(scene.driver.next().await.is_err(), "and it stays so");
    }
}

#[tokio::test]
async fn a_join_that_is_refused_for_the_moment_is_asked_for_again_and_any_other_is_not() {
    for code in ["unavailable", "overloaded", "rate_limited", "internal", "not_found", "forbidden"] {
        let mut scene = Scene::set(Entry::named("me")).await;
        let mut visit = scene.visit().await;
        let id = scene.during(visit.hears()).await["id"].clone();
        let error =
            json!({ "type": "error", "id": id, "code": code, "message": "why", "retry_after_ms": 20 });
        visit.say(&[error]).await;
        if ["not_found", "forbidden"].contains(&code) {
            let stopped = scene.stops().await.to_string();
            assert_eq!(stopped, format!("it is shut out: {code}: why"));
        } else {
            assert!(scene.lost().await >= Duration::from_millis(20));
            drop(scene.comes(5).await);
        }
    }
}

#[tokio::test]
async fn a_send_that_is_refused_for_the_moment_keeps_its_key_and_any_other_is_final() {
    let (mut scene, mut visit) = Scene::joined().await;
    scene.driver.send(0, draft("a")).unwrap();
    scene.driver.send(0, draft("b")).unwrap();
    for code in ["unavailable", "overloaded", "rate_limited"] {
        let a = scene.during(visit.hears()).await;
        assert_eq!(a["key"], "a");
        visit
            .say(&[
                json!({ "type": "error", "id": a["id"], "code": code, "message": "", "retry_after_ms": 1 }),
            ])
            .await;
        if code == "unavailable" {
            let b = scene.during(visit.hears()).await;
            visit
                .say(&[json!({ "type": "error", "id": b["id"], "code": "too_large", "message": "why" })])
                .await;
        }
    }
    let a = scene.during(visit.hears()).await;
    visit.say(&[ack(&a, 6)]).await;
    scene.until(|told| matches!(told, Told::Kept { .. })).await;
    let rejected =
        |told: &Told| matches!(told, Told::Rejected { key, code, .. } if key == "b" && code == "too_large");
    assert!(scene.told.iter().any(rejected), "{:?}", scene.told);
}

/// Whether nothing more was said than what was heard: a pong comes behind all that was.
async fn says_no_more(scene: &mut Scene, visit: &mut Visit) -> bool {
    visit.socket.send(Message::Ping(Vec::new().into())).await.unwrap();
    scene.during(async { visit.socket.next().await.unwrap().unwrap().is_pong() }).await
}

#[tokio::test]
async fn whoever_has_much_to_say_says_some_at_a_time_and_one_by_one_once_it_was_too_fast() {
    const WAIT: Duration = Duration::from_millis(5);
    let (mut scene, mut visit) = Scene::joined().await;
    for n in 0..100 {
        scene.driver.send(0, draft(&n.to_string())).unwrap();
    }
    let mut ids = Vec::new();
    for _ in 0..64 {
        ids.push(scene.during(visit.hears()).await["id"].clone());
    }
    assert!(says_no_more(&mut scene, &mut visit).await);
    let refusals = ids.into_iter().map(
        |id| json!({ "type": "error", "id": id, "code": "rate_limited", "message": "", "retry_after_ms": 5 }),
    );
    let refused = Instant::now();
    visit.say(&refusals.collect::<Vec<_>>()).await;
    for said in 1..=100 {
        let send = scene.during(visit.hears()).await;
        assert!(refused.elapsed() >= WAIT * said, "{said} after {:?}", refused.elapsed());
        visit.say(&[ack(&send, 5 + u64::from(said))]).await;
    }
    scene.until(|told| matches!(told, Told::Kept { seq: 105, .. })).await;
    assert_eq!((scene.kept().len(), scene.driver.waiting(0)), (100, 0));
    scene.driver.send(0, draft("at once")).unwrap();
    assert_eq!(scene.during(visit.hears()).await["key"], "at once");
}

/// Answers the next handshake with this, and no more.
async fn refuse(scene: &mut Scene, status: &str) {
    let listener = scene.listener.clone();
    let refusing = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut asked).await.unwrap();
        }
        let answer = format!("HTTP/1.1 {status}\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    scene.during(refusing).await;
}

#[tokio::test]
async fn a_handshake_that_is_refused_for_the_moment_is_tried_again_and_any_other_is_not() {
    let mut scene = Scene::set(Entry::named("me")).await;
    for status in ["429 Too Many Requests", "502 Bad Gateway", "503 Service Unavailable"] {
        refuse(&mut scene, status).await;
        assert!(scene.lost().await >= Duration::from_hours(1), "{status}");
        // Whoever knows better need not wait.
        scene.driver.hurry();
    }
    for status in ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found"] {
        let mut scene = Scene::set(Entry::named("me")).await;
        refuse(&mut scene, status).await;
        assert!(matches!(scene.stops().await, Stopped::Refused(_)), "{status}");
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_knocked_at_again() {
    let mut scene = Scene::set(Entry::named("me")).await;
    let address = scene.listener.local_addr().unwrap();
    scene.listener = Rc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
    for _ in 0..5 {
        scene.lost().await;
        scene.told.clear();
    }
    scene.listener = Rc::new(TcpListener::bind(address).await.unwrap());
    drop(scene.comes(5).await);
}

#[tokio::test(start_paused = true)]
async fn a_silence_is_asked_about_and_one_that_stays_ends_the_connection() {
    let (mut scene, mut visit) = Scene::joined().await;
    for _ in 0..3 {
        let asked = Instant::now();
        // Whoever reads from this socket answers pings.
        let ping = scene.during(async { visit.socket.next().await.unwrap().unwrap() }).await;
        assert!(ping.is_ping() && asked.elapsed() >= QUIET_MAX, "{ping:?}");
        visit.socket.flush().await.unwrap();
    }
    let asked = Instant::now();
    scene.lost().await;
    assert!(asked.elapsed() >= QUIET_MAX + PONG_MAX, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_goodbye_that_nobody_takes_is_not_waited_for_without_end() {
    let (mut scene, visit) = Scene::joined().await;
    // More than a socket holds of what its other side does not read.
    let text = "x".repeat(32 << 10);
    for n in 0..1000 {
        scene.driver.send(0, Draft { text: text.clone(), ..draft(&n.to_string()) }).unwrap();
    }
    tokio::time::pause();
    timeout(GOODBYE_MAX * 2, scene.driver.end()).await.expect("it has a bound");
    drop(visit);
}

/// Gives these tokens, one after the other.
fn tokens(answers: impl IntoIterator<Item = Result<&'static str, NoToken>>) -> Entry {
    let mut answers: VecDeque<_> = answers.into_iter().collect();
    Entry::Tokens(Box::new(move || {
        let answer = answers.pop_front().expect("it asks no more often than it must");
        async move { answer.map(str::to_owned) }
    }))
}

/// The next connection, which shows this token before anything else.
async fn shows(scene: &mut Scene, token: &str) -> Visit {
    let listener = scene.listener.clone();
    scene
        .during(async {
            let mut visit = Visit::accept(&listener).await;
            assert_eq!(visit.uri, "/ws");
            assert_eq!(visit.hears().await, json!({ "type": "auth", "token": token }));
            visit
        })
        .await
}

#[tokio::test]
async fn each_connection_shows_its_token_first_and_a_new_one_where_the_last_may_not_hold() {
    let unanswered = || Err(NoToken::Unanswered("it restarts".into()));
    let entry = tokens([Ok("t1"), Ok("t2"), unanswered(), Ok("t3"), Err(NoToken::SignedOut)]);
    let mut scene = Scene::set(entry).await;
    drop(shows(&mut scene, "t1").await); // without a welcome
    let mut visit = shows(&mut scene, "t2").await;
    visit.welcome("me").await;
    scene.during(visit.hears()).await;
    drop(visit);
    let mut visit = shows(&mut scene, "t2").await; // it had held
    visit.welcome("me").await;
    scene.during(visit.hears()).await;
    visit.close(4001).await;
    let mut visit = shows(&mut scene, "t3").await;
    assert!(
        scene.told.iter().any(|told| matches!(told, Told::Lost { why, .. } if why.contains("it restarts")))
    );
    visit.welcome("me").await;
    scene.during(visit.hears()).await;
    scene.driver.renew("t4");
    assert_eq!(scene.during(visit.hears()).await, json!({ "type": "auth", "token": "t4" }));
    drop(visit);
    let visit = shows(&mut scene, "t4").await;
    visit.close(4001).await;
    assert!(matches!(scene.stops().await, Stopped::SignedOut));
}

#[tokio::test]
async fn a_token_that_comes_while_a_connection_is_opened_is_the_one_to_show() {
    let mut scene = Scene::set(Entry::Token("t1".to_owned())).await;
    let listener = scene.listener.clone();
    let opening = async {
        let (stream, _) = listener.accept().await.unwrap();
        stream.readable().await.unwrap();
        stream
    };
    let stream = scene.during(opening).await;
    scene.driver.renew("t2");
    let mut visit = scene.during(Visit::open(stream)).await;
    assert_eq!(scene.during(visit.hears()).await["token"], "t2");
}

#[tokio::test]
async fn a_token_that_was_renewed_is_not_given_up_for_the_first_one() {
    let mut scene = Scene::set(Entry::Token("t1".to_owned())).await;
    let mut visit = shows(&mut scene, "t1").await;
    visit.welcome("me").await;
    scene.during(visit.hears()).await;
    scene.driver.renew("t2");
    assert_eq!(scene.during(visit.hears()).await["token"], "t2");
    drop(visit);
    drop(shows(&mut scene, "t2").await); // without a welcome
    let visit = shows(&mut scene, "t2").await;
    visit.close(4001).await;
    assert!(matches!(scene.stops().await, Stopped::Closed(4001)));
}

#[tokio::test]
async fn one_that_is_taken_for_somebody_else_stops() {
    let (mut scene, visit) = Scene::joined().await;
    drop(visit);
    let listener = scene.listener.clone();
    let _visit = scene
        .during(async {
            let mut visit = Visit::accept(&listener).await;
            visit.welcome("you").await;
            visit
        })
        .await;
    assert!(matches!(scene.stops().await, Stopped::ShutOut(_)));
}
