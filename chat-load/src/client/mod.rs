//! A client of the chat protocols that costs next to nothing, and verifies all that it sees.
//!
//! [`Client`] is one connection after another of one user: what to say, what was heard, and what is wrong with it. It is
//! a plain value without a socket: whoever has the socket hands it what was read, writes its [`output`](Client::output),
//! and tells it when a connection is lost. It comes back as `docs/reconnect.md` says, with two differences: a number
//! that is missing is reported and the connection goes on, as the point is to find such things; and what is said goes out
//! at once, whatever waits for its answer or was refused before. One that [heals](Client::healing) does as the page says.
//!
//! [`Driver`] is such a client with its sockets: it connects, shows its token, joins, gives what happens, and comes back
//! by itself. Whoever wants a client and no load tool wants this one.
//!
//! [`connect`](http::connect) opens a socket, [`Frames`] cuts what it brings into frames, [`Loss`] says whether to come
//! back after it was lost, and [`Pauses`] when.

mod driver;
mod fault;
pub mod frames;
pub mod http;
mod link;
mod loss;
mod outbox;
mod pace;
mod pauses;
mod place;
mod rooms;
mod say;
mod scan;
mod target;
#[cfg(test)]
mod tests;
mod words;

use std::{cmp::Ordering, time::Duration};

use serde_json::value::RawValue;

pub(crate) use self::link::Link;
pub(crate) use self::scan::{number_at, text as text_of};
pub use self::{
    driver::{Body, Driver, Entry, Event, NoToken, Stopped, Tokens, Told},
    fault::{End, Fault, Kind, Settled, Watch},
    frames::Frames,
    loss::Loss,
    outbox::WAITING_MAX,
    pauses::{Bounds, Pauses, STEADY_AFTER},
    place::{MISSING_MAX, Place, Step},
    rooms::Room,
    scan::{Seen, Subprotocol, Unreadable, objects, see},
    words::{Draft, Position},
};
use self::{
    outbox::Reply,
    pace::Pace,
    rooms::Seat,
    words::{Answer, own_key, put_join},
};

/// Whether the server has said who it takes the client for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Away,
    Opened,
    Welcome,
}

/// What a client does about a stream that is not as it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stance {
    /// It takes everything, and says what is wrong.
    Verifies,
    /// It takes the next number only, passes over older ones, and gives the connection up for one beyond.
    Heals,
}

/// One user's client of some rooms.
#[derive(Debug)]
pub struct Client {
    subprotocol: Subprotocol,
    stance: Stance,
    /// With what its keys begin.
    key_head: String,
    /// Whom the server took it for.
    me: Option<String>,
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
    /// Of one that heals.
    pace: Pace,
}

impl Client {
    /// A client of these rooms. Its own keys begin with `key_head`, which must be another one for each client that is
    /// ever of the same user.
    pub fn new(subprotocol: Subprotocol, key_head: &str, rooms: impl IntoIterator<Item = String>) -> Self {
        Self {
            subprotocol,
            stance: Stance::Verifies,
            me: None,
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
            pace: Pace::default(),
        }
    }

    /// The same, but it heals what it finds wrong instead of going on: it gives events up to a hole, and then asks for
    /// another connection.
    #[must_use]
    pub const fn healing(mut self) -> Self {
        self.stance = Stance::Heals;
        self
    }

    /// Has a room that was not joined yet go on where an earlier client was.
    pub fn resume(&mut self, room: usize, position: Position) {
        let room = &mut self.rooms[room];
        room.place.begin_anew(position.after);
        room.epoch = Some(position.epoch);
    }

    /// The rooms, in the order in which they were given.
    pub fn rooms(&self) -> &[Room] {
        &self.rooms
    }

    /// What is to be written to the socket. Whoever has written it takes it out.
    pub const fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Whether the server has said on this connection whom it takes the client for.
    pub fn is_welcome(&self) -> bool {
        self.stage == Stage::Welcome
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

    /// Takes a frame of text.
    #[inline]
    pub fn hear(&mut self, text: &[u8], watch: &mut impl Watch) {
        if self.stance == Stance::Heals {
            return self.hear_parsed(text, watch);
        }
        let subprotocol = self.subprotocol;
        if objects(text, subprotocol, |object| self.hear_object(object, watch)).is_err() {
            watch.fault(Fault::unreadable(text));
        }
    }

    /// The same where others may say what they like: what stands in a message's `meta` can look like the seam of a batch.
    fn hear_parsed(&mut self, text: &[u8], watch: &mut impl Watch) {
        let objects: Result<Vec<&RawValue>, _> = match self.subprotocol {
            Subprotocol::Plain => serde_json::from_slice(text).map(|object| vec![object]),
            Subprotocol::Batch => serde_json::from_slice(text),
        };
        match objects.as_deref() {
            Ok([]) | Err(_) => watch.fault(Fault::unreadable(text)),
            Ok(objects) => objects.iter().for_each(|object| self.hear_object(object.get().as_bytes(), watch)),
        }
        self.send_waiting();
    }

    #[inline]
    fn hear_object(&mut self, object: &[u8], watch: &mut impl Watch) {
        if self.stance == Stance::Heals && self.end.is_some() {
            return;
        }
        match see(object) {
            Ok(Seen::Event { room, seq }) => match self.find_room(room) {
                Some(room) => self.event(room, seq, object, watch),
                None => watch.fault(Fault::stranger(room)),
            },
            Ok(Seen::Ack { id, room, seq, is_duplicate }) => match self.find_room(room) {
                Some(at) if is_duplicate => self.reply(at, id, Some(seq), watch),
                Some(at) => match self.order(at, seq) {
                    Ordering::Less => self.reply(at, id, Some(seq), watch),
                    Ordering::Equal => {
                        self.step(at, seq, watch);
                        self.reply(at, id, Some(seq), watch);
                    }
                    // Whether it is kept, the replay tells.
                    Ordering::Greater => {}
                },
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

    /// How a number stands to the next one of a room. To a client that verifies each is the next.
    #[inline]
    fn order(&mut self, at: usize, seq: u64) -> Ordering {
        if self.stance == Stance::Verifies {
            return Ordering::Equal;
        }
        let room = &self.rooms[at];
        let order = seq.cmp(&room.position().saturating_add(1));
        if order == Ordering::Greater {
            self.end = Some(End::Astray(format!("{}: {seq} came after {}", room.name, room.position())));
        }
        order
    }

    #[inline]
    fn event(&mut self, at: usize, seq: u64, object: &[u8], watch: &mut impl Watch) {
        if self.order(at, seq) != Ordering::Equal {
            return;
        }
        let room = &mut self.rooms[at];
        watch.delivered(at, object, room.seat == Seat::Live);
        if room.outbox.is_unsure()
            && let Some(me) = &self.me
            && let Some(key) = own_key(object, me)
            && let Some(sent) = room.outbox.settle(&key, seq)
        {
            watch.settled(at, Settled { key: &key, seq, sent_at: sent.at });
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
                watch.settled(at, Settled { key: &sent.draft.key, seq, sent_at: sent.at });
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
            "welcome" => self.welcome(answer.user.id),
            "joined" => self.joined(answer, watch),
            "left" => {
                watch.fault(Fault::left(&answer.room, &answer.reason));
                self.end = Some(End::Stop(answer.reason));
            }
            _ => self.refused(answer, watch),
        }
    }

    fn welcome(&mut self, user: String) {
        if let Some(me) = self.me.as_ref().filter(|me| **me != user) {
            self.end =
                Some(End::Stop(format!("the server takes it for {user}, and took it for {me} before")));
            return;
        }
        self.me = Some(user);
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
        if answer.reset && self.stance == Stance::Verifies {
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
            let Answer { code, message, .. } = answer;
            let stop = || End::Stop(format!("{code}: {message}"));
            self.end = Some(if helps { End::ComeBack { at_least: wait } } else { stop() });
            return;
        }
        let waits = |room: &Room| answer.id.is_some_and(|id| room.outbox.waits_for(id));
        match (self.rooms.iter().position(waits), answer.id) {
            (Some(at), Some(id)) if helps && answer.code != "internal" => {
                self.reply(at, id, None, watch);
                self.retry_after = Some(self.retry_after.map_or(wait, |other| other.max(wait)));
                if self.stance == Stance::Heals {
                    self.hold(&answer.code, wait);
                }
            }
            (Some(at), Some(id)) => {
                // It is settled: nobody has it, and it is not sent again.
                if let Reply::To { sent, .. } = self.rooms[at].outbox.reply(id) {
                    watch.rejected(at, &sent.draft.key, &answer.code, &answer.message);
                }
                watch.fault(Fault::refused(&answer.code, &answer.message));
            }
            _ => watch.fault(Fault::refused(&answer.code, &answer.message)),
        }
    }

    const fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }
}
