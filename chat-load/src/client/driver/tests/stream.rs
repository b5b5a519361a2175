//! What is told of a stream, and what is sent into it.

use super::*;

#[tokio::test]
async fn it_comes_back_with_its_position_and_nothing_is_told_twice() {
    let (mut scene, mut visit) = Scene::joined().await;
    assert_eq!(visit.uri, "/ws?user=me&role=member");
    assert!(matches!(scene.told[..], [Told::Began { room: 0, last_seq: 5 }, Told::Live]), "{:?}", scene.told);
    visit.say(&[event(6, "ann", "x"), event(7, "ann", "y")]).await;
    scene.until(|told| matches!(told, Told::Event { event, .. } if event.seq == 6)).await;
    assert_eq!(scene.driver.position(0).unwrap().after, 6, "7 has come, and was not told");
    drop(visit);
    let mut visit = scene.visit().await;
    let join = scene.during(visit.hears()).await;
    assert_eq!((&join["after"], &join["epoch"]), (&json!(7), &json!("e")));
    visit.say(&[joined(&join, 8), event(7, "ann", "y"), event(8, "ann", "z"), event(9, "ann", "!")]).await;
    scene.until(|told| matches!(told, Told::Event { event, .. } if event.seq == 9)).await;
    assert_eq!(scene.seqs(), [6, 7, 8, 9]);
    let live: Vec<bool> = scene.told.iter().filter_map(is_live).collect();
    assert_eq!(live, [true, true, false, true]);
}

fn is_live(told: &Told) -> Option<bool> {
    let &Told::Event { is_live, .. } = told else { return None };
    Some(is_live)
}

#[tokio::test]
async fn a_hole_ends_the_connection_and_the_position_stays_before_it() {
    let (mut scene, mut visit) = Scene::joined().await;
    visit.say(&[event(6, "ann", "x"), event(8, "ann", "z")]).await;
    scene.lost().await;
    assert_eq!(scene.seqs(), [6]);
    let mut visit = scene.visit().await;
    assert_eq!(scene.during(visit.hears()).await["after"], 6);
}

#[tokio::test]
async fn what_no_server_says_ends_the_connection_too() {
    for rubbish in ["no json", "[]", r#"[{"type":"ack","id":99,"room":"r","seq":6,"at":1}]"#] {
        let (mut scene, mut visit) = Scene::joined().await;
        visit.socket.send(Message::text(rubbish)).await.unwrap();
        scene.lost().await;
        drop(scene.comes(6).await);
    }
}

#[tokio::test]
async fn an_own_ack_is_a_position_and_that_of_a_duplicate_is_none() {
    let (mut scene, mut visit) = Scene::joined().await;
    scene.driver.send(0, draft("a")).unwrap();
    scene.driver.send(0, draft("b")).unwrap();
    let (a, b) = scene.during(async { (visit.hears().await, visit.hears().await) }).await;
    assert_eq!((&a["key"], &b["key"]), (&json!("a"), &json!("b")));
    let mut duplicate = ack(&b, 3);
    duplicate["duplicate"] = json!(true);
    visit.say(&[ack(&a, 6), duplicate, event(7, "ann", "x")]).await;
    scene.until(|told| matches!(told, Told::Event { .. })).await;
    assert_eq!(scene.kept(), [("a", 6), ("b", 3)]);
    assert_eq!((scene.driver.position(0).unwrap().after, scene.driver.waiting(0)), (7, 0));
}

#[tokio::test]
async fn what_waits_is_sent_after_the_replay_unless_that_settles_it() {
    let (mut scene, mut visit) = Scene::joined().await;
    for key in ["a", "b", "c"] {
        scene.driver.send(0, draft(key)).unwrap();
    }
    scene.during(visit.hears()).await;
    drop(visit);
    let mut visit = scene.comes(7).await;
    visit.say(&[event(6, "ann", "b")]).await;
    scene.until(|told| matches!(told, Told::Event { .. })).await;
    visit.say(&[event(7, "me", "a")]).await;
    // A key of somebody else's is none of ours, and all else keeps its key.
    let (b, c) = scene.during(async { (visit.hears().await, visit.hears().await) }).await;
    assert_eq!((&b["key"], &c["key"]), (&json!("b"), &json!("c")));
    assert_eq!(scene.kept(), [("a", 7)]);
    visit.say(&[ack(&b, 8), ack(&c, 9)]).await;
    scene.until(|told| matches!(told, Told::Kept { key, .. } if key == "c")).await;
    assert_eq!(scene.driver.waiting(0), 0);
}

#[tokio::test]
async fn a_position_that_means_nothing_any_more_is_told_and_what_waits_is_sent() {
    let (mut scene, visit) = Scene::joined().await;
    drop(visit);
    scene.lost().await;
    scene.driver.send(0, draft("a")).unwrap();
    let mut visit = scene.visit().await;
    let join = scene.during(visit.hears()).await;
    let mut reset = joined(&join, 2);
    (reset["reset"], reset["epoch"]) = (json!(true), json!("e2"));
    visit.say(&[reset]).await;
    let send = scene.during(visit.hears()).await;
    assert_eq!(send["key"], "a");
    visit.say(&[ack(&send, 3), event(4, "ann", "x")]).await;
    scene.until(|told| matches!(told, Told::Event { .. })).await;
    let lost = scene.told.iter().filter(|told| matches!(told, Told::Lost { .. }));
    assert_eq!(lost.count(), 0, "it is none that must be given up");
    assert!(scene.told.iter().any(|told| matches!(told, Told::Began { last_seq: 2, .. })));
    assert_eq!(scene.driver.position(0), Some(Position { epoch: "e2".to_owned(), after: 4 }));
}

#[tokio::test]
async fn a_meta_that_looks_like_the_seam_of_a_batch_is_none() {
    let (mut scene, mut visit) = Scene::joined().await;
    let mut first = event(6, "ann", "x");
    first["meta"] = json!({ "a": [1, { "type": "message" }] });
    // Byte for byte as its sender wrote it.
    let text = format!("[{},{}]", typed(&first), typed(&event(7, "ann", "y")));
    let text = text.replace(r#"{"type":"message"}]"#, r#"{"type":"message","room":"r","seq":9}]"#);
    visit.socket.send(Message::text(text)).await.unwrap();
    scene.until(|told| matches!(told, Told::Event { event, .. } if event.seq == 7)).await;
    assert_eq!(scene.seqs(), [6, 7]);
}

#[tokio::test]
async fn a_message_is_told_however_deep_its_meta_is() {
    // So deep the server lets it be: it is a value of its own there.
    let depth = 127;
    let (mut scene, mut visit) = Scene::joined().await;
    let meta = r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth);
    let mut deep = typed(&event(6, "ann", "x"));
    deep.insert_str(deep.len() - 1, &format!(r#","meta":{meta}"#));
    visit.socket.send(Message::text(format!("[{deep},{}]", typed(&event(7, "ann", "y"))))).await.unwrap();
    scene.until(|told| matches!(told, Told::Event { event, .. } if event.seq == 7)).await;
    assert_eq!(scene.seqs(), [6, 7]);
}

#[tokio::test]
async fn an_ack_that_has_lost_its_place_to_retention_settles_what_was_sent() {
    let (mut scene, mut visit) = Scene::joined().await;
    scene.driver.send(0, draft("a")).unwrap();
    let send = scene.during(visit.hears()).await;
    let mut unasked = json!({ "type": "joined", "room": "r", "epoch": "e", "last_seq": 90 });
    unasked["reset"] = json!(true);
    visit.say(&[unasked, ack(&send, 50), event(91, "ann", "x")]).await;
    scene.until(|told| matches!(told, Told::Event { .. })).await;
    assert_eq!((scene.seqs(), scene.kept()), (vec![91], vec![("a", 50)]));
}

#[tokio::test]
async fn another_driver_goes_on_where_the_first_one_was() {
    let mut scene = Scene::set(Entry::named("me")).await;
    let position = Position { epoch: "e".to_owned(), after: 3 };
    let target = scene.listener.local_addr().unwrap().into();
    scene.driver = Driver::new(target, Entry::named("me"), ["r".to_owned()]).resume(0, position);
    scene.driver.send(0, draft("a")).unwrap();
    let mut visit = scene.comes(5).await;
    visit.say(&[event(4, "ann", "x"), event(5, "me", "a")]).await;
    scene.until(|told| matches!(told, Told::Live)).await;
    assert_eq!((scene.seqs(), scene.kept()), (vec![4, 5], vec![("a", 5)]));
    assert!(!scene.told.iter().any(|told| matches!(told, Told::Began { .. })));
}
