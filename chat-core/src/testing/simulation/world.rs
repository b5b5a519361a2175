//! The nodes, the store, the clock and the chances.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use fastrand::Rng;

use super::{client::Client, log::Log};
use crate::{
    bus::Notice,
    hub::{Done, Hub, MissingRooms, Task, run},
    ids::{RoomId, RoomNo, Seq, Timestamp, UserId},
    limits::{GATHERING_STRAINED_MAX, Gathering, Limits},
    policy::AllowAll,
    rights::{Authority, Role},
    store::{Append, Appended, MemoryStore, Outcomes, Store, StoreError},
    strain::Strain,
    time::Now,
};

/// What happened in a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Steps taken.
    pub steps: u64,
    /// Events committed.
    pub committed: usize,
    /// Acks received.
    pub acked: usize,
    /// Events received.
    pub heard: usize,
    /// Commits whose outcome was lost or refused.
    pub faults: usize,
    /// Nodes that crashed.
    pub crashes: usize,
    /// Commands that a node under strain refused.
    pub overloads: usize,
}

/// Something that will happen.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a simulation holds few of them")]
pub(super) enum Step {
    /// A store has taken this long over a batch.
    Committed { node: u64, outcomes: Result<Outcomes, StoreError>, took: Duration },
    /// A store has said where rooms end.
    Ended { node: u64, ends: Result<Vec<Option<Seq>>, StoreError> },
    /// A store has done a task.
    Done { node: u64, task: Task, done: Done },
    /// A notice reaches a node; none says that some were lost.
    Noticed { node: u64, notice: Option<Notice> },
    /// A client acts.
    Act(usize),
    /// A client reads.
    Read(usize),
    /// Somebody in charge acts, or something breaks.
    Fate,
    /// A node's timer may be due.
    Timer,
}

#[derive(Debug)]
pub(super) struct Node {
    /// Unique to this life of it.
    pub(super) life: u64,
    pub(super) hub: Arc<Hub>,
    pub(super) committing: bool,
    pub(super) asking: bool,
}

/// How things go wrong, out of a thousand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chances {
    pub(super) commit_fails: u32,
    pub(super) read_fails: u32,
    pub(super) crash: u32,
    pub(super) notice_lost: u32,
}

/// One simulation.
#[derive(Debug)]
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: Duration,
    pub(super) store: MemoryStore,
    pub(super) log: Log,
    pub(super) nodes: Vec<Node>,
    pub(super) clients: Vec<(usize, Client)>,
    pub(super) rooms: Vec<RoomId>,
    pub(super) agenda: BTreeMap<(Duration, u64), Step>,
    pub(super) next: u64,
    pub(super) chances: Chances,
    pub(super) steps: u64,
    pub(super) faults: usize,
    pub(super) crashes: usize,
    pub(super) timers: BTreeMap<u64, Duration>,
}

const STEPS: u64 = 600;
const REST_STEPS_MAX: u64 = 20_000;
/// The longest wait for what is new to gather.
const GATHERING_MAX: Duration = Duration::from_millis(40);

/// Polls a future of a store that never waits.
pub(super) fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the store in memory never waits"),
    }
}

fn away() -> StoreError {
    StoreError::unavailable("the simulated store is away")
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let chances = Chances {
            commit_fails: rng.u32(0..150),
            read_fails: rng.u32(0..100),
            crash: rng.u32(0..60),
            notice_lost: rng.u32(0..300),
        };
        let rooms: Vec<RoomId> = ["open", "den"].map(|id| RoomId::new(id).expect("it is an id")).into();
        let mut world = Self {
            rng,
            now: Duration::ZERO,
            store: MemoryStore::new(),
            log: Log::default(),
            nodes: Vec::new(),
            clients: Vec::new(),
            rooms: rooms.clone(),
            agenda: BTreeMap::new(),
            next: 0,
            chances,
            steps: 0,
            faults: 0,
            crashes: 0,
            timers: BTreeMap::new(),
        };
        for _ in 0..world.rng.usize(1..=2) {
            let node = world.node();
            world.nodes.push(node);
        }
        for name in ["ann", "bob", "cat", "dan", "ann", "bob"].iter().take(world.rng.usize(2..=6)) {
            let user = UserId::new(name).expect("it is an id");
            world.clients.push((0, Client::new(user, world.clients.len())));
        }
        for room in &rooms {
            world.make(room);
        }
        for client in 0..world.clients.len() {
            world.at_random(5_000, Step::Act(client));
            world.at_random(5_000, Step::Read(client));
        }
        world.at_random(50_000, Step::Fate);
        world
    }

    /// Everything takes its course, faults and all.
    pub(super) fn live(&mut self) {
        while self.steps < STEPS {
            self.step();
        }
    }

    /// Faults stop; everything must come to rest.
    pub(super) fn rest(mut self) -> Report {
        self.chances = Chances { commit_fails: 0, read_fails: 0, crash: 0, notice_lost: 0 };
        self.agenda.retain(|_, step| !matches!(step, Step::Act(_) | Step::Read(_) | Step::Fate));
        if self.nodes.len() == 1 {
            // Under strain, too, what was committed reaches everybody.
            self.calm_down();
        } else {
            // Several nodes look now and then where their rooms end; one alone must know.
            self.nodes.iter().for_each(|node| node.hub.handle_lost());
        }
        self.nodes.iter().for_each(|node| node.hub.set_strain(Strain::None));
        let deadline = self.steps + REST_STEPS_MAX;
        while !self.settle_down() {
            assert!(self.steps < deadline, "it does not come to rest: {}", self.unrest());
            if self.agenda.is_empty() {
                self.at(1_000, Step::Timer);
            }
            self.step();
        }
        self.check_ends();
        self.empty();
        let sum = |of: fn(&Client) -> usize| self.clients.iter().map(|(_, client)| of(client)).sum();
        Report {
            steps: self.steps,
            committed: self.log.rooms.values().map(|room| room.events.len()).sum(),
            acked: sum(|client| client.acked),
            heard: sum(|client| client.heard),
            faults: self.faults,
            crashes: self.crashes,
            overloads: sum(|client| client.overloads),
        }
    }

    /// Nobody does anything but read: whatever was committed must reach those who are there by itself, without a later
    /// event that shows the hole before it.
    fn calm_down(&mut self) {
        let busy = |step: &Step| !matches!(step, Step::Timer);
        let deadline = self.steps + REST_STEPS_MAX;
        let mut quiet_from = self.now;
        loop {
            let now = self.clocks();
            let read: usize =
                self.clients.iter_mut().map(|(_, client)| client.read(now, usize::MAX, &self.log)).sum();
            self.pump();
            let under_way =
                self.agenda.values().any(busy) || self.nodes.iter().any(|node| node.hub.is_asking());
            if read > 0 || under_way {
                quiet_from = self.now;
            }
            // What gathers is under way too, and began to under strain perhaps.
            if self.now > quiet_from + GATHERING_STRAINED_MAX {
                break;
            }
            assert!(self.steps < deadline, "it does not calm down: {}", self.unrest());
            if self.agenda.is_empty() {
                self.at(1_000, Step::Timer);
            }
            self.step();
        }
        assert!(self.at_the_end(), "something committed reached nobody: {}", self.unrest());
    }

    /// Everybody reads, comes back, joins and sends again. Returns whether nobody had anything to do.
    fn settle_down(&mut self) -> bool {
        let mut settled = true;
        let now = self.clocks();
        for index in 0..self.clients.len() {
            if !self.clients[index].1.is_connected() {
                self.connect(index);
                settled = false;
            }
            settled &= self.clients[index].1.read(now, usize::MAX, &self.log) == 0;
            for room in self.rooms.clone() {
                settled &= self.bring_in(index, &room);
            }
            let client = &mut self.clients[index].1;
            client.send_again(now);
            settled &= !client.has_unsettled() && !client.waits();
        }
        self.pump();
        let busy = |step: &Step| !matches!(step, Step::Timer);
        settled && !self.agenda.values().any(busy) && self.at_the_end()
    }

    /// Has a client join a room that it may read. Returns whether it is where it should be.
    fn bring_in(&mut self, index: usize, room: &RoomId) -> bool {
        let now = self.clocks();
        let client = &mut self.clients[index].1;
        let view = ready(self.store.room(room.clone(), client.user.clone())).expect("it answers");
        let readable = view.is_some_and(|view| view.role(Authority::User(Role::Member)).is_some());
        if !readable {
            client.forget_unsettled(room);
        } else if !client.is_joined(room) && !client.waits() {
            client.join(now, room, true);
            return false;
        }
        true
    }

    /// What is still under way, for the message of a failure.
    fn unrest(&self) -> String {
        let lasts: Vec<(&RoomId, Seq)> = self.rooms.iter().map(|room| (room, self.last(room))).collect();
        let clients: Vec<String> = self.clients.iter().map(|(_, client)| client.unrest()).collect();
        let agenda: Vec<&Step> = self.agenda.values().take(3).collect();
        format!("rooms end at {lasts:?}; {clients:?}; next is {agenda:.200?}")
    }

    /// Whether every reader has read every room to its end.
    fn at_the_end(&self) -> bool {
        self.rooms.iter().all(|room| {
            let last = self.last(room);
            self.clients
                .iter()
                .filter_map(|(_, client)| client.position(room))
                .all(|position| position == last)
        })
    }

    pub(super) fn last(&self, room: &RoomId) -> Seq {
        let nobody = UserId::new("nobody").expect("it is an id");
        let view = ready(self.store.room(room.clone(), nobody)).expect("it answers").expect("it is there");
        view.room.last_seq
    }

    /// What the store has is what was logged.
    fn check_ends(&self) {
        for (epoch, timeline) in &self.log.rooms {
            let ends = ready(self.store.ends(vec![timeline.no])).expect("it answers");
            if let [Some(last)] = ends[..] {
                assert_eq!(last, self.log.last(epoch), "the log is what the store has");
            }
        }
    }

    /// Everybody leaves: no room stays in memory.
    fn empty(&mut self) {
        let now = self.clocks();
        self.clients.iter_mut().for_each(|(_, client)| client.disconnect(now, false));
        let until = self.now + Duration::from_secs(5);
        while self.now < until {
            self.at(200_000, Step::Timer);
            self.step();
        }
        for node in &self.nodes {
            assert!(node.hub.is_idle(), "nothing is under way");
            assert_eq!(node.hub.rooms_in_memory(), 0, "a room without connections leaves memory");
        }
    }

    // Time.

    pub(super) fn clocks(&self) -> Now {
        let ms = i64::try_from(self.now.as_millis()).expect("simulations are short");
        Now { mono: self.now, wall: Timestamp(1_000_000_000_000 + ms) }
    }

    fn at(&mut self, micros: u64, step: Step) {
        self.next += 1;
        self.agenda.insert((self.now + Duration::from_micros(micros), self.next), step);
    }

    /// Some time within so many microseconds.
    pub(super) fn at_random(&mut self, micros: u64, step: Step) {
        let micros = self.rng.u64(0..micros);
        self.at(micros, step);
    }

    pub(super) fn chance(&mut self, of_thousand: u32) -> bool {
        self.rng.u32(0..1000) < of_thousand
    }

    fn step(&mut self) {
        self.steps += 1;
        let Some(((at, _), step)) = self.agenda.pop_first() else { return self.pump() };
        self.now = self.now.max(at);
        let now = self.clocks();
        match step {
            Step::Committed { node, outcomes, took } => {
                if let Some(index) = self.alive(node) {
                    self.nodes[index].committing = false;
                    let notices = self.nodes[index].hub.handle_outcomes(now, took, outcomes);
                    for notice in notices {
                        self.publish(node, &notice);
                    }
                }
            }
            Step::Ended { node, ends } => {
                if let Some(index) = self.alive(node) {
                    self.nodes[index].asking = false;
                    let notices = self.nodes[index].hub.handle_ends(now, ends);
                    for notice in notices {
                        self.publish(node, &notice);
                    }
                }
            }
            Step::Done { node, task, done } => {
                if let Some(index) = self.alive(node) {
                    self.nodes[index].hub.handle_done(now, task, done);
                }
            }
            Step::Noticed { node, notice } => {
                if let Some(index) = self.alive(node) {
                    match notice {
                        Some(notice) => self.nodes[index].hub.handle_notice(now, &notice),
                        None => self.nodes[index].hub.handle_lost(),
                    }
                }
            }
            Step::Act(client) => self.act(client),
            Step::Read(client) => {
                let most = self.rng.usize(1..40);
                self.clients[client].1.read(now, most, &self.log);
                let pause = if self.chance(100) { 200_000 } else { 4_000 };
                self.at_random(pause, Step::Read(client));
            }
            Step::Fate => self.fate(),
            Step::Timer => {}
        }
        for node in &self.nodes {
            node.hub.handle_timeout(now);
        }
        self.pump();
    }

    fn alive(&self, life: u64) -> Option<usize> {
        self.nodes.iter().position(|node| node.life == life)
    }

    // Nodes and their store.

    pub(super) fn node(&mut self) -> Node {
        let limits = Limits {
            tail_bytes: 3_000,
            page_bytes: 2_000,
            history_page: self.rng.usize(2..20),
            flush_bytes: 1_000,
            rooms_per_connection: 10,
            strained_queue: self.rng.usize(0..3),
            gathering: Gathering {
                max: GATHERING_MAX * self.rng.u32(0..3) / 2,
                // Each room counts as a busy one.
                write_cost: Duration::from_secs(1),
                ..Gathering::default()
            },
            ..Limits::default()
        };
        self.next += 1;
        let hub = Arc::new(Hub::new(limits, Arc::new(AllowAll), MissingRooms::NotFound));
        hub.set_strain(Strain::ALL[self.rng.usize(0..Strain::ALL.len())]);
        Node { life: self.next, hub, committing: false, asking: false }
    }

    /// Takes from the nodes what they want of the store, and lets it happen some time later.
    fn pump(&mut self) {
        let now = self.clocks();
        for index in 0..self.nodes.len() {
            let (life, hub) = (self.nodes[index].life, self.nodes[index].hub.clone());
            while let Some(task) = hub.poll_task() {
                let random = u128::from(self.rng.u64(..));
                let done = ready(run(&self.store, &hub.limits, &task, now, random));
                let done = if self.chance(self.chances.read_fails) { task.failed(away()) } else { done };
                self.at_random(3_000, Step::Done { node: life, task, done });
            }
            if !self.nodes[index].asking
                && let Some(rooms) = hub.poll_ends(now)
            {
                self.nodes[index].asking = true;
                let ends = if self.chance(self.chances.commit_fails) {
                    Err(away())
                } else {
                    ready(self.store.ends(rooms))
                };
                self.at_random(3_000, Step::Ended { node: life, ends });
            }
            if !self.nodes[index].committing
                && let Some(batch) = hub.poll_batch(now)
            {
                self.nodes[index].committing = true;
                let outcomes = self.commit(batch);
                let took = self.rng.u64(0..6_000);
                let took = Duration::from_micros(took);
                self.at(
                    u64::try_from(took.as_micros()).unwrap_or(0),
                    Step::Committed { node: life, outcomes, took },
                );
            }
            let wanted = [hub.poll_timeout(), hub.poll_commit_timeout()].into_iter().flatten().min();
            self.wake_at(life, wanted);
        }
    }

    /// One timer a node and time.
    fn wake_at(&mut self, life: u64, wanted: Option<Duration>) {
        let Some(at) = wanted.filter(|at| *at > self.now) else { return };
        let set = self.timers.get(&life).is_some_and(|set| *set > self.now && *set <= at);
        if !set {
            self.timers.insert(life, at);
            self.next += 1;
            self.agenda.insert((at, self.next), Step::Timer);
        }
    }

    /// The store commits a batch, or not, and says so, or not.
    fn commit(&mut self, batch: Vec<Append>) -> Result<Outcomes, StoreError> {
        let fails = self.chance(self.chances.commit_fails);
        self.faults += usize::from(fails);
        let kind = self.rng.u32(0..3);
        match (fails, kind) {
            (true, 0) => return Err(away()),
            (true, 1) => return Err(StoreError::rejected("the simulated store refuses")),
            _ => {}
        }
        let nos: Vec<RoomNo> = batch.iter().map(|item| item.room).collect();
        let outcomes = ready(self.store.append(batch)).expect("the store in memory answers");
        for (no, outcome) in nos.into_iter().zip(&outcomes) {
            if let Ok(Appended::New(committed)) = outcome {
                self.log.add(no, committed.event());
            }
        }
        if fails { Err(away()) } else { Ok(outcomes) }
    }

    fn publish(&mut self, from: u64, notice: &Notice) {
        let others: Vec<u64> = self.nodes.iter().map(|node| node.life).filter(|life| *life != from).collect();
        for node in others {
            if self.chance(self.chances.notice_lost) {
                self.at_random(100_000, Step::Noticed { node, notice: None });
                continue;
            }
            for _ in 0..self.rng.usize(1..=2) {
                self.at_random(8_000, Step::Noticed { node, notice: Some(notice.clone()) });
            }
        }
    }
}
