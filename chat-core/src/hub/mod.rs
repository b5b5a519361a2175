//! One node: its rooms, its committer, and the work that it hands to the driver.
//!
//! The hub runs nothing itself. The driver (or the simulator) takes what [`Hub::poll_batch`], [`Hub::poll_ends`] and
//! [`Hub::poll_task`] give, asks the store, and hands back what it said.
//!
//! Locks, each held for a few lines and none across another but in this order: `rooms`, one room, a mailbox.

mod burden;
mod job;
mod rooms;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

pub(crate) use self::job::{Address, DIRECT_PREFIX, Done, Job, OpenError, PageJob, Task, read_history, run};
use self::rooms::{Ask, Rooms};
use crate::{
    bell::Doorbell,
    bus::Notice,
    committer::{Committer, ReplyTo, Settled, Submission},
    ids::{ConnId, RoomId, RoomNo, Seq, UserId},
    limits::{Limits, READ_MARK_DELAY, STORE_RETRY_MAX, STORE_RETRY_MIN},
    mail::{Letter, News, Opened},
    metrics::Metrics,
    policy::Policy,
    protocol::{CommandError, EventBody},
    rights::Identity,
    room::RoomCell,
    store::{Append, Appended, Change, Committed, Outcomes, Page, ReadMark, RoomView, StoreError},
    strain::Relief,
    time::Now,
};

/// What to do about a `join` of a room that is not there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingRooms {
    /// It is not there.
    #[default]
    NotFound,
    /// Make it, public, as long as the store has fewer than this many.
    Create {
        /// The bound.
        rooms_max: u64,
    },
}

/// The shared state of one node.
#[derive(Debug)]
pub(crate) struct Hub {
    /// The bounds that clients are told of.
    pub limits: Limits,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) metrics: Metrics,
    relief: Relief,
    missing: MissingRooms,
    rooms: Mutex<Rooms>,
    committer: Mutex<Committer>,
    tasks: Mutex<VecDeque<Task>>,
    /// Tasks that are not done: waiting, running, or to be tried again.
    open_tasks: AtomicUsize,
    timers: Mutex<Timers>,
    marks: Mutex<BTreeMap<(RoomNo, UserId), Seq>>,
    looks: Mutex<Looks>,
    /// Rung when the committer may have something to do.
    pub commit_bell: Doorbell,
    /// Rung when there are tasks.
    pub task_bell: Doorbell,
    /// Rung when there is an earlier timer.
    pub timer_bell: Doorbell,
}

/// Rooms whose ends are asked for in one question.
const ROOMS_ASKED_MAX: usize = 1000;

/// When a room that was brought into memory is looked at again: it leaves where nobody came.
const UNUSED_ROOM_DELAY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Timers {
    due: BTreeMap<(Duration, u64), Timer>,
    next: u64,
}

/// The look at where the rooms in memory end. There is one at a time: who looks again and again at a store that does not
/// answer would else have ever more questions to it.
#[derive(Debug, Default)]
struct Looks {
    /// Questions of the look that are not answered.
    open: usize,
    /// Something may have been lost since they were asked.
    again: bool,
}

#[derive(Debug)]
enum Timer {
    /// Something is due in a room.
    Room(Arc<RoomCell>),
    /// A room that nobody may have come to.
    Unused(Arc<RoomCell>),
    Marks,
    Retry(Task),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is changed wholly or not at all: a panic elsewhere leaves it in order.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A node without rooms.
    pub(crate) fn new(limits: Limits, policy: Arc<dyn Policy>, missing: MissingRooms) -> Self {
        Self {
            limits,
            policy,
            metrics: Metrics::new(),
            relief: Relief::new(),
            missing,
            rooms: Mutex::default(),
            committer: Mutex::default(),
            tasks: Mutex::default(),
            open_tasks: AtomicUsize::new(0),
            timers: Mutex::default(),
            marks: Mutex::default(),
            looks: Mutex::default(),
            commit_bell: Doorbell::default(),
            task_bell: Doorbell::default(),
            timer_bell: Doorbell::default(),
        }
    }

    /// Whether nothing waits for a commit and nothing for the store.
    pub(crate) fn is_idle(&self) -> bool {
        let tasks = self.open_tasks.load(Ordering::Acquire);
        tasks == 0 && lock(&self.committer).is_idle() && lock(&self.marks).is_empty()
    }

    /// Whether the store owes this node an answer, or will be asked for one.
    #[cfg(feature = "testing")]
    pub(crate) fn is_asking(&self) -> bool {
        let committer = lock(&self.committer);
        let commits = !committer.is_idle() || committer.poll_timeout().is_some();
        commits || self.open_tasks.load(Ordering::Acquire) > 0
    }

    /// How many rooms are in memory.
    #[cfg(feature = "testing")]
    pub(crate) fn rooms_in_memory(&self) -> usize {
        lock(&self.rooms).len()
    }

    // Commits.

    /// Takes an append on its way.
    ///
    /// # Errors
    /// `overloaded` or `unavailable`: it is not on its way then.
    pub(crate) fn submit(&self, now: Now, submission: Submission) -> Result<(), CommandError> {
        if matches!(submission.append.change, Change::Message(_)) {
            self.metrics.received();
        }
        let mut committer = lock(&self.committer);
        if self.refuses(&committer, &submission.append.change) {
            let error = CommandError::overloaded();
            self.metrics.send_failed(error.code);
            return Err(error);
        }
        let taken = committer.handle_append(now.mono, submission);
        // In between, the committer's own timer wakes it.
        if committer.depth() == 1 || committer.poll_timeout() == Some(Duration::ZERO) {
            self.commit_bell.ring();
        }
        drop(committer);
        taken.inspect_err(|error| self.metrics.send_failed(error.code))
    }

    /// The next batch for [`Store::append`](crate::store::Store::append); then [`Hub::handle_outcomes`] is owed.
    pub(crate) fn poll_batch(&self, now: Now) -> Option<Vec<Append>> {
        let mut committer = lock(&self.committer);
        let batch = committer.poll_batch(now.mono);
        self.metrics.queue(committer.depth());
        batch
    }

    /// When to ask the committer again; `None` until its bell rings.
    pub(crate) fn poll_commit_timeout(&self) -> Option<Duration> {
        lock(&self.committer).poll_timeout()
    }

    /// What the store said to a batch, and how long it took. What was committed goes live, and every sender is told.
    /// Returns what other nodes should hear.
    pub(crate) fn handle_outcomes(
        &self,
        now: Now,
        took: Duration,
        outcomes: Result<Outcomes, StoreError>,
    ) -> Vec<Notice> {
        if let Ok(outcomes) = &outcomes {
            self.metrics.batch(outcomes.len(), took);
        }
        let settled = lock(&self.committer).handle_outcomes(now.mono, outcomes);
        let mut by_room: BTreeMap<RoomNo, (Duration, Vec<Committed>)> = BTreeMap::new();
        for settled in &settled {
            if let Ok(Appended::New(committed)) = &settled.outcome {
                let (received, commits) =
                    by_room.entry(committed.room()).or_insert((settled.received, Vec::new()));
                *received = settled.received.min(*received);
                commits.push(committed.clone());
            }
        }
        // A sender looks for its ack as soon as it is told: it must find it in the tail then, and all others later.
        let mut cells = Vec::with_capacity(by_room.len());
        for (received, commits) in by_room.values() {
            let is_message = |committed: &&Committed| matches!(committed.event().body, EventBody::Message(_));
            self.metrics.committed(commits.iter().filter(is_message).count());
            cells.extend(self.take_commits(now, *received, commits));
        }
        for settled in settled {
            self.tell(settled);
        }
        for cell in &cells {
            self.wake(now, cell);
        }
        by_room.into_values().map(|(_, commits)| Notice::Committed(commits.into())).collect()
    }

    /// The rooms whose ends the store must tell before commits go on; then [`Hub::handle_ends`] is owed.
    pub(crate) fn poll_ends(&self, now: Now) -> Option<Vec<RoomNo>> {
        lock(&self.committer).poll_ends(now.mono)
    }

    /// Where the store says those rooms end: what was committed although its outcome was lost is read and goes live.
    /// Returns what other nodes should hear.
    pub(crate) fn handle_ends(&self, now: Now, ends: Result<Vec<Option<Seq>>, StoreError>) -> Vec<Notice> {
        let ends = lock(&self.committer).handle_ends(now.mono, ends);
        self.commit_bell.ring();
        for (room, last) in &ends {
            self.handle_store_end(*room, *last);
        }
        let notice = |(no, last): (RoomNo, Option<Seq>)| Some(Notice::End { no, last: last? });
        ends.into_iter().filter_map(notice).collect()
    }

    fn tell(&self, Settled { reply_to, outcome, .. }: Settled) {
        if let Err(error) = &outcome {
            self.metrics.send_failed(error.code);
        }
        match reply_to {
            ReplyTo::Session(mailbox, ticket) => {
                mailbox.post(Letter { ticket, news: News::Settled(outcome) });
            }
            // Who no longer waits needs no answer.
            ReplyTo::Caller(caller) => drop(caller.send(outcome)),
        }
    }

    // What the store is asked besides.

    /// Asks the store for something.
    pub(crate) fn ask(&self, job: Job) {
        self.open_tasks.fetch_add(1, Ordering::AcqRel);
        self.push(Task { job, pause: STORE_RETRY_MIN });
    }

    /// What a whole room waits for goes before what one connection does.
    fn push(&self, task: Task) {
        let mut tasks = lock(&self.tasks);
        match task.job {
            Job::Fill { .. } | Job::Look(_) | Job::Ends(_) => tasks.push_front(task),
            _ => tasks.push_back(task),
        }
        drop(tasks);
        self.task_bell.ring();
    }

    /// Asks for a room to be in memory, made where it is missing and may be; the answer is [`News::Opened`].
    pub(crate) fn open(&self, room: &RoomId, who: Identity, address: Address) {
        let ask = lock(&self.rooms).announce(room);
        self.ask(Job::Open { room: room.clone(), who, missing: self.missing, ask, address });
    }

    /// The next thing to ask the store, with [`run`]; then [`Hub::handle_done`] is owed.
    pub(crate) fn poll_task(&self) -> Option<Task> {
        lock(&self.tasks).pop_front()
    }

    /// What the store said.
    pub(crate) fn handle_done(&self, now: Now, task: Task, done: Done) {
        if let Some(again) = self.take_done(now, task, done) {
            self.at(now.mono + again.pause, Timer::Retry(again));
        } else {
            self.open_tasks.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Passes on what the store said. Where it did not answer something that nobody gives up, it is to be asked again.
    fn take_done(&self, now: Now, Task { job, pause }: Task, done: Done) -> Option<Task> {
        match (job, done) {
            (Job::Open { room, who, ask, address, .. }, Done::View(view)) => {
                self.opened(now, (&room, ask), who, address, view);
            }
            (Job::View { who, address, .. }, Done::View(view)) => {
                let seen = view.map_err(CommandError::from).and_then(|view| {
                    let role = view.and_then(|view| view.role(who.actor().authority));
                    role.map(|_| ()).ok_or_else(CommandError::no_such_room)
                });
                address.send(News::Viewed(seen));
            }
            (Job::Renew { address, .. }, Done::View(Ok(view))) => {
                address.send(News::Renewed(view.map(Box::new)));
            }
            (Job::History { address, .. }, Done::History(history)) => address.send(News::History(history)),
            (Job::Page(PageJob { address, .. }), Done::Page(Ok(page))) => address.send(News::Page(page)),
            (Job::Fill { cell, .. }, Done::Page(Ok(page))) => self.filled(now, &cell, page.ok()),
            (Job::Ends(_), Done::Ends(Ok(ends))) => self.handle_store_ends(ends),
            (Job::Look(_), Done::Ends(Ok(ends))) => {
                self.handle_store_ends(ends);
                self.looked();
            }
            (Job::SaveMarks(_), Done::Saved(Ok(()))) => {}
            (Job::SaveMarks(marks), Done::Saved(Err(_))) => {
                for mark in marks {
                    self.mark(now, mark);
                }
            }
            (job, done) => {
                // Once: who brought the store down has told more, and a store may be away for long.
                if pause == STORE_RETRY_MIN {
                    tracing::warn!(?done, "the store did not answer: it is asked again");
                } else {
                    tracing::debug!(?done, "the store does not answer still");
                }
                return Some(Task { job, pause: (pause * 2).min(STORE_RETRY_MAX) });
            }
        }
        None
    }

    fn opened(
        &self,
        now: Now,
        (room, ask): (&RoomId, Ask),
        who: Identity,
        address: Address,
        view: Result<Option<RoomView>, OpenError>,
    ) {
        let found = view.map_err(CommandError::from).and_then(|view| {
            let view = view.ok_or_else(CommandError::no_such_room)?;
            let role = view.role(who.actor().authority).ok_or_else(CommandError::no_such_room)?;
            Ok((view, role))
        });
        let (mut view, role) = match found {
            Ok(found) => found,
            Err(error) => {
                lock(&self.rooms).give_up(room, ask);
                return address.send(News::Opened(Err(error)));
            }
        };
        let entered = lock(&self.rooms).enter(&view, ask, (&self.limits, &self.relief));
        // Otherwise the reading is older than what is in memory.
        let Some(cell) = entered else { return self.open(room, who, address) };
        let moved = lock(&self.marks).get(&(cell.no, who.user)).copied();
        view.read = view.read.max(moved.unwrap_or_default());
        cell.lock().handle_store_end(view.room.last_seq);
        self.fill(&cell);
        // Who asked may be gone by now.
        self.at(now.mono + UNUSED_ROOM_DELAY, Timer::Unused(cell.clone()));
        self.metrics.rooms(lock(&self.rooms).len());
        address.send(News::Opened(Ok(Opened { cell, view: Box::new(view), role })));
    }

    // Rooms.

    /// Takes what another node has to tell.
    pub(crate) fn handle_notice(&self, now: Now, notice: &Notice) {
        match notice {
            Notice::Committed(commits) => self.handle_commits(now, commits),
            Notice::End { no, last } => self.handle_store_end(*no, Some(*last)),
            Notice::Deleted { room, no } => self.handle_deleted(room, *no),
        }
    }

    /// Notices may have been lost: asks the store where the rooms in memory end. Where it has not answered yet what was
    /// asked so before, it is asked again when it has.
    pub(crate) fn handle_lost(&self) {
        let rooms = lock(&self.rooms).numbers();
        let questions = rooms.chunks(ROOMS_ASKED_MAX);
        let mut looks = lock(&self.looks);
        if looks.open > 0 {
            looks.again = true;
            return;
        }
        looks.open = questions.len();
        drop(looks);
        questions.for_each(|rooms| self.ask(Job::Look(rooms.to_vec())));
    }

    /// One question of a look is answered.
    fn looked(&self) {
        let mut looks = lock(&self.looks);
        looks.open -= 1;
        let again = looks.open == 0 && std::mem::take(&mut looks.again);
        drop(looks);
        if again {
            self.handle_lost();
        }
    }

    /// Takes commits of one room from another node, and wakes its readers.
    fn handle_commits(&self, now: Now, commits: &[Committed]) {
        if let Some(cell) = self.take_commits(now, now.mono, commits) {
            self.wake(now, &cell);
        }
    }

    /// Takes commits of one room, the first of which was received at `received`. Its readers are still to be woken.
    fn take_commits(&self, now: Now, received: Duration, commits: &[Committed]) -> Option<Arc<RoomCell>> {
        let cell = lock(&self.rooms).committed(commits.last()?)?;
        cell.lock().handle_commits(now.mono, received, commits);
        Some(cell)
    }

    fn wake(&self, now: Now, cell: &Arc<RoomCell>) {
        cell.lock().wake_due(now.mono);
        self.arm(cell);
        self.fill(cell);
    }

    fn handle_store_ends(&self, ends: Vec<(RoomNo, Option<Seq>)>) {
        for (room, last) in ends {
            self.handle_store_end(room, last);
        }
    }

    fn handle_store_end(&self, room: RoomNo, last: Option<Seq>) {
        let Some(cell) = lock(&self.rooms).find(room) else { return };
        match last {
            Some(last) => {
                cell.lock().handle_store_end(last);
                self.fill(&cell);
            }
            None => self.handle_deleted(&cell.id, room),
        }
    }

    /// A room's incarnation is gone: everybody leaves it.
    pub(crate) fn handle_deleted(&self, room: &RoomId, no: RoomNo) {
        let cell = lock(&self.rooms).deleted(room, no);
        if let Some(cell) = cell {
            cell.lock().close();
        }
    }

    /// The events of a room before `first` are kept no longer.
    pub(crate) fn handle_trimmed(&self, room: RoomNo, first: Seq) {
        let cell = lock(&self.rooms).find(room);
        if let Some(cell) = cell {
            cell.lock().handle_trimmed(first);
        }
    }

    /// Has a hole between a room's tail and the store filled, where there is one.
    fn fill(&self, cell: &Arc<RoomCell>) {
        let after = cell.lock().poll_fill();
        if let Some(after) = after {
            self.ask(Job::Fill { cell: cell.clone(), after, limits: self.limits });
        }
    }

    fn filled(&self, now: Now, cell: &Arc<RoomCell>, page: Option<Page>) {
        match page {
            Some(page) => {
                cell.lock().handle_filled(now.mono, page);
                self.arm(cell);
                self.fill(cell);
                self.retire(cell);
            }
            None => self.handle_deleted(&cell.id, cell.no),
        }
    }

    /// A connection leaves a room, which leaves memory when it was the last.
    pub(crate) fn detach(&self, now: Now, cell: &Arc<RoomCell>, conn: ConnId) {
        let delivered = cell.lock().detach(now.mono, conn);
        self.delivered(now, delivered);
        self.arm(cell);
        self.retire(cell);
    }

    /// What was received at these times has reached everybody whom it should.
    pub(crate) fn delivered(&self, now: Now, received: Vec<Duration>) {
        for received in received {
            self.metrics.delivered_all(now.mono.saturating_sub(received));
        }
    }

    fn retire(&self, cell: &Arc<RoomCell>) {
        let mut rooms = lock(&self.rooms);
        if cell.lock().retire() {
            rooms.forget(cell);
        }
        self.metrics.rooms(rooms.len());
    }

    /// The user of a connection is writing.
    pub(crate) fn typing(&self, now: Now, cell: &Arc<RoomCell>, conn: ConnId) {
        cell.lock().typing(now.mono, conn);
        self.arm(cell);
    }

    /// The user of a connection has read up to `seq`.
    pub(crate) fn read(&self, now: Now, cell: &Arc<RoomCell>, conn: ConnId, seq: Seq) {
        let moved = cell.lock().read(now.mono, conn, seq);
        self.arm(cell);
        if let Some((user, seq)) = moved {
            self.mark(now, ReadMark { room: cell.no, user, seq });
        }
    }

    /// Keeps a read mark to be written soon.
    fn mark(&self, now: Now, ReadMark { room, user, seq }: ReadMark) {
        let mut marks = lock(&self.marks);
        let first = marks.is_empty();
        let mark = marks.entry((room, user)).or_default();
        *mark = seq.max(*mark);
        drop(marks);
        if first {
            self.at(now.mono + READ_MARK_DELAY, Timer::Marks);
        }
    }

    /// Has the read marks written that moved.
    pub(crate) fn save_marks(&self) {
        let marks = std::mem::take(&mut *lock(&self.marks));
        let mark = |((room, user), seq)| ReadMark { room, user, seq };
        if !marks.is_empty() {
            self.ask(Job::SaveMarks(marks.into_iter().map(mark).collect()));
        }
    }

    // Timers.

    /// Sets the timer that a room asks for.
    pub(crate) fn arm(&self, cell: &Arc<RoomCell>) {
        let timer = cell.lock().poll_timer();
        if let Some(at) = timer {
            self.at(at, Timer::Room(cell.clone()));
        }
    }

    fn at(&self, at: Duration, timer: Timer) {
        let mut timers = lock(&self.timers);
        timers.next += 1;
        let key = (at, timers.next);
        let sooner = timers.due.first_key_value().is_none_or(|(first, _)| key < *first);
        timers.due.insert(key, timer);
        drop(timers);
        if sooner {
            self.timer_bell.ring();
        }
    }

    /// When to call [`Hub::handle_timeout`]; `None` until its bell rings.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        lock(&self.timers).due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&self, now: Now) {
        while let Some(timer) = self.pop_due(now.mono) {
            match timer {
                Timer::Marks => self.save_marks(),
                Timer::Retry(task) => self.push(task),
                Timer::Unused(cell) => self.retire(&cell),
                Timer::Room(cell) => {
                    cell.lock().handle_timeout(now.mono);
                    self.arm(&cell);
                    self.retire(&cell);
                }
            }
        }
    }

    fn pop_due(&self, now: Duration) -> Option<Timer> {
        let mut timers = lock(&self.timers);
        let entry = timers.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }
}
