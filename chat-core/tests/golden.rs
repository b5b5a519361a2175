//! Every frame of the protocol, byte for byte: the folder `golden/` at the root of the repository against the types.
//!
//! The web app's tests read the same files, so both sides hold the same contract.

use std::{collections::BTreeMap, fs, path::PathBuf};

use chat_core::{
    Draft,
    ids::{Epoch, RoomId, Seq, Timestamp, UserId},
    limits::Limits,
    protocol::{
        Ack, Answer, Command, CommandError, Ephemeral, ErrorCode, Event, EventBody, EventKind, HistoryFrom,
        HistoryPage, HistoryQuery, Joined, Json, LeftReason, MemberChange, Message, PresenceState, Reactions,
        Reply, Request, RoomCommand, RoomPatch, Token, Welcome,
    },
    rights::{Identity, Role, Visibility},
};
use serde::Serialize;

/// Frames by the name of their file.
type Frames<T> = BTreeMap<&'static str, T>;

#[test]
fn what_the_server_says_is_what_the_files_say() {
    let files = files("server");
    let frames = server_frames();
    assert_same_names(&files, &frames);
    for (name, text) in &files {
        assert_eq!(*text, frames[name.as_str()], "golden/server/{name}.json");
    }
}

#[test]
fn what_a_client_says_is_read_as_meant() {
    let files = files("client");
    let requests = client_requests();
    assert_same_names(&files, &requests);
    for (name, text) in &files {
        assert_eq!(Request::decode(text).as_ref(), Ok(&requests[name.as_str()]), "golden/client/{name}.json");
    }
}

#[test]
fn a_golden_frame_is_one_line_without_an_end() {
    for (name, text) in files("server").into_iter().chain(files("client")) {
        assert!(!text.contains('\n'), "{name}.json");
    }
}

#[test]
fn the_public_page_has_an_example_of_every_frame() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let page = fs::read_to_string(page).expect("the page is part of the repository");
    for (name, text) in files("server").into_iter().chain(files("client")) {
        assert!(page.lines().any(|line| line.trim() == text), "{name}.json is not on the page: {text}");
    }
}

fn files(direction: &str) -> BTreeMap<String, String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../golden").join(direction);
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(&folder).expect("the folder is part of the repository") {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy();
        let name = name.strip_suffix(".json").expect("only .json files are there");
        files.insert(name.to_owned(), fs::read_to_string(&path).expect("a text file"));
    }
    files
}

fn assert_same_names<T>(files: &BTreeMap<String, String>, frames: &Frames<T>) {
    let files: Vec<&str> = files.keys().map(String::as_str).collect();
    let frames: Vec<&str> = frames.keys().copied().collect();
    assert_eq!(files, frames, "left: the files; right: the frames of this test");
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our own types have string keys")
}

fn room() -> RoomId {
    RoomId::new("lobby").expect("an id")
}

fn user(id: &str) -> UserId {
    UserId::new(id).expect("an id")
}

fn epoch() -> Epoch {
    Epoch::from_text("5f0c8c1f9d1e4b7aa3c2d4e5f6a7b8c9")
}

const AT: Timestamp = Timestamp(1_764_000_000_000);

fn server_frames() -> Frames<String> {
    let mut frames = Frames::new();
    frames.extend(greetings());
    frames.extend(replies());
    frames.extend(messages());
    frames.extend(changes());
    frames.extend(passing());
    frames
}

fn greetings() -> Frames<String> {
    let welcome = Welcome {
        session: "c1".into(),
        user: Identity::new("ann").expect("an id").with_name("Ann"),
        server_time: AT,
        limits: Limits::default(),
    };
    let joined = Joined {
        room: room(),
        role: Role::Member,
        epoch: epoch(),
        first_seq: Seq(1),
        last_seq: Seq(20),
        online: vec![user("ann"), user("bob")],
        online_count: 2,
        reset: false,
    };
    let reset = Joined { reset: true, ..joined.clone() };
    let left = |reason| Reply::Left { room: room(), reason };
    Frames::from([
        ("welcome", json(&welcome)),
        ("joined", answer(Some(1), &Reply::Joined(joined))),
        ("joined_reset", answer(Some(1), &Reply::Joined(reset))),
        ("left", answer(Some(2), &left(None))),
        ("left_removed", answer(None, &left(Some(LeftReason::Removed)))),
        ("left_banned", answer(None, &left(Some(LeftReason::Banned)))),
        ("left_closed", answer(None, &left(Some(LeftReason::Closed)))),
    ])
}

fn answer(id: Option<u64>, reply: &Reply) -> String {
    json(&Answer { id, reply })
}

fn replies() -> Frames<String> {
    let ack = Ack { room: room(), seq: Seq(21), at: AT, duplicate: false };
    let duplicate = Ack { duplicate: true, ..ack.clone() };
    let events =
        vec![event(20, EventBody::Message(text("hello"))), event(21, EventBody::Deleted { target: Seq(7) })];
    let page = HistoryPage { events, more: true };
    let not_found = CommandError::no_such_room();
    let limited = CommandError::new(ErrorCode::RateLimited, "too many messages").retry_after_ms(500);
    let nameless = CommandError::new(ErrorCode::BadJson, "a command is one JSON object, each field once");
    Frames::from([
        ("ack", answer(Some(3), &Reply::Ack(ack))),
        ("ack_duplicate", answer(Some(3), &Reply::Ack(duplicate))),
        ("ok", answer(Some(7), &Reply::Ok)),
        ("history", answer(Some(8), &Reply::History { room: room(), page })),
        ("pong", answer(Some(10), &Reply::Pong { server_time: AT })),
        ("error", answer(Some(3), &Reply::Error(not_found))),
        ("error_retry", answer(Some(3), &Reply::Error(limited))),
        ("error_without_id", answer(None, &Reply::Error(nameless))),
    ])
}

fn event(seq: u64, body: EventBody) -> Event {
    Event { room: room(), seq: Seq(seq), at: AT, from: user("ann"), body }
}

fn text(text: &str) -> Message {
    Message { text: Some(text.into()), ..Message::default() }
}

fn messages() -> Frames<String> {
    let meta = Json::parse(r#"{"colour":"blue"}"#).expect("JSON");
    let full = Message {
        key: Some("k1".into()),
        reply_to: Some(Seq(5)),
        meta: Some(meta),
        ..text("hi <b>there</b> \u{1f44b}")
    };
    let reactions = vec![
        Reactions { emoji: "\u{1f389}".into(), count: 1, me: false },
        Reactions { emoji: "\u{1f44d}".into(), count: 2, me: true },
    ];
    let today = Message { edited_at: Some(AT), reactions, ..text("hi!") };
    Frames::from([
        ("message", json(&event(20, EventBody::Message(text("hello"))))),
        ("message_full", json(&event(21, EventBody::Message(full)))),
        ("message_today", json(&event(21, EventBody::Message(today)))),
        ("message_deleted", json(&event(21, EventBody::Message(Message::default())))),
    ])
}

fn changes() -> Frames<String> {
    let target = Seq(21);
    let member = |change| json(&event(26, EventBody::Member { user: user("bob"), change }));
    let reaction =
        |remove| json(&event(24, EventBody::Reaction { target, emoji: "\u{1f44d}".into(), remove }));
    let patch = RoomPatch {
        name: Some("The lobby".into()),
        topic: Some("".into()),
        visibility: Some(Visibility::Private),
        state: Some(Json::parse(r#"{"step":2}"#).expect("JSON")),
    };
    Frames::from([
        ("edited", json(&event(22, EventBody::Edited { target, text: Some("hi!".into()) }))),
        ("edited_deleted", json(&event(22, EventBody::Edited { target, text: None }))),
        ("deleted", json(&event(23, EventBody::Deleted { target }))),
        ("reaction", reaction(false)),
        ("reaction_removed", reaction(true)),
        ("member_added", member(MemberChange::Added(Role::Member))),
        ("member_removed", member(MemberChange::Removed)),
        ("member_banned", member(MemberChange::Banned)),
        ("member_role", member(MemberChange::Role(Role::Manager))),
        ("room", json(&event(27, EventBody::Room(patch)))),
    ])
}

fn passing() -> Frames<String> {
    let presence = |state| json(&Ephemeral::Presence { room: room(), user: user("bob"), state });
    Frames::from([
        ("typing", json(&Ephemeral::Typing { room: room(), user: user("bob") })),
        ("presence_online", presence(PresenceState::Online)),
        ("presence_offline", presence(PresenceState::Offline)),
        ("presence_count", json(&Ephemeral::PresenceCount { room: room(), online_count: 250 })),
        ("read", json(&Ephemeral::Read { room: room(), user: user("bob"), seq: Seq(21) })),
    ])
}

fn client_requests() -> Frames<Request> {
    let in_room = |id, command| Request { id, command: Command::InRoom(room(), command) };
    let target = Seq(21);
    let history = |from, kinds| RoomCommand::History(HistoryQuery { from, limit: Some(50), kinds });
    let react = |remove| RoomCommand::React { target, emoji: "\u{1f44d}".into(), remove };
    let meta = Json::parse(r#"{"colour":"blue"}"#).expect("JSON");
    let full = Draft::text("hi <b>there</b> \u{1f44b}").key("k1").reply_to(Seq(5)).meta(meta);
    let resume = RoomCommand::Join { after: Some(Seq(17)), epoch: Some(epoch()) };
    let token = Token::new("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl");
    Frames::from([
        ("auth", Request { id: None, command: Command::Auth(token) }),
        ("join", in_room(Some(1), RoomCommand::Join { after: None, epoch: None })),
        ("join_resume", in_room(Some(1), resume)),
        ("leave", in_room(Some(2), RoomCommand::Leave)),
        ("send", in_room(Some(3), RoomCommand::Send(Draft::text("hi").key("k1")))),
        ("send_full", in_room(Some(3), RoomCommand::Send(full))),
        ("edit", in_room(Some(4), RoomCommand::Edit { target, text: "hi!".into() })),
        ("delete", in_room(Some(5), RoomCommand::Delete { target })),
        ("react", in_room(Some(6), react(false))),
        ("react_remove", in_room(Some(6), react(true))),
        ("read", in_room(Some(7), RoomCommand::Read { seq: Seq(21) })),
        ("typing", in_room(None, RoomCommand::Typing)),
        ("history", in_room(Some(8), history(HistoryFrom::Newest, Vec::new()))),
        ("history_before", in_room(Some(8), history(HistoryFrom::Before(Seq(21)), Vec::new()))),
        ("history_after", in_room(Some(8), history(HistoryFrom::After(Seq(3)), vec![EventKind::Message]))),
        ("ping", Request { id: Some(10), command: Command::Ping }),
    ])
}
