//! Who is in which room, and who says how much.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{client::Subprotocol, messages::Messages, run::MARK_BYTES};

/// What the users do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// All in one room, and all of them talk.
    Room,
    /// Two in each room, an operator and a manager, and both talk.
    Pairs,
    /// One talks as fast as acks come, all others listen.
    Fanout,
    /// Nobody says anything.
    Idle,
    /// Small rooms where all talk; all connections drop at once, and come back.
    Churn,
    /// Some of all, each user in more than one room.
    Mixed,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Room => "room",
            Self::Pairs => "pairs",
            Self::Fanout => "fanout",
            Self::Idle => "idle",
            Self::Churn => "churn",
            Self::Mixed => "mixed",
        })
    }
}

/// A run, as it was asked for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the users do.
    pub scenario: Scenario,
    /// How many there are. In [`Fanout`](Scenario::Fanout) they are those who listen.
    pub users: usize,
    /// How long is measured.
    pub measured: Duration,
    /// How long they talk before that.
    pub warm_up: Duration,
    /// Messages a second of each user who talks at a rate.
    pub rate: f64,
    /// Bytes of each message's text, [`TEXT_BYTES_MIN`] or more; at another's server [`OTHERS_TEXT_BYTES_MIN`].
    pub text_bytes: usize,
    /// How frames are made, at a server of ours.
    pub subprotocol: Subprotocol,
    /// How many messages of a user who talks as fast as possible have no ack yet.
    pub in_flight: usize,
    /// How many are in a room, where the scenario has rooms of some size.
    pub room_size: usize,
    /// Whether those who say nothing are in a room at all.
    pub idle_joins: bool,
    /// Times that all connections drop while it is measured.
    pub storms: u32,
    /// All of them come back within this time.
    pub storm: Duration,
    /// After the last send everything is acked and delivered within this, or counts as lost.
    pub settle: Duration,
    /// How messages look at another's server; none for ours.
    pub messages: Option<Messages>,
    /// Tokens, one a user, for a server that wants some.
    pub tokens: Vec<String>,
}

/// A text begins with the moment when it was sent.
pub const TEXT_BYTES_MIN: usize = 17;

/// At another's server it begins with its author and number, too.
pub const OTHERS_TEXT_BYTES_MIN: usize = MARK_BYTES;

impl Settings {
    /// What the command line does where nothing else is said.
    pub const fn new(scenario: Scenario) -> Self {
        let room_size = if matches!(scenario, Scenario::Mixed) { 50 } else { 10 };
        Self {
            scenario,
            users: 100,
            measured: Duration::from_secs(10),
            warm_up: Duration::from_secs(3),
            rate: 1.0,
            text_bytes: 200,
            subprotocol: Subprotocol::Plain,
            in_flight: 64,
            room_size,
            idle_joins: false,
            storms: if matches!(scenario, Scenario::Churn | Scenario::Mixed) { 1 } else { 0 },
            storm: Duration::from_secs(5),
            settle: Duration::from_secs(30),
            messages: None,
            tokens: Vec::new(),
        }
    }
}

/// How somebody talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// So often, evenly, whatever comes of it.
    Rate,
    /// The next one when fewer than so many have no ack.
    InFlight(usize),
}

/// A user of a run.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) role: &'static str,
    /// Which of the plan's rooms.
    pub(crate) rooms: Vec<usize>,
    /// In which of those, by their place in `rooms`, and how.
    pub(crate) talks: Vec<(usize, Pace)>,
}

/// All users and their rooms.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rooms: usize,
    pub(crate) people: Vec<Person>,
}

impl Plan {
    pub(crate) fn new(settings: &Settings) -> Self {
        let users = settings.users;
        let talks = |rooms: Vec<usize>| Person { role: "member", rooms, talks: vec![(0, Pace::Rate)] };
        let people: Vec<Person> = match settings.scenario {
            Scenario::Room => (0..users).map(|_| talks(vec![0])).collect(),
            Scenario::Pairs => {
                let role = |user: usize| if user.is_multiple_of(2) { "operator" } else { "manager" };
                (0..users).map(|user| Person { role: role(user), ..talks(vec![user / 2]) }).collect()
            }
            Scenario::Churn => (0..users).map(|user| talks(vec![user / settings.room_size])).collect(),
            Scenario::Idle => {
                let rooms = if settings.idle_joins { vec![0] } else { Vec::new() };
                (0..users).map(|_| silent(rooms.clone())).collect()
            }
            Scenario::Fanout => {
                let pace = Pace::InFlight(settings.in_flight);
                let speaker = Person { role: "member", rooms: vec![0], talks: vec![(0, pace)] };
                std::iter::once(speaker).chain((0..users).map(|_| silent(vec![0]))).collect()
            }
            Scenario::Mixed => mixed(settings),
        };
        let rooms = people.iter().flat_map(|person| &person.rooms).max().map_or(0, |last| last + 1);
        Self { rooms, people }
    }

    /// Rooms that somebody is in.
    pub(crate) fn rooms_used(&self) -> usize {
        self.sizes().iter().filter(|size| **size > 0).count()
    }

    /// How many are in each room.
    fn sizes(&self) -> Vec<u64> {
        let mut sizes = vec![0; self.rooms];
        for room in self.people.iter().flat_map(|person| &person.rooms) {
            sizes[*room] += 1;
        }
        sizes
    }

    /// Deliveries for each message that every one who talks at a rate says once.
    pub(crate) fn deliveries_a_round(&self) -> u64 {
        let sizes = self.sizes();
        let paced = self.people.iter().flat_map(|person| {
            let paced = person.talks.iter().filter(|(_, pace)| *pace == Pace::Rate);
            paced.map(|(room, _)| person.rooms[*room])
        });
        paced.map(|room| sizes[room] - 1).sum()
    }

    /// How many talk at a rate, and in how many rooms each.
    pub(crate) fn messages_a_round(&self) -> u64 {
        let talks = self.people.iter().flat_map(|person| &person.talks);
        talks.filter(|(_, pace)| *pace == Pace::Rate).count() as u64
    }

    /// Whether somebody talks as fast as possible.
    pub(crate) fn is_flooded(&self) -> bool {
        let mut talks = self.people.iter().flat_map(|person| &person.talks);
        talks.any(|(_, pace)| matches!(pace, Pace::InFlight(_)))
    }
}

fn silent(rooms: Vec<usize>) -> Person {
    Person { role: "member", rooms, talks: Vec::new() }
}

/// Room 0 is where everybody is and one user talks. Of ten users one says nothing, four talk to each other in pairs, and
/// five are in rooms of the given size.
fn mixed(settings: &Settings) -> Vec<Person> {
    let mut people = Vec::with_capacity(settings.users);
    let pairs = 1..=settings.users.div_ceil(2);
    let mut in_pairs = 0;
    let mut in_rooms = 0;
    for user in 0..settings.users {
        let mut person = match user % 10 {
            0 => silent(vec![0]),
            1..5 => {
                in_pairs += 1;
                let rooms = vec![0, pairs.start() + (in_pairs - 1) / 2];
                Person { role: "member", rooms, talks: vec![(1, Pace::Rate)] }
            }
            _ => {
                in_rooms += 1;
                let rooms = vec![0, pairs.end() + 1 + (in_rooms - 1) / settings.room_size];
                Person { role: "member", rooms, talks: vec![(1, Pace::Rate)] }
            }
        };
        if user == 0 {
            person.talks.push((0, Pace::Rate));
        }
        people.push(person);
    }
    people
}
