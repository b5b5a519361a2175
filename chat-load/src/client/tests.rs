//! The client by itself: what it says to what it hears.

use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

use super::*;

/// Everything that a client tells.
#[derive(Debug, Default)]
struct Notes {
    delivered: Vec<(u64, bool)>,
    settled: Vec<(String, u64, Duration)>,
    rejected: Vec<String>,
    faults: Vec<Fault>,
    refused: Vec<String>,
}

impl Watch for Notes {
    fn delivered(&mut self, _: usize, event: &[u8], is_live: bool) {
        let Ok(Seen::Event { seq, .. }) = see(event) else { unreachable!("it is an event") };
        self.delivered.push((seq, is_live));
    }

    fn settled(&mut self, _: usize, settled: Settled<'_>) {
        self.settled.push((settled.key.to_owned(), settled.seq, settled.sent_at));
    }

    fn rejected(&mut self, _: usize, key: &str, code: &str, message: &str) {
        self.rejected.push(format!("{key} {code}: {message}"));
    }

    fn began(&mut self, _: usize, _: u64) {}

    fn refused(&mut self, code: &str) {
        self.refused.push(code.to_owned());
    }

    fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }
}

struct Scene {
    client: Client,
    notes: Notes,
}

impl Scene {
    /// A client that has joined `r` at 5.
    fn joined() -> Self {
        let client = Client::new(Subprotocol::Plain, "k", ["r".to_owned()]);
        let mut scene = Self { client, notes: Notes::default() };
        scene.open();
        assert_eq!(scene.says(), [r#"{"type":"join","id":1,"room":"r"}"#]);
        scene.hear(&joined(1, 5));
        assert!(scene.client.is_live());
        scene
    }

    fn open(&mut self) {
        self.client.opened();
        self.hear(r#"{"type":"welcome","protocol":"chat.v1","session":"c1","user":{"id":"me"}}"#);
    }

    fn hear(&mut self, text: &str) {
        self.client.hear(text.as_bytes(), &mut self.notes);
    }

    fn send(&mut self, text: &str) {
        assert!(self.client.send(0, Duration::from_secs(1), text.to_owned()));
    }

    /// What it has said since it was last asked, as another implementation reads it.
    fn says(&mut self) -> Vec<String> {
        let bytes = std::mem::take(self.client.output());
        let mut peer = WebSocket::from_raw_socket(std::io::Cursor::new(bytes), Role::Server, None);
        std::iter::from_fn(|| Some(peer.read().ok()?.into_text().unwrap().to_string())).collect()
    }
}

fn joined(id: u64, last_seq: u64) -> String {
    format!(
        r#"{{"type":"joined","id":{id},"room":"r","role":"member","epoch":"e1","first_seq":1,"last_seq":{last_seq}}}"#
    )
}

fn message(seq: u64, from: &str, key: &str) -> String {
    format!(
        r#"{{"type":"message","room":"r","seq":{seq},"at":1,"from":"{from}","text":"\"hi\"","key":"{key}"}}"#
    )
}

fn send(id: u64, key: u64) -> String {
    format!(r#"{{"type":"send","id":{id},"room":"r","key":"k.{key}","text":"\"hi\""}}"#)
}

#[test]
fn an_ack_is_a_position_and_settles_what_was_sent() {
    let mut scene = Scene::joined();
    scene.send("\"hi\"");
    assert_eq!(scene.says(), [send(2, 1)]);
    scene.hear(&message(6, "ann", "x"));
    scene.hear(r#"{"type":"ack","id":2,"room":"r","seq":7,"at":1}"#);
    scene.hear(&message(8, "ann", "y"));
    assert_eq!(scene.notes.delivered, [(6, true), (8, true)]);
    assert_eq!(scene.notes.settled, [("k.1".to_owned(), 7, Duration::from_secs(1))]);
    assert_eq!(scene.notes.faults, []);
    assert_eq!((scene.client.rooms()[0].position(), scene.client.rooms()[0].waiting()), (8, 0));
}

#[test]
fn it_comes_back_where_it_was_and_sends_again_what_the_replay_does_not_settle() {
    let mut scene = Scene::joined();
    scene.send("\"hi\"");
    scene.send("\"hi\"");
    scene.says();
    scene.client.lost();
    scene.send("\"hi\"");
    assert_eq!(scene.says(), [""; 0], "there is nobody to say it to");
    scene.open();
    assert_eq!(scene.says(), [r#"{"type":"join","id":4,"room":"r","after":5,"epoch":"e1"}"#]);
    scene.hear(&joined(4, 7));
    scene.hear(&message(6, "me", "k.2"));
    assert_eq!(scene.says(), [""; 0], "the replay is not over");
    assert!(!scene.client.is_live());
    scene.hear(&message(7, "me", "k.1"));
    assert!(scene.client.is_live());
    let by_replay: Vec<u64> = scene.notes.settled.iter().map(|(_, seq, _)| *seq).collect();
    assert_eq!(by_replay, [6, 7]);
    assert_eq!(scene.says(), [send(5, 3)]);
    assert_eq!(scene.notes.delivered, [(6, false), (7, false)]);
    assert_eq!(scene.notes.faults, []);
}

#[test]
fn an_event_that_overtakes_its_duplicate_ack_settles_it_once() {
    let mut scene = Scene::joined();
    scene.send("\"hi\"");
    scene.client.lost();
    scene.open();
    scene.hear(&joined(3, 5));
    scene.says();
    // The first send was on its way still.
    scene.hear(&message(6, "me", "k.1"));
    scene.hear(r#"{"type":"ack","id":4,"room":"r","seq":6,"at":1,"duplicate":true}"#);
    assert_eq!(scene.notes.settled.len(), 1);
    assert_eq!(scene.notes.faults, []);
    assert_eq!((scene.client.rooms()[0].position(), scene.client.rooms()[0].waiting()), (6, 0));
}

#[test]
fn what_is_refused_for_the_moment_is_sent_again_and_anything_else_is_not() {
    let mut scene = Scene::joined();
    scene.send("\"hi\"");
    scene.send("\"hi\"");
    scene.says();
    scene.hear(r#"{"type":"error","id":2,"code":"rate_limited","message":"too many","retry_after_ms":500}"#);
    assert_eq!(scene.client.take_retry_after(), Some(Duration::from_millis(500)));
    scene.client.resend();
    assert_eq!(scene.says(), [send(4, 1)]);
    scene.hear(r#"{"type":"error","id":3,"code":"too_large","message":"too long"}"#);
    assert_eq!(scene.notes.refused, ["rate_limited", "too_large"]);
    assert_eq!(scene.notes.faults, [Fault::new(Kind::Refused, "too_large: too long")]);
    assert_eq!(scene.notes.rejected, ["k.2 too_large: too long"]);
    assert_eq!(scene.client.rooms()[0].waiting(), 1);
}

#[test]
fn no_more_wait_for_an_ack_than_the_server_takes() {
    let mut scene = Scene::joined();
    for _ in 0..WAITING_MAX {
        scene.send("\"hi\"");
    }
    assert!(!scene.client.send(0, Duration::ZERO, "one too many".to_owned()));
    scene.hear(r#"{"type":"ack","id":2,"room":"r","seq":6,"at":1}"#);
    assert!(scene.client.send(0, Duration::ZERO, "the next".to_owned()));
}

#[test]
fn a_join_that_fails_says_whether_coming_back_helps() {
    for (code, wanted) in [
        ("overloaded", End::ComeBack { at_least: Duration::from_millis(70) }),
        ("forbidden", End::Stop("forbidden: why".to_owned())),
    ] {
        let client = Client::new(Subprotocol::Plain, "k", ["r".to_owned()]);
        let mut scene = Scene { client, notes: Notes::default() };
        scene.open();
        scene.hear(&format!(
            r#"{{"type":"error","id":1,"code":"{code}","message":"why","retry_after_ms":70}}"#
        ));
        assert_eq!(scene.client.take_end(), Some(wanted));
    }
}

#[test]
fn a_position_that_means_nothing_any_more_is_a_fault_and_forgives_none() {
    let mut scene = Scene::joined();
    scene.hear(&message(7, "ann", "x"));
    scene.client.lost();
    scene.open();
    scene.hear(
        r#"{"type":"joined","id":2,"room":"r","role":"member","epoch":"e2","first_seq":1,"last_seq":3,"reset":true}"#,
    );
    let kinds: Vec<Kind> = scene.notes.faults.iter().map(|fault| fault.kind).collect();
    assert_eq!(kinds, [Kind::Lost, Kind::Protocol]);
    scene.hear(&message(4, "ann", "x"));
    assert_eq!((scene.client.rooms()[0].position(), scene.client.rooms()[0].lost()), (4, 1));
    assert_eq!(scene.notes.faults.len(), 2);
}

#[test]
fn each_room_is_a_stream_of_its_own() {
    let client = Client::new(Subprotocol::Batch, "k", ["a".to_owned(), "b".to_owned()]);
    let mut scene = Scene { client, notes: Notes::default() };
    scene.client.opened();
    scene.hear(r#"[{"type":"welcome","protocol":"chat.v1.batch"}]"#);
    assert_eq!(scene.says().len(), 2);
    let joined = |room: &str, last_seq: u64| {
        format!(r#"{{"type":"joined","id":1,"room":"{room}","epoch":"e","last_seq":{last_seq}}}"#)
    };
    scene.hear(&format!("[{},{}]", joined("b", 0), joined("a", 9)));
    let event =
        |room: &str, seq: u64| format!(r#"{{"type":"message","room":"{room}","seq":{seq},"from":"x"}}"#);
    scene.hear(&format!("[{},{},{}]", event("a", 10), event("b", 1), event("a", 11)));
    assert_eq!(scene.notes.faults, []);
    assert_eq!(scene.client.rooms().iter().map(Room::position).collect::<Vec<_>>(), [11, 1]);
}

#[test]
fn an_event_of_somebody_else_settles_nothing_whatever_its_key() {
    let mut scene = Scene::joined();
    scene.send("\"hi\"");
    scene.client.lost();
    scene.open();
    scene.hear(&joined(3, 6));
    scene.says();
    scene.hear(&message(6, "ann", "k.1"));
    assert_eq!(scene.notes.settled, []);
    assert_eq!(scene.says(), [send(4, 1)]);
}

#[test]
fn one_that_heals_takes_the_next_number_only_and_gives_up_at_a_hole() {
    let mut scene = Scene::joined();
    scene.client = scene.client.healing();
    scene.send("\"hi\"");
    scene.hear(&message(5, "ann", "x"));
    scene.hear(&message(6, "ann", "y"));
    scene.hear(&message(8, "ann", "z"));
    let end = scene.client.take_end();
    assert_eq!(end, Some(End::Astray("r: 8 came after 6".to_owned())));
    scene.client.lost();
    scene.open();
    let wanted = Position { epoch: "e1".to_owned(), after: 6 };
    assert_eq!(scene.client.rooms()[0].resumes_at(), Some(wanted));
    assert_eq!(scene.notes.delivered, [(6, true)]);
    assert_eq!(scene.notes.faults, []);
}

#[test]
fn one_that_heals_hears_nothing_more_from_a_connection_that_it_gives_up() {
    let mut scene = Scene::joined();
    scene.client = scene.client.healing();
    scene.send("\"hi\"");
    scene.hear(r#"{"type":"ack","id":2,"room":"r","seq":7,"at":1}"#);
    scene.hear(&message(6, "ann", "y"));
    assert_eq!((scene.notes.delivered.len(), scene.notes.settled.len()), (0, 0));
    assert!(matches!(scene.client.take_end(), Some(End::Astray(_))));
}

#[test]
fn one_that_is_taken_for_somebody_else_stops() {
    let mut scene = Scene::joined();
    scene.client.lost();
    scene.client.opened();
    scene.hear(r#"{"type":"welcome","protocol":"chat.v1","session":"c2","user":{"id":"you"}}"#);
    assert!(matches!(scene.client.take_end(), Some(End::Stop(_))));
}

#[test]
fn what_has_no_answer_though_later_ones_have_is_sent_again_by_one_that_heals() {
    let mut scene = Scene::joined();
    scene.client = scene.client.healing();
    scene.send("\"hi\"");
    scene.send("\"hi\"");
    scene.hear(r#"{"type":"ack","id":3,"room":"r","seq":6,"at":1}"#);
    assert_eq!(scene.notes.faults[0].kind, Kind::AckMissing);
    scene.client.lost();
    scene.open();
    scene.says();
    scene.hear(&joined(4, 6));
    assert_eq!(scene.says(), [send(5, 1)]);
}
