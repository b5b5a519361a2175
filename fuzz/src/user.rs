//! A user with a connection, who believes nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    task::{Context, Poll, Waker},
};

use chat_core::{
    Codec, Engine, ErrorCode, Identity, WireSession,
    protocol::{Command, Request, RoomCommand},
};
use serde_json::{Value, json};

use crate::frame::payloads;

/// Ids of the joins that resume: scripts may use the smaller ones.
const OWN_IDS: u64 = 1 << 52;

/// A command that waits for its reply.
struct Asked {
    /// How many were asked before it on this connection.
    index: usize,
    room: Option<String>,
    /// `None` where its reply cannot be told from another's, as their ids are the same; `Err` where it was unreadable.
    command: Option<Result<Command, ErrorCode>>,
}

/// Where a user stands in a room.
#[derive(Default)]
struct Place {
    epoch: String,
    /// `None` where it is not joined.
    position: Option<u64>,
    /// Where the position would have been lost: for the next connection.
    lost: Option<u64>,
    /// The last reply was to this one.
    answered: Option<usize>,
    /// Joined or left without a word, so that nobody knows where the stream begins.
    is_vague: bool,
    /// Events were dropped: a stream may begin anew.
    may_reset: bool,
    /// Own events up to here may have lost their place.
    reset_to: u64,
}

pub(crate) struct User {
    who: Identity,
    codec: Codec,
    session: WireSession,
    is_welcome: bool,
    is_held: bool,
    asked: BTreeMap<u64, VecDeque<Asked>>,
    count: usize,
    places: BTreeMap<String, Place>,
    /// What a key was first acked with.
    keys: BTreeMap<(String, String), u64>,
}

impl User {
    pub(crate) fn new(engine: &Engine, who: Identity, codec: Codec) -> Self {
        Self {
            session: engine.attach(who.clone(), codec),
            who,
            codec,
            is_welcome: false,
            is_held: false,
            asked: BTreeMap::new(),
            count: 0,
            places: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }

    pub(crate) fn wants_input(&self) -> bool {
        self.session.wants_input()
    }

    pub(crate) const fn hold(&mut self) {
        self.is_held = !self.is_held;
    }

    pub(crate) const fn release(&mut self) {
        self.is_held = false;
    }

    /// Loses the connection with all that was on its way, and resumes.
    pub(crate) fn reconnect(&mut self, engine: &Engine) {
        self.session = engine.attach(self.who.clone(), self.codec);
        self.is_welcome = false;
        self.asked.clear();
        self.count = 0;
        let mut joins = Vec::new();
        for (room, place) in &mut self.places {
            place.answered = None;
            let position = place.position.take();
            place.lost = position.or(place.lost);
            // A vague place is known again once nothing is joined.
            if !std::mem::take(&mut place.is_vague)
                && let Some(after) = position
            {
                joins.push((room.clone(), after, place.epoch.clone()));
            }
        }
        for (id, (room, after, epoch)) in (OWN_IDS..).zip(joins) {
            let join = json!({ "type": "join", "id": id, "room": room, "after": after, "epoch": epoch });
            self.say(&join.to_string());
        }
    }

    pub(crate) fn expect_resets(&mut self, room: &str) {
        self.places.entry(room.to_owned()).or_default().may_reset = true;
    }

    /// Sends a text frame, and writes down what must come of it.
    pub(crate) fn say(&mut self, frame: &str) {
        let (id, room, command) = match Request::decode(frame) {
            Ok(Request { id, command }) => {
                let room = match &command {
                    Command::InRoom(room, _) => Some(room.as_str().to_owned()),
                    _ => None,
                };
                (id, room, Ok(command))
            }
            Err(bad) => (bad.id, bad.room.map(|room| room.as_str().to_owned()), Err(bad.error.code)),
        };
        self.session.handle_text(frame);
        self.count += 1;
        let asked = Asked { index: self.count, room, command: Some(command) };
        match id {
            Some(id) if !self.asked.contains_key(&id) => drop(self.asked.insert(id, [asked].into())),
            // Two commands of one id, or one without: where they join or leave, nobody can tell when.
            id => self.blur(id, asked),
        }
    }

    fn blur(&mut self, id: Option<u64>, asked: Asked) {
        let same: &mut VecDeque<Asked> = match id {
            Some(id) => self.asked.entry(id).or_default(),
            None => &mut VecDeque::new(),
        };
        same.push_back(asked);
        for asked in same {
            let command = asked.command.take();
            if let Some(Ok(Command::InRoom(room, RoomCommand::Join { .. } | RoomCommand::Leave))) = command {
                self.places.entry(room.as_str().to_owned()).or_default().is_vague = true;
            }
        }
    }

    /// Takes what there is, unless it holds.
    pub(crate) fn listen(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        while !self.is_held
            && let Poll::Ready(bytes) = self.session.poll_bytes(&mut cx)
        {
            for payload in payloads(&bytes) {
                self.hear_payload(serde_json::from_slice(payload).expect("the server says JSON"));
            }
        }
    }

    fn hear_payload(&mut self, payload: Value) {
        match (self.codec, payload) {
            (Codec::Single, object) => self.hear(&object),
            (Codec::Batch, Value::Array(objects)) => {
                assert!(!objects.is_empty(), "a batch of nothing");
                for object in &objects {
                    self.hear(object);
                }
            }
            (Codec::Batch, other) => panic!("no batch: {other}"),
        }
    }

    fn hear(&mut self, said: &Value) {
        let kind = said["type"].as_str().expect("everything said has a type");
        assert_eq!(kind == "welcome", !self.is_welcome, "the welcome comes first, and once: {said}");
        self.is_welcome = true;
        let asked = said["id"].as_u64().and_then(|id| self.take_asked(id, said));
        match kind {
            "joined" => self.joined(asked.as_ref(), said),
            "left" => self.place(said).position = None,
            "ack" => self.acked(asked.as_ref(), said),
            "error" => check_error(said),
            "history" => check_history(said),
            "welcome" | "ok" | "pong" | "typing" | "presence" | "read" => {}
            _ => {
                assert!(said["from"].is_string() && said["at"].is_i64(), "no event: {said}");
                self.move_on(said);
            }
        }
    }

    /// The command that is answered, where there can be no doubt which.
    fn take_asked(&mut self, id: u64, said: &Value) -> Option<Asked> {
        let same = self.asked.get_mut(&id).unwrap_or_else(|| panic!("nobody asked for {said}"));
        let asked = same.pop_front().expect("an empty list is removed");
        if same.is_empty() {
            self.asked.remove(&id);
        }
        let command = asked.command.as_ref()?;
        let kind = said["type"].as_str();
        assert!(kind == Some(reply_to(command)) || kind == Some("error"), "{command:?} got {said}");
        if let Some(room) = &asked.room {
            let place = self.places.entry(room.clone()).or_default();
            assert!(place.answered < Some(asked.index), "out of order: {said}");
            place.answered = Some(asked.index);
        }
        Some(asked)
    }

    fn place(&mut self, said: &Value) -> &mut Place {
        self.places.entry(said["room"].as_str().expect("a room").to_owned()).or_default()
    }

    fn joined(&mut self, asked: Option<&Asked>, said: &Value) {
        let (first, last) = (number(said, "first_seq"), number(said, "last_seq"));
        assert!(first <= last + 1, "{said}");
        let place = self.place(said);
        said["epoch"].as_str().expect("an epoch").clone_into(&mut place.epoch);
        if place.is_vague {
            return;
        }
        let is_reset = said["reset"] == true;
        let join = match asked.and_then(|asked| asked.command.as_ref()) {
            Some(Ok(Command::InRoom(_, RoomCommand::Join { after, epoch }))) => Some((*after, epoch)),
            _ => None,
        };
        match (join, place.position) {
            (None, _) => {
                assert!(is_reset && place.may_reset, "nobody asked for {said}");
                place.reset_to = place.reset_to.max(last);
                place.position = Some(last);
            }
            (Some(_), Some(_)) => {} // it was joined already
            (Some((after, epoch)), None) => {
                let is_known = epoch.as_ref().is_none_or(|epoch| epoch.as_str() == place.epoch);
                let after = after.map(|after| after.0);
                let resumes = after.filter(|after| is_known && *after <= last && after + 1 >= first);
                assert_eq!(is_reset, after.is_some() && resumes.is_none(), "{said}");
                assert!(
                    place.may_reset || place.lost.is_none_or(|lost| lost <= last),
                    "less than was: {said}"
                );
                place.position = Some(resumes.unwrap_or(last));
            }
        }
    }

    fn acked(&mut self, asked: Option<&Asked>, said: &Value) {
        let is_duplicate = said["duplicate"] == true;
        if !is_duplicate {
            self.move_on(said);
        }
        if let Some(Ok(Command::InRoom(room, RoomCommand::Send(draft)))) =
            asked.and_then(|asked| asked.command.as_ref())
            && let Some(key) = &draft.key
        {
            let seq = number(said, "seq");
            let may_forget = self.places.get(room.as_str()).is_some_and(|place| place.may_reset);
            let before = self.keys.insert((room.as_str().to_owned(), key.to_string()), seq);
            // The keys of dropped messages are dropped too.
            let is_same = before.is_none_or(|before| before == seq && is_duplicate);
            assert!(is_same || may_forget, "{before:?}, and then {said}");
        }
    }

    /// An event, or an own ack in its place.
    fn move_on(&mut self, said: &Value) {
        let (is_event, seq) = (said["type"] != "ack", number(said, "seq"));
        let place = self.place(said);
        if place.is_vague {
            return;
        }
        match &mut place.position {
            // What was committed before the user left, or before the stream began anew, is acked all the same.
            Some(_) if !is_event && seq <= place.reset_to => {}
            Some(position) => {
                assert_eq!(seq, *position + 1, "a hole: {said}");
                *position = seq;
            }
            None => assert!(!is_event, "a stream that nobody asked for: {said}"),
        }
    }

    /// Whether every command has its reply.
    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.session.is_idle()
    }

    /// Whether the room's stream has come to its end, where it is heard.
    pub(crate) fn has_heard(&self, room: &str, last: u64) -> bool {
        let place = self.places.get(room).filter(|place| !place.is_vague);
        place.and_then(|place| place.position).is_none_or(|position| position == last)
    }

    /// What is not at rest: ids without reply, and positions.
    pub(crate) fn unrest(&self) -> (Vec<u64>, Vec<(&str, Option<u64>)>) {
        let positions = self.places.iter().map(|(room, place)| (room.as_str(), place.position));
        (self.asked.keys().copied().collect(), positions.collect())
    }
}

fn number(said: &Value, field: &str) -> u64 {
    said[field].as_u64().unwrap_or_else(|| panic!("no {field} in {said}"))
}

/// The type of the reply to a command, where it is no error.
fn reply_to(command: &Result<Command, ErrorCode>) -> &'static str {
    match command {
        Err(_) => "error",
        Ok(Command::InRoom(_, command)) => match command {
            RoomCommand::Join { .. } => "joined",
            RoomCommand::Leave => "left",
            RoomCommand::Read { .. } | RoomCommand::Typing => "ok",
            RoomCommand::History(_) => "history",
            _ => "ack",
        },
        Ok(_) => "pong",
    }
}

fn check_error(said: &Value) {
    let code = said["code"].as_str().expect("a code");
    assert!(ErrorCode::ALL.iter().any(|known| known.as_str() == code), "{said}");
    assert!(!["internal", "unavailable"].contains(&code), "memory always answers: {said}");
}

fn check_history(said: &Value) {
    let seqs: Vec<u64> =
        said["events"].as_array().expect("a page").iter().map(|event| number(event, "seq")).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "{said}");
}
