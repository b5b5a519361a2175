//! A client of the chat protocols that costs next to nothing, and verifies all that it sees.
//!
//! [`Client`] is one connection after another of one user: what to say, what was heard, and what is wrong with it. It is
//! a plain value without a socket: whoever has the socket hands it what was read, writes its [`output`](Client::output),
//! and tells it when a connection is lost. It comes back as `docs/reconnect.md` says, with two differences: a
//! number that is missing is reported and the connection goes on, as the point is to find such things and not to heal
//! them; and it does not look whether the network is dead, which the end of a run tells.
//!
//! [`connect`](http::connect) opens the socket, [`Frames`] cuts what it brings into frames, [`Pauses`] says how long to
//! wait before the next one.

mod fault;
pub mod frames;
pub mod http;
mod outbox;
mod pauses;
mod place;
mod rooms;
mod scan;
mod target;
#[cfg(test)]
mod tests;

use std::{io::Write as _, time::Duration};

use serde::Deserialize;

pub(crate) use self::scan::{number_at, text as text_of};
pub use self::{
    fault::{End, Fault, Kind, Settled, Watch},
    frames::Frames,
    outbox::WAITING_MAX,
    pauses::{Pauses, STEADY_AFTER},
    place::{MISSING_MAX, Place, Step},
    rooms::Room,
    scan::{Seen, Subprotocol, Unreadable, objects, see},
};
use self::{
    outbox::{Reply, Sent},
    rooms::Seat,
};

/// Whether the server has said who it takes the client for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Away,
    Opened,
    Welcome,
}

/// One user's client of some rooms.
#[derive(Debug)]
pub struct Client {
    subprotocol: Subprotocol,
    /// With what its keys begin.
    key_head: String,
    stage: Stage,
    rooms: Vec<Room>,
    /// The room of the last frame: most likely that of the next one, too.
    last_room: usize,
    next_id: u64,
    next_key: u64,
    output: Vec<u8>,
    /// The command that is being written.
    command: Vec<u8>,
    end: Option<End>,
    retry_after: Option<Duration>,
}

/// What is read as JSON: seldom frames.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    r#type: String,
    id: Option<u64>,
    room: String,
    epoch: String,
    last_seq: u64,
    reset: bool,
    reason: String,
    code: String,
    message: String,
    retry_after_ms: u64,
}

impl Client {
    /// A client of these rooms. Its keys begin with `key_head`, which must be of characters that JSON need not escape,
    /// and must be another one for each client that is ever of the same user.
    pub fn new(subprotocol: Subprotocol, key_head: &str, rooms: impl IntoIterator<Item = String>) -> Self {
        Self {
            subprotocol,
            key_head: format!("{key_head}."),
            stage: Stage::Away,
            rooms: rooms.into_iter().map(Room::new).collect(),
            last_room: 0,
            next_id: 1,
            next_key: 1,
            output: Vec::new(),
            command: Vec::new(),
            end: None,
            retry_after: None,
        }
    }

    /// The rooms, in the order in which they were given.
    pub fn rooms(&self) -> &[Room] {
        &self.rooms
    }

    /// What is to be written to the socket. Whoever has written it takes it out.
    pub const fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Whether the server has said welcome, and every room is joined and caught up with.
    pub fn is_live(&self) -> bool {
        self.stage == Stage::Welcome && self.rooms.iter().all(|room| room.seat == Seat::Live)
    }

    /// Why this connection should be given up, once.
    pub const fn take_end(&mut self) -> Option<End> {
        self.end.take()
    }

    /// The server has refused sends for now: after this wait, [`resend`](Self::resend) them. Once.
    pub const fn take_retry_after(&mut self) -> Option<Duration> {
        self.retry_after.take()
    }

    /// A new socket is open.
    pub fn opened(&mut self) {
        self.stage = Stage::Opened;
        self.output.clear();
        self.end = None;
    }

    /// The connection is gone, with whatever was on its way.
    pub fn lost(&mut self) {
        self.stage = Stage::Away;
        self.output.clear();
        for room in &mut self.rooms {
            room.seat = Seat::Out;
            room.outbox.lose();
        }
    }

    /// Sends a message to a room, now or as soon as that is possible. `at` comes back with its ack. Returns whether there
    /// was room for it: at most [`WAITING_MAX`] wait.
    pub fn send(&mut self, room: usize, at: Duration, text: String) -> bool {
        if self.rooms[room].outbox.is_full() {
            return false;
        }
        let key = self.next_key;
        self.next_key += 1;
        let sent = Sent { id: 0, key, at, text, is_unsure: false, seq: None };
        if self.rooms[room].seat == Seat::Live {
            self.put_send(room, sent);
        } else {
            self.rooms[room].outbox.hold(sent);
        }
        true
    }

    /// Sends what waits to be sent again.
    pub fn resend(&mut self) {
        for room in 0..self.rooms.len() {
            self.resend_in(room);
        }
    }

    /// Answers a ping.
    pub fn pong(&mut self, payload: &[u8]) {
        frames::put_pong(&mut self.output, payload);
    }

    /// Takes a frame of text.
    #[inline]
    pub fn hear(&mut self, text: &[u8], watch: &mut impl Watch) {
        let subprotocol = self.subprotocol;
        if objects(text, subprotocol, |object| self.hear_object(object, watch)).is_err() {
            watch.fault(Fault::unreadable(text));
        }
    }

    #[inline]
    fn hear_object(&mut self, object: &[u8], watch: &mut impl Watch) {
        match see(object) {
            Ok(Seen::Event { room, seq }) => match self.find_room(room) {
                Some(room) => self.event(room, seq, object, watch),
                None => watch.fault(Fault::stranger(room)),
            },
            Ok(Seen::Ack { id, room, seq, is_duplicate }) => match self.find_room(room) {
                Some(at) if is_duplicate => self.reply(at, id, Some(seq), watch),
                Some(at) => {
                    self.step(at, seq, watch);
                    self.reply(at, id, Some(seq), watch);
                }
                None => watch.fault(Fault::stranger(room)),
            },
            Ok(Seen::Told) => {}
            Ok(Seen::Reply) => self.answer(object, watch),
            Err(Unreadable) => watch.fault(Fault::unreadable(object)),
        }
    }

    #[inline]
    fn find_room(&mut self, name: &[u8]) -> Option<usize> {
        let is_it = |room: &Room| room.name.as_bytes() == name;
        if !self.rooms.get(self.last_room).is_some_and(is_it) {
            self.last_room = self.rooms.iter().position(is_it)?;
        }
        Some(self.last_room)
    }

    #[inline]
    fn event(&mut self, at: usize, seq: u64, object: &[u8], watch: &mut impl Watch) {
        let room = &mut self.rooms[at];
        watch.delivered(at, object, room.seat == Seat::Live);
        if room.outbox.is_unsure()
            && let Some(key) = own_key(object, &self.key_head)
            && let Some(sent) = room.outbox.settle(key, seq)
        {
            watch.settled(at, Settled { seq, sent_at: sent.at });
        }
        self.step(at, seq, watch);
    }

    #[inline]
    fn step(&mut self, at: usize, seq: u64, watch: &mut impl Watch) {
        let room = &mut self.rooms[at];
        let step = room.place.step(seq);
        if step != Step::Next {
            watch.fault(Fault::of_step(step, &room.name, seq));
        }
        if room.seat != Seat::Live {
            self.catch_up(at, watch);
        }
    }

    /// Whether a room that was rejoined is where it was when it was joined: then what waits is sent.
    fn catch_up(&mut self, at: usize, watch: &mut impl Watch) {
        let room = &mut self.rooms[at];
        match room.seat {
            Seat::Behind { last_seq } if room.place.position() >= last_seq => {
                room.seat = Seat::Live;
                self.resend_in(at);
            }
            Seat::Out => watch.fault(Fault::not_joined(&room.name)),
            _ => {}
        }
    }

    /// The reply to a send: its number, or none where it was refused.
    fn reply(&mut self, at: usize, id: u64, seq: Option<u64>, watch: &mut impl Watch) {
        let room = &mut self.rooms[at];
        let sent = match room.outbox.reply(id) {
            Reply::To { sent, skipped } => {
                if skipped > 0 {
                    watch.fault(Fault::acks_missing(&room.name, skipped));
                }
                sent
            }
            Reply::Late(sent) => {
                watch.fault(Fault::ack_late(&room.name, id));
                sent
            }
            Reply::Unknown => return watch.fault(Fault::ack_unknown(&room.name, id)),
        };
        match (seq, sent.seq) {
            (Some(seq), None) => {
                watch.settled(at, Settled { seq, sent_at: sent.at });
            }
            (Some(seq), Some(known)) if seq != known => {
                watch.fault(Fault::two_numbers(&room.name, seq, known));
            }
            (Some(_), Some(_)) => {}
            (None, _) => room.outbox.hold(sent),
        }
    }

    fn answer(&mut self, object: &[u8], watch: &mut impl Watch) {
        let Ok(answer) = serde_json::from_slice::<Answer>(object) else {
            return watch.fault(Fault::unreadable(object));
        };
        match answer.r#type.as_str() {
            "welcome" => self.welcome(),
            "joined" => self.joined(answer, watch),
            "left" => {
                watch.fault(Fault::left(&answer.room, &answer.reason));
                self.end = Some(End::Stop(answer.reason));
            }
            _ => self.refused(answer, watch),
        }
    }

    fn welcome(&mut self) {
        self.stage = Stage::Welcome;
        for at in 0..self.rooms.len() {
            let id = self.take_id();
            let room = &mut self.rooms[at];
            room.seat = Seat::Joining { id };
            self.command.clear();
            put_join(&mut self.command, id, room);
            frames::put_text(&mut self.output, &self.command);
        }
    }

    fn joined(&mut self, answer: Answer, watch: &mut impl Watch) {
        let Some(at) = self.find_room(answer.room.as_bytes()) else {
            return watch.fault(Fault::stranger(answer.room.as_bytes()));
        };
        let room = &mut self.rooms[at];
        if answer.reset {
            watch.fault(Fault::reset(&room.name));
        }
        if room.epoch.is_none() || answer.reset {
            room.place.begin_anew(answer.last_seq);
            watch.began(at, answer.last_seq);
        }
        room.epoch = Some(answer.epoch);
        room.seat = Seat::Behind { last_seq: answer.last_seq };
        self.catch_up(at, watch);
    }

    fn refused(&mut self, answer: Answer, watch: &mut impl Watch) {
        watch.refused(&answer.code);
        let wait = Duration::from_millis(answer.retry_after_ms);
        let helps = ["unavailable", "overloaded", "rate_limited", "internal"].contains(&answer.code.as_str());
        let is_join = |room: &Room| answer.id.is_some_and(|id| room.seat == Seat::Joining { id });
        if self.rooms.iter().any(is_join) {
            self.end = Some(if helps { End::ComeBack { at_least: wait } } else { End::Stop(answer.message) });
            return;
        }
        let waits = |room: &Room| answer.id.is_some_and(|id| room.outbox.waits_for(id));
        match (self.rooms.iter().position(waits), answer.id) {
            (Some(at), Some(id)) if helps && answer.code != "internal" => {
                self.reply(at, id, None, watch);
                self.retry_after = Some(self.retry_after.map_or(wait, |other| other.max(wait)));
            }
            (Some(at), Some(id)) => {
                // It is settled: nobody has it, and it is not sent again.
                self.rooms[at].outbox.reply(id);
                watch.fault(Fault::refused(&answer.code, &answer.message));
            }
            _ => watch.fault(Fault::refused(&answer.code, &answer.message)),
        }
    }

    fn resend_in(&mut self, room: usize) {
        while self.rooms[room].seat == Seat::Live
            && let Some(sent) = self.rooms[room].outbox.next_unsent()
        {
            self.put_send(room, sent);
        }
    }

    fn put_send(&mut self, at: usize, mut sent: Sent) {
        sent.id = self.take_id();
        let room = &mut self.rooms[at];
        self.command.clear();
        put_send(&mut self.command, &room.name, &self.key_head, &sent);
        frames::put_text(&mut self.output, &self.command);
        room.outbox.wait_for(sent);
    }

    const fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }
}

/// The number in the key of an event, where it is one of ours.
fn own_key(object: &[u8], key_head: &str) -> Option<u64> {
    let key = scan::text(object, b"\"key\":\"")?;
    number_at(key.strip_prefix(key_head.as_bytes())?)
}

/// What is written into memory is written.
const WRITTEN: &str = "a Vec takes everything";

fn put_send(command: &mut Vec<u8>, room: &str, key_head: &str, sent: &Sent) {
    let (id, key) = (sent.id, sent.key);
    write!(command, r#"{{"type":"send","id":{id},"room":"{room}","key":"{key_head}{key}","text":"#)
        .expect(WRITTEN);
    serde_json::to_writer(&mut *command, &sent.text).expect(WRITTEN);
    command.push(b'}');
}

fn put_join(command: &mut Vec<u8>, id: u64, room: &Room) {
    write!(command, r#"{{"type":"join","id":{id},"room":"{}""#, room.name).expect(WRITTEN);
    if let Some(epoch) = &room.epoch {
        let after = room.place.position();
        write!(command, r#","after":{after},"epoch":"#).expect(WRITTEN);
        serde_json::to_writer(&mut *command, epoch).expect(WRITTEN);
    }
    command.push(b'}');
}
