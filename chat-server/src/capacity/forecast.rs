//! From what a server does now to what it would break at.

use std::collections::VecDeque;

use chat_core::limits::{BATCH_ITEMS_MAX, Gathering};

use super::{
    fit::{Fit, Priors},
    load::Load,
    machine::Bounds,
};

/// What a server runs into first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wall {
    /// Its own processor time is [`OWN_CPU_SHARE`] of what it may use, or the machine's processors are full.
    Cpu,
    /// One batch after the other is as large as batches get.
    Commits,
    /// A link is full of which the system tells the speed.
    Network,
    Memory,
    /// Files that may be open, or the connections that the server takes.
    Descriptors,
}

impl Wall {
    pub(super) const ALL: [Self; 5] =
        [Self::Cpu, Self::Commits, Self::Network, Self::Memory, Self::Descriptors];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Commits => "commits",
            Self::Network => "network",
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
        }
    }
}

/// How more connections come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// Into the same rooms: what each says goes to more.
    Members,
    /// Into more rooms like those that there are.
    Rooms,
}

impl Growth {
    pub(super) const ALL: [Self; 2] = [Self::Members, Self::Rooms];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Rooms => "rooms",
        }
    }
}

/// What is known of a server's end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Forecast {
    /// The share of what it can bear of the present mix that is not used.
    pub headroom: f64,
    /// Connections at which it breaks, for each [`Growth`].
    pub breaking: [f64; 2],
    /// What it breaks at first.
    pub first: Wall,
    /// How much of each [`Wall`] is used; `None` where there is none, or the system does not tell.
    pub used: [Option<f64>; 5],
}

/// What the parts of the server's CPU in ms/s are taken to cost until it has measured them: nothing else, a message, a
/// write, a byte. As measured over loopback for `docs/performance.md`: a message is 10 µs in the commit, its share in the
/// 0.1 ms of the commit itself, and the waking of its sender; a write is 3.5 µs; a delivery in large writes 0.067 µs, of
/// which has 306 bytes.
const CPU: Priors<4> =
    Priors { costs: [20.0, 0.025, 0.003_5, 0.2e-6], doubt: [1.0, 0.5, 0.5, 0.5], noise: 10.0 };

/// The same for what others on the machine take. Clients on it cost about what serving them does, and others nothing that
/// grows: what is beyond the one is taken to be there anyway, however much it is.
const OTHERS: Priors<4> = Priors { doubt: [100.0, 0.5, 0.5, 0.5], ..CPU };

/// Seconds that one more row makes a commit longer: on SQLite 3 µs where all are of one room, 22 where each is of another.
/// It cannot be had from commits as they come: one that was slow, for whatever reason, makes the next a large one, and rows
/// seem dear.
const ROW_SECONDS: f64 = 20e-6;

/// Of the memory in bytes: the program itself, and a connection with what is on its way to it.
const MEMORY: Priors<2> = Priors { costs: [20e6, 16e3], doubt: [1.0, 1.0], noise: 1e6 };

/// Of the processors that the server may use, the share that it can: beyond it latencies are no longer what they were.
const OWN_CPU_SHARE: f64 = 0.8;

/// Of the machine's processors, the most that the server leaves to others who take it whatever it does: a scheduler that is
/// fair gives those who ask for more no more than that beside a server with as many threads.
const YIELDED_SHARE: f64 = 0.5;

/// Of back to back batches of the largest size, the share that it can have: beyond it they queue.
const COMMITS_SHARE: f64 = 0.8;

/// Of a link, the share that it can use.
const LINK_SHARE: f64 = 0.9;

/// Of the memory, the share that it can use.
const MEMORY_SHARE: f64 = 0.9;

/// Loads whose mean is what the server does now.
const RECENT_MAX: usize = 10;

/// Loads after which a forecast is made.
const RECENT_MIN: usize = 5;

/// Where connections come or go, it costs what no part tells of: such loads teach nothing of the parts. A share of the
/// connections, and some beside.
const TURNOVER_SHARE_MAX: f64 = 0.02;
const TURNOVER_MAX: f64 = 5.0;

/// Growth in which no wall is met: there is none then.
const GROWTH_MAX: f64 = 1e6;

/// Fits what a server does to what it takes, and says how far it can go.
#[derive(Debug)]
pub(super) struct Forecaster {
    bounds: Bounds,
    /// Connections that the server takes, where that has a limit.
    connections_max: Option<f64>,
    gathering: Gathering,
    cpu: Fit<4>,
    /// What others take of the processors grows with the load where they are the server's clients.
    others: Fit<4>,
    memory: Fit<2>,
    recent: VecDeque<Load>,
}

impl Forecaster {
    pub(super) const fn new(bounds: Bounds, connections_max: Option<f64>, gathering: Gathering) -> Self {
        Self {
            bounds,
            connections_max,
            gathering,
            cpu: Fit::new(CPU),
            others: Fit::new(OTHERS),
            memory: Fit::new(MEMORY),
            recent: VecDeque::new(),
        }
    }

    /// Takes what the server did in about a second.
    pub(super) fn learn(&mut self, load: &Load) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(*load);
        if load.turnover <= TURNOVER_MAX + TURNOVER_SHARE_MAX * load.connections {
            self.cpu.learn(parts(load), load.own_cpu);
            if let Some(others) = load.others_cpu {
                self.others.learn(parts(load), others);
            }
        }
        if let Some(bytes) = load.resident_bytes {
            self.memory.learn([1.0, load.connections], bytes);
        }
    }

    /// What is known now; `None` before there are connections and some loads.
    pub(super) fn forecast(&self) -> Option<Forecast> {
        let now = Load::mean(&self.recent);
        if self.recent.len() < RECENT_MIN || now.connections < 1.0 {
            return None;
        }
        let factors = Growth::ALL.map(|growth| self.factor(&now, growth));
        let [members, rooms] = factors;
        let (first_growth, first_factor) =
            if members < rooms { (Growth::Members, members) } else { (Growth::Rooms, rooms) };
        Some(Forecast {
            headroom: (1.0 - 1.0 / rooms).clamp(0.0, 1.0),
            breaking: factors.map(|factor| factor * now.connections),
            first: self.fullest(&now, &self.grown(&now, first_growth, first_factor.min(GROWTH_MAX))).0,
            used: Wall::ALL.map(|wall| self.used(wall, &now, &now)),
        })
    }

    /// The growth at which the first wall is met.
    fn factor(&self, now: &Load, growth: Growth) -> f64 {
        const ROUNDS: usize = 50;
        let is_met = |factor: f64| self.fullest(now, &self.grown(now, growth, factor)).1 >= 1.0;
        if !is_met(GROWTH_MAX) {
            return f64::INFINITY;
        }
        // Below it is not met, above it is: halved in its logarithm.
        let (mut below, mut above) = (1.0 / GROWTH_MAX, GROWTH_MAX);
        for _ in 0..ROUNDS {
            let middle = f64::sqrt(below * above);
            if is_met(middle) { above = middle } else { below = middle }
        }
        above
    }

    fn fullest(&self, now: &Load, then: &Load) -> (Wall, f64) {
        let used = Wall::ALL.iter().filter_map(|wall| Some((*wall, self.used(*wall, now, then)?)));
        used.fold((Wall::Cpu, 0.0), |most, one| if one.1 > most.1 { one } else { most })
    }

    /// How much of a wall another load would use. What is measured now is taken as it is: the fits say by how much it grows.
    fn used(&self, wall: Wall, now: &Load, then: &Load) -> Option<f64> {
        match wall {
            Wall::Cpu => {
                let own = now.own_cpu * growth_of(&self.cpu, &parts(now), &parts(then));
                let own_used = own / (1e3 * self.bounds.processors * OWN_CPU_SHARE);
                let machine_used = now
                    .machine_cpu
                    .zip(now.others_cpu)
                    .map(|(all, others)| (own + self.others_cpu(others, all, now, then)) / all);
                Some(machine_used.map_or(own_used, |machine_used| own_used.max(machine_used)))
            }
            Wall::Commits => Some(then.items * full_row_seconds(now) / COMMITS_SHARE),
            Wall::Network => {
                let growth = if now.bytes > 0.0 { then.bytes / now.bytes } else { 1.0 };
                Some(now.link_share? * growth / LINK_SHARE)
            }
            Wall::Memory => {
                let growth = growth_of(&self.memory, &[1.0, now.connections], &[1.0, then.connections]);
                Some(now.resident_bytes? * growth / (self.bounds.memory_bytes? * MEMORY_SHARE))
            }
            Wall::Descriptors => {
                let places = self.connections_max.map(|max| then.connections / max);
                let others = now.descriptors.map(|all| (all - now.connections).max(0.0));
                let files = others.zip(self.bounds.descriptors);
                let files = files.map(|(others, max)| (others + then.connections) / max);
                places.into_iter().chain(files).reduce(f64::max)
            }
        }
    }

    /// What others would take of the processors: what grows with the load, and what is there anyway.
    fn others_cpu(&self, others: f64, all: f64, now: &Load, then: &Load) -> f64 {
        let fitted = self.others.predict(&parts(now));
        if fitted <= 0.0 {
            return others;
        }
        let scale = others / fitted;
        let [constant, ..] = self.others.costs();
        let growing = self.others.predict(&parts(then)) - constant;
        growing * scale + (constant * scale).min(all * YIELDED_SHARE)
    }

    /// The load at so many times the connections.
    fn grown(&self, now: &Load, growth: Growth, factor: f64) -> Load {
        let heard = match growth {
            Growth::Members => factor,
            Growth::Rooms => 1.0,
        };
        let mut then = Load {
            connections: now.connections * factor,
            messages: now.messages * factor,
            items: now.items * factor,
            deliveries: now.deliveries * factor * heard,
            bytes: now.bytes * factor * heard,
            ..*now
        };
        let (written, writes) = (self.writes(now), self.writes(&then));
        then.writes = now.writes * if written > 0.0 { writes / written } else { factor };
        then
    }

    /// How many writes gathering leaves of a load, by its means: an ack for each message, and for each connection as many as
    /// its room has windows.
    fn writes(&self, load: &Load) -> f64 {
        if load.messages <= 0.0 || load.deliveries <= 0.0 {
            return load.messages;
        }
        let readers = load.deliveries / load.messages + 1.0;
        let of_room = (load.messages * readers / load.connections).min(load.messages);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is at least 1, and saturates"
        )]
        let window = self.gathering.window(of_room, readers as usize);
        let times = 1.0 / (window.as_secs_f64() + 1.0 / of_room);
        load.messages + load.connections * times * (readers - 1.0) / readers
    }
}

/// What a row takes of the time in commits where batches are as large as they get.
fn full_row_seconds(now: &Load) -> f64 {
    if now.commits <= 0.0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
    let batch_max = BATCH_ITEMS_MAX as f64;
    let (batch, seconds) = (now.items / now.commits, now.commit_share / now.commits);
    // Not all of a commit can be its rows.
    let row_seconds = ROW_SECONDS.min(seconds / batch.max(1.0));
    (seconds + row_seconds * (batch_max - batch).max(0.0)) / batch_max
}

const fn parts(load: &Load) -> [f64; 4] {
    [1.0, load.messages, load.writes, load.bytes]
}

/// How many times more a fit predicts.
fn growth_of<const N: usize>(fit: &Fit<N>, now: &[f64; N], then: &[f64; N]) -> f64 {
    let before = fit.predict(now);
    if before > 0.0 { fit.predict(then) / before } else { 1.0 }
}
