//! One run: users, what they say, and what came of it.

mod foreign;
mod found;
mod pacer;
mod said;
#[cfg(test)]
mod scene;
mod shared;
mod storm;
mod tally;
mod user;
mod verify;
mod voice;

use std::{
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    task::{JoinHandle, LocalSet, spawn_local},
    time::{sleep, timeout},
};

pub(crate) use self::foreign::MARK_BYTES;
use self::{
    foreign::Board,
    found::{Found, Look, Memory, Word},
    shared::Shared,
    user::User,
    voice::Voice,
};
use crate::{
    client::{
        Client,
        http::{ANSWER_MAX, ConnectError, Target, Who},
    },
    host::{Descriptors, MachineError, Process, ProcessError, descriptors, glance, processors},
    measurement::{Latency, Measurement, Storms, ratio},
    messages::{Messages, Unfit},
    scenario::{Pace, Plan, Settings},
};

/// How often the machine is looked at, and the progress told.
const LOOK: Duration = Duration::from_millis(500);

/// What connections have left behind at the server is given back within this, before its memory is looked at. At
/// another's server that does not say who is in, everybody is by then.
const QUIET: Duration = Duration::from_secs(1);

/// Deliveries a second whose latency is looked at.
const SAMPLES_PER_S: u64 = 20_000;

/// Where nobody knows how many deliveries there will be, one of so many is looked at.
const FLOOD_STRIDE: u64 = 257;

/// Files of this process beside its connections.
const FILES_BESIDE: u64 = 64;

/// The run could not be made. What is wrong with what a server does is no error but stands in the [`Measurement`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Not everybody could connect.
    #[error("{user} cannot connect: {source}")]
    Connect {
        /// Who.
        user: String,
        /// Why.
        source: ConnectError,
    },
    /// Not everybody could join.
    #[error("{user} is connected and does not get into the rooms: {why}")]
    Join {
        /// Who.
        user: String,
        /// Why.
        why: String,
    },
    /// The server lets some in and not the others, without a word.
    #[error("{live} of {count} users are in their rooms, and for {} s there was no other", ANSWER_MAX.as_secs())]
    Stuck {
        /// Who are in.
        live: usize,
        /// Who should be.
        count: usize,
    },
    /// A process cannot be looked at.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The machine cannot be looked at.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The system does not say how many connections may be opened.
    #[error("the limit of file descriptors is not known: {0}")]
    Limit(#[from] io::Error),
    /// This process may not open so many connections.
    #[error("{needed} file descriptors are needed, and the limit is {limit}: raise it with ulimit -n")]
    Descriptors {
        /// For all connections.
        needed: u64,
        /// What the system allows.
        limit: u64,
    },
    /// The messages of another's server do not say enough for the scenario.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// There are fewer tokens than users.
    #[error("{users} users need a token each, and there are {tokens}")]
    Tokens {
        /// Who connect.
        users: usize,
        /// What there is for them.
        tokens: usize,
    },
}

/// Hears how far a run is.
pub trait Progress {
    /// A part of the run begins, which has so many steps.
    fn begin(&self, part: &'static str, steps: u64);
    /// So many of them are done.
    fn at(&self, steps: u64);
    /// The runs that follow are one step of many.
    fn step(&self, _number: usize, _users: usize) {}
}

/// Nobody listens.
impl Progress for () {
    fn begin(&self, _: &'static str, _: u64) {}
    fn at(&self, _: u64) {}
}

/// Makes a run against a server, whose process is `pid` where that is known.
///
/// # Errors
/// [`RunError`] where it could not be made.
///
/// # Cancel safety
/// Dropping it closes all connections.
pub async fn run(
    settings: &Settings,
    target: &Target,
    pid: Option<u32>,
    progress: &impl Progress,
) -> Result<Measurement, RunError> {
    if let Some(messages) = &settings.messages {
        messages.fit(settings)?;
    }
    let server = pid.map(Process::new).transpose()?;
    let plan = Plan::new(settings);
    let (needed, limit) = (plan.people.len() as u64 + FILES_BESIDE, raise_descriptors()?);
    if limit < needed {
        return Err(RunError::Descriptors { needed, limit });
    }
    if !settings.tokens.is_empty() && settings.tokens.len() < plan.people.len() {
        return Err(RunError::Tokens { users: plan.people.len(), tokens: settings.tokens.len() });
    }
    let shared = Rc::new(Shared::new(target.clone(), settings.subprotocol, settings.text_bytes, plan.rooms));
    let users = users(settings, &plan, &shared);
    let mut run = Run { settings, plan, shared, users, server, tool: Process::myself()?, progress };
    LocalSet::new().run_until(run.whole()).await
}

/// Raises the limit of this process's descriptors, and so of what it starts, as far as the system allows. Returns the
/// limit.
///
/// # Errors
/// Where the system does not tell the limit.
pub fn raise_descriptors() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// Rooms have names that no other run has.
fn users(settings: &Settings, plan: &Plan, shared: &Shared) -> Vec<Rc<User>> {
    let tag = format!("{:06x}", fastrand::u32(..1 << 24));
    let voices = match &settings.messages {
        None => clients(settings, plan, &tag).map(Voice::Ours).collect::<Vec<_>>(),
        Some(messages) => {
            shared.tally.borrow_mut().board = Board::new(plan, messages.echo);
            foreign::users(messages, plan, settings.text_bytes, &tag).into_iter().map(Voice::Others).collect()
        }
    };
    let people = plan.people.iter().zip(voices).enumerate();
    let users = people.map(|(at, (person, voice))| {
        let who = settings.tokens.get(at).map_or_else(
            || Who::Named { user: format!("u{at}"), role: person.role },
            |token| Who::Token(token.clone()),
        );
        Rc::new(User::new(at, who, shared.source(at), person.rooms.clone(), &person.talks, voice))
    });
    users.collect()
}

/// Clients of ours.
fn clients(settings: &Settings, plan: &Plan, tag: &str) -> impl Iterator<Item = Client> {
    plan.people.iter().enumerate().map(move |(at, person)| {
        let rooms = person.rooms.iter().map(|room| format!("load-{tag}-{room}"));
        // Keys are an author's own in a room, and the rooms are new.
        Client::new(settings.subprotocol, &format!("{at}"), rooms)
    })
}

struct Run<'a, P> {
    settings: &'a Settings,
    plan: Plan,
    shared: Rc<Shared>,
    users: Vec<Rc<User>>,
    server: Option<Process>,
    tool: Process,
    progress: &'a P,
}

impl<P: Progress> Run<'_, P> {
    async fn whole(&mut self) -> Result<Measurement, RunError> {
        let mut memory = Memory { before: self.memory()?, ..Memory::default() };
        let begun = Instant::now();
        self.open().await?;
        let opening = begun.elapsed();
        if self.is_silent() {
            self.wait("waiting", self.settings.warm_up).await;
        } else if self.server.is_some() || self.settings.messages.as_ref().is_some_and(Messages::tells_nobody)
        {
            self.wait("waiting", QUIET).await;
        }
        memory.open = self.memory()?;
        let pacer = self.talk();
        if !self.is_silent() {
            self.wait("warming up", self.settings.warm_up).await;
        }
        let word_before = self.word().await;
        let storms = self.storms();
        let before = self.look()?;
        self.server.iter_mut().for_each(Process::mark);
        self.shared.tally.borrow_mut().begin_window();
        self.measure(&mut memory).await?;
        let after = self.look()?;
        let busiest_thread = self.server.as_ref().map(Process::busiest_thread).unwrap_or_default();
        let descriptors = self.descriptors()?;
        self.shared.tally.borrow_mut().end_window();
        let word_after = self.word().await;
        self.progress.begin("settling", 0);
        self.shared.is_talking.set(false);
        pacer.abort();
        let whole_storm = ended(storms, self.settings.settle).await;
        verify::settle(&self.users, &self.shared, self.settings.settle).await;
        let words = (word_before, word_after);
        let processors = processors()?;
        let found = Found {
            opening,
            before,
            after,
            busiest_thread,
            memory,
            descriptors,
            processors,
            words,
            whole_storm,
        };
        Ok(self.conclude(&found))
    }

    /// Another's server has no figures that we could read.
    async fn word(&self) -> Word {
        match &self.settings.messages {
            None => Word::of(&self.shared.target).await,
            Some(_) => Word::none(),
        }
    }

    fn is_silent(&self) -> bool {
        self.plan.people.iter().all(|person| person.talks.is_empty())
    }

    fn memory(&self) -> Result<u64, RunError> {
        Ok(self.server.as_ref().map(Process::memory_bytes).transpose()?.unwrap_or_default())
    }

    fn look(&mut self) -> Result<Look, RunError> {
        let server = self.server.as_mut().map(Process::cpu).transpose()?.unwrap_or_default();
        let tool = self.tool.cpu()?;
        let traffic = self.shared.tally.borrow().traffic;
        Ok(Look { at: Instant::now(), server, tool, traffic, machine: glance()? })
    }

    fn descriptors(&self) -> Result<Option<Descriptors>, RunError> {
        let server = self.server.as_ref();
        Ok(server.map(|server| descriptors(server.pid())).transpose()?.flatten())
    }

    /// Connects everybody.
    async fn open(&self) -> Result<(), RunError> {
        let count = self.users.len();
        self.progress.begin("connecting", count as u64);
        for user in &self.users {
            spawn_local(Rc::clone(user).live(Rc::clone(&self.shared)));
        }
        while self.shared.live.get() < count {
            let arrival = timeout(ANSWER_MAX, self.shared.arrived.notified()).await;
            let live = self.shared.live.get();
            self.progress.at(live as u64);
            if let Some(error) = self.shared.take_given_up() {
                return Err(error);
            }
            if arrival.is_err() && live < count {
                return Err(RunError::Stuck { live, count });
            }
        }
        // Who comes back later waits for nobody but the server.
        self.shared.opening.add_permits(count);
        Ok(())
    }

    /// Lets time pass.
    async fn wait(&self, part: &'static str, long: Duration) {
        self.progress.begin(part, millis(long));
        let begun = Instant::now();
        while begun.elapsed() < long {
            sleep(LOOK.min(long.saturating_sub(begun.elapsed()))).await;
            self.progress.at(millis(begun.elapsed()));
        }
    }

    /// Everybody who talks begins to.
    fn talk(&self) -> JoinHandle<()> {
        let paced = self.plan.deliveries_a_round();
        self.shared.tally.borrow_mut().stride = if self.plan.is_flooded() {
            FLOOD_STRIDE
        } else {
            (rounded(ratio(paced, 1) * self.settings.rate) / SAMPLES_PER_S).max(1)
        };
        self.shared.is_talking.set(true);
        for user in &self.users {
            user.begin_flood(&self.shared);
        }
        let talks = self.users.iter().zip(&self.plan.people).flat_map(|(user, person)| {
            let paced = person.talks.iter().filter(|(_, pace)| *pace == Pace::Rate);
            paced.map(|(room, _)| (Rc::clone(user), *room))
        });
        let period = Duration::from_secs_f64(self.settings.rate.recip());
        spawn_local(pacer::pace(pacer::scatter(talks.collect()), period, Rc::clone(&self.shared)))
    }

    fn storms(&self) -> JoinHandle<Duration> {
        let (storms, within) = (self.settings.storms, self.settings.storm);
        let gap = self.settings.measured / storms.saturating_add(1);
        spawn_local(storm::storms(self.users.clone(), storms, gap, within, Rc::clone(&self.shared)))
    }

    /// Measures for its time.
    async fn measure(&mut self, memory: &mut Memory) -> Result<(), RunError> {
        self.progress.begin("measuring", millis(self.settings.measured));
        let begun = Instant::now();
        while begun.elapsed() < self.settings.measured {
            sleep(LOOK.min(self.settings.measured.saturating_sub(begun.elapsed()))).await;
            self.look()?;
            memory.max = memory.max.max(self.memory()?);
            self.progress.at(millis(begun.elapsed()));
        }
        Ok(())
    }

    /// What came of it.
    fn conclude(&self, found: &Found) -> Measurement {
        let verdict = verify::verify(&self.users, &self.shared);
        for user in &self.users {
            user.end();
        }
        let tally = self.shared.tally.borrow();
        let (settings, users) = (self.settings, self.users.len());
        Measurement {
            scenario: settings.scenario,
            users,
            rooms: self.plan.rooms_used(),
            subprotocol: settings
                .messages
                .as_ref()
                .map_or_else(|| settings.subprotocol.name().to_owned(), |_| "messages by flags".to_owned()),
            has_acks: settings.messages.as_ref().is_none_or(Messages::has_acks),
            text_bytes: settings.text_bytes,
            rate: settings.rate,
            seconds: found.seconds(),
            opening_seconds: found.opening.as_secs_f64(),
            traffic: found.traffic(),
            delivery: Latency::of(&tally.delivery),
            ack: Latency::of(&tally.ack),
            lateness: Latency::of(&tally.lateness),
            server: self.server.as_ref().map(|server| found.server_cost(server.pid(), users as u64)),
            figures: found.figures(),
            figures_missing: found.figures_missing(),
            capacity: found.capacity(),
            machine: found.machine_cost(),
            tool: found.tool_cost(),
            storms: (settings.storms > 0).then(|| Storms {
                storms: settings.storms,
                within_seconds: settings.storm.as_secs_f64(),
                dropped: tally.dropped,
                resume: Latency::of(&tally.resume),
                whole_ms: found.whole_storm.map(|whole| whole.as_secs_f64() * 1e3),
                refused: tally.knocks_refused,
            }),
            verdict,
        }
    }
}

/// How long the longest storm took, where all came back in time.
async fn ended(storms: JoinHandle<Duration>, within: Duration) -> Option<Duration> {
    let abort = storms.abort_handle();
    let ended = timeout(within, storms).await;
    abort.abort();
    ended.ok()?.ok()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, far from any bound")]
const fn rounded(count: f64) -> u64 {
    count as u64
}
