//! A room with people in it: its live tail, who reads it up to where, and who is there.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    bell::Stir,
    gather::{Gather, News, Rounds},
    ids::{ConnId, Epoch, RoomId, RoomNo, Seq, UserId},
    limits::{BARRIERS_MAX, Limits, ONLINE_IDS_MAX, TAIL_SHARES},
    presence::{Presence, Spoken},
    protocol::{Event, EventBody, LeftReason, MemberChange},
    rights::{Standing, Visibility},
    store::{Committed, Page, RoomView},
    strain::Relief,
    tail::{Block, Found, Tail},
};

/// A room in memory, shared by the connections in it.
///
/// Lock order: the hub's map of rooms, then one room, then mailboxes. No one locks two rooms.
#[derive(Debug)]
pub(crate) struct RoomCell {
    /// The store's number of it.
    pub no: RoomNo,
    /// Its id.
    pub id: RoomId,
    /// Its random id.
    pub epoch: Epoch,
    room: Mutex<Room>,
}

impl RoomCell {
    /// A room as the store has it, of a node with this strain.
    pub(crate) fn new(view: &RoomView, limits: &Limits, relief: &Relief) -> Self {
        let record = &view.room;
        Self {
            no: record.no,
            id: record.id.clone(),
            epoch: record.epoch.clone(),
            room: Mutex::new(Room::new(view, limits, relief)),
        }
    }

    /// The room itself.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Room> {
        // A panic in one connection must not take the room from the others; every change below is whole or none.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a connection's right to read ends, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// The last event that it may see; [`Seq::ZERO`] where it sees nothing more.
    pub seq: Seq,
    /// What it is told.
    pub reason: LeftReason,
}

/// What a connection may be given of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Where its right to read ends, if it does.
    pub end: Option<End>,
    /// The newest live event: the room knows of no end, and of no deletion, beyond it.
    pub live: Seq,
    /// A page that was read before this event may have a text that is deleted.
    pub deletion: Seq,
}

/// What a connection learns as it comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The oldest event that is kept.
    pub first_seq: Seq,
    /// The newest event: live begins after it.
    pub last_seq: Seq,
    /// Who is there, the first of them in order of ids.
    pub online: Vec<UserId>,
    /// How many users are there.
    pub online_count: usize,
    /// From where to listen to what is told but not kept.
    pub heard: u64,
}

/// Rights were read before something changed them, or the room is leaving memory: read them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stale;

/// What a connection finds when it looks.
#[derive(Debug)]
pub(crate) struct Look {
    /// Whether the tail has what comes next.
    pub found: Found,
    /// What comes next, and perhaps something before and beyond it.
    pub block: Option<Arc<Block>>,
    /// The newest live event.
    pub live: Seq,
    /// Where its right ends, if it does.
    pub end: Option<End>,
    /// The receipts of what has now, with this connection, reached everybody.
    pub delivered: Vec<Duration>,
    /// From where to listen next.
    pub heard: u64,
}

/// What a connection looks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader {
    /// When.
    pub(crate) now: Duration,
    /// Who looks.
    pub conn: ConnId,
    /// Everything up to here it has.
    pub position: Seq,
    /// Up to here it replays: there it wants messages as they now are.
    pub replay_until: Seq,
    /// From where it listens to what is not kept.
    pub heard: u64,
}

/// What a connection finds that is not in the room.
const CLOSED: Option<End> = Some(End { seq: Seq::ZERO, reason: LeftReason::Closed });

/// The state of a room.
#[derive(Debug)]
pub(crate) struct Room {
    /// Who may come in, and since which event that is known. `None` after a hole that is lost.
    visibility: Option<(Visibility, Seq)>,
    first_seq: Seq,
    tail: Tail,
    /// The highest number known to be in the store: beyond the tail while a hole is being filled.
    known: Seq,
    /// The newest `deleted` event: what was read from the store before it may still have the text.
    deletion: Seq,
    filling: bool,
    people: BTreeMap<ConnId, Person>,
    relief: Relief,
    gather: Gather,
    rounds: Rounds,
    tail_bytes: usize,
    presence: Presence,
    barriers: Barriers,
    closed: bool,
    retired: bool,
    timer: Option<Duration>,
}

/// A connection in the room.
#[derive(Debug)]
struct Person {
    user: UserId,
    member: bool,
    /// Up to here its rights were read from the store: what changed them before counts no more.
    as_of: Seq,
    /// Whether what changed them is not known: they must be read again.
    unsure: bool,
    end: Option<End>,
    /// Whether it reads from the tail, and so counts among those whom a delivery has to reach.
    live: bool,
    /// It has found everything up to here.
    passed: Seq,
    /// It is waited for in the round up to here.
    counted: Seq,
    /// It has listened up to here.
    heard: u64,
    stir: Stir,
}

/// The last events that changed somebody's rights.
#[derive(Debug)]
struct Barriers {
    changes: VecDeque<(Seq, Concerned)>,
    /// All changes after this number are in the list.
    since: Seq,
}

#[derive(Debug)]
enum Concerned {
    User(UserId),
    Everyone,
}

impl Barriers {
    fn push(&mut self, seq: Seq, concerned: Concerned) {
        if self.changes.len() == BARRIERS_MAX
            && let Some((oldest, _)) = self.changes.pop_front()
        {
            self.since = oldest;
        }
        self.changes.push_back((seq, concerned));
    }

    /// Whether rights read when the room ended at `as_of` still hold.
    fn hold(&self, user: &UserId, as_of: Seq) -> bool {
        let concerns = |concerned: &Concerned| match concerned {
            Concerned::User(one) => one == user,
            Concerned::Everyone => true,
        };
        let mut later = self.changes.iter().rev().take_while(|(seq, _)| *seq > as_of);
        as_of >= self.since && !later.any(|(_, concerned)| concerns(concerned))
    }
}

impl Room {
    fn new(view: &RoomView, limits: &Limits, relief: &Relief) -> Self {
        let record = &view.room;
        Self {
            visibility: Some((record.visibility, record.last_seq)),
            first_seq: record.first_seq,
            tail: Tail::new(record.last_seq, limits.tail_bytes),
            known: record.last_seq,
            deletion: Seq::ZERO,
            filling: false,
            people: BTreeMap::new(),
            relief: relief.clone(),
            gather: Gather::new(limits.gathering),
            rounds: Rounds::default(),
            tail_bytes: limits.tail_bytes,
            presence: Presence::new(record.id.clone(), relief.clone()),
            barriers: Barriers { changes: VecDeque::new(), since: record.last_seq },
            closed: false,
            retired: false,
            timer: None,
        }
    }

    /// Lets a connection in whose user's rights were read as `view`, and found to allow it.
    ///
    /// # Errors
    /// [`Stale`] where rights have changed since, or the room is on its way out of memory.
    pub(crate) fn attach(
        &mut self,
        now: Duration,
        conn: ConnId,
        user: &UserId,
        view: &RoomView,
        stir: Stir,
    ) -> Result<Entry, Stale> {
        if self.closed || self.retired || !self.barriers.hold(user, view.room.last_seq) {
            return Err(Stale);
        }
        let member = matches!(view.standing, Standing::Member(_));
        let person = Person {
            user: user.clone(),
            member,
            as_of: view.room.last_seq,
            unsure: false,
            end: None,
            live: true,
            passed: self.tail.last(),
            counted: Seq::ZERO,
            heard: self.presence.talk().next(),
            stir,
        };
        self.people.insert(conn, person);
        self.bound_tail();
        self.learn_visibility(view);
        self.handle_trimmed(view.room.first_seq);
        self.talk(now, |presence| presence.enter(now, user, view.read));
        Ok(self.entry())
    }

    /// The rights of a connection that was unsure of them were read again, and found to allow it to stay.
    pub(crate) fn renew(&mut self, conn: ConnId, view: &RoomView) {
        self.learn_visibility(view);
        if let Some(person) = self.people.get_mut(&conn) {
            person.member = matches!(view.standing, Standing::Member(_));
            person.as_of = view.room.last_seq;
            person.unsure = !self.barriers.hold(&person.user, person.as_of);
        }
    }

    /// What a connection that comes in now learns.
    pub(crate) fn entry(&self) -> Entry {
        Entry {
            first_seq: self.first_seq,
            last_seq: self.tail.last(),
            online: self.presence.online().take(ONLINE_IDS_MAX).cloned().collect(),
            online_count: self.presence.online_count(),
            heard: self.presence.talk().next(),
        }
    }

    /// A connection goes. Returns the receipts of what has now reached all who are left.
    pub(crate) fn detach(&mut self, now: Duration, conn: ConnId) -> Vec<Duration> {
        let Some(person) = self.people.remove(&conn) else { return Vec::new() };
        self.bound_tail();
        if person.end.is_none() {
            self.presence.exit(now, &person.user);
        }
        self.rounds.pass(person.counted, person.passed, Seq::MAX)
    }

    /// Where very many read, falling off the tail would have them all read the store.
    fn bound_tail(&mut self) {
        let share = self.tail_bytes / TAIL_SHARES;
        self.tail.set_bytes_max(self.tail_bytes.max(share.saturating_mul(self.people.len())));
    }

    /// Looks what there is for a connection; `spoken` gets what is told but not kept.
    ///
    /// A connection that is not in the room finds that its right ended at once.
    pub(crate) fn look(&mut self, reader: &Reader, spoken: &mut Vec<Arc<Spoken>>) -> Look {
        let live = self.tail.last();
        let heard = reader.heard;
        let Some(person) = self.people.get_mut(&reader.conn).filter(|_| !self.closed) else {
            return Look { found: Found::Live, block: None, live, end: CLOSED, delivered: Vec::new(), heard };
        };
        person.stir.settle();
        let end = person.end;
        let replays_changed = reader.position < reader.replay_until && reader.position < self.tail.touched();
        let (found, block) = if person.unsure && end.is_none() {
            (Found::Unsure, None)
        } else if replays_changed && reader.position < live {
            (Found::Behind, None)
        } else {
            self.tail.after(reader.position)
        };
        person.live = found == Found::Live;
        // Nothing that is under way waits for one who falls behind.
        let up_to = if person.live { block.map_or(reader.position, |block| block.last()) } else { live };
        // A reader that the store has fed may be ahead of what is live.
        let found_up_to = up_to.min(live);
        let delivered = self.rounds.pass(person.counted, person.passed, found_up_to);
        person.passed = person.passed.max(found_up_to);
        let mut look = Look { found, block: block.cloned(), live, end, delivered, heard };
        if end.is_none() && person.live {
            look.heard = self.presence.talk().since(heard, spoken);
            person.heard = look.heard;
            spoken.retain(|spoken| spoken.is_for(reader.now, reader.conn, &person.user));
        }
        look
    }

    /// What a connection may be given of a page. When the room knows more, the connection hears of it.
    pub(crate) fn reach(&mut self, conn: ConnId) -> Reach {
        if let Some(person) = self.people.get_mut(&conn) {
            person.stir.settle();
        }
        Reach { end: self.end_of(conn), live: self.tail.last(), deletion: self.deletion }
    }

    /// Where a connection's right to read ends, if it does.
    pub(crate) fn end_of(&self, conn: ConnId) -> Option<End> {
        self.people.get(&conn).filter(|_| !self.closed).map_or(CLOSED, |person| person.end)
    }

    /// Takes events of this room that are committed: those that come next go live, those already there are passed
    /// over, and behind a hole they wait in the store until [`Room::poll_fill`] has brought what is between.
    ///
    /// The first of them was received at `received`. Then [`Room::wake_due`] is owed.
    pub(crate) fn handle_committed(
        &mut self,
        now: Duration,
        received: Duration,
        events: impl IntoIterator<Item = Arc<Event>>,
    ) {
        let mut run = Vec::new();
        let mut next = self.tail.last().next();
        for event in events {
            self.known = self.known.max(event.seq);
            if event.seq == next {
                next = next.next();
                run.push(event);
            }
        }
        if !run.is_empty() {
            for event in &run {
                self.apply(now, event);
            }
            let things = run.len();
            self.tail.push(run);
            self.gather(now, received, things);
        }
    }

    /// Takes a batch of commits, see [`Room::handle_committed`]. Then [`Room::wake_due`] is owed.
    pub(crate) fn handle_commits(&mut self, now: Duration, received: Duration, commits: &[Committed]) {
        self.handle_committed(now, received, commits.iter().map(|committed| committed.event().clone()));
    }

    /// The store was seen to end here.
    pub(crate) fn handle_store_end(&mut self, last: Seq) {
        self.known = self.known.max(last);
    }

    /// Where to read from the store to fill a hole; then [`Room::handle_filled`] is owed.
    pub(crate) fn poll_fill(&mut self) -> Option<Seq> {
        let wanted = self.known > self.tail.last() && !self.filling && !self.closed;
        self.filling |= wanted;
        wanted.then(|| self.tail.last())
    }

    /// What [`Room::poll_fill`] asked for. Where the hole itself is kept no longer, the tail begins anew after it, and
    /// everybody's rights must be read again: what was in the hole may have changed them.
    pub(crate) fn handle_filled(&mut self, now: Duration, page: Page) {
        self.filling = false;
        if page.first_seq > self.tail.last().next() {
            self.tail.restart(page.first_seq.prev());
            self.deletion = page.first_seq.prev();
            self.barriers = Barriers { changes: VecDeque::new(), since: page.first_seq.prev() };
            self.visibility = None;
            self.people.values_mut().for_each(|person| person.unsure = true);
            self.handle_trimmed(page.first_seq);
            self.stir_all();
        }
        if page.events.is_empty() {
            // Nothing is there after all: whoever said so was wrong, or trimmed it.
            self.known = self.tail.last();
        }
        self.handle_committed(now, now, page.events.into_iter().map(Arc::new));
        self.wake_due(now);
    }

    /// The events before `first` are kept no longer.
    pub(crate) fn handle_trimmed(&mut self, first: Seq) {
        self.first_seq = self.first_seq.max(first);
    }

    /// The room is gone: everybody leaves.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.stir_all();
    }

    /// The user of this connection is writing.
    pub(crate) fn typing(&mut self, now: Duration, conn: ConnId) {
        if let Some(user) = self.present(conn) {
            self.talk(now, |presence| presence.typing(now, &user));
        }
    }

    /// The user of this connection has read up to `seq`, never past the end. Returns whose mark moved, and to where.
    pub(crate) fn read(&mut self, now: Duration, conn: ConnId, seq: Seq) -> Option<(UserId, Seq)> {
        let user = self.present(conn)?;
        let seq = seq.min(self.known);
        let moved = self.talk(now, |presence| presence.read(now, &user, conn, seq))?;
        Some((user, moved))
    }

    /// The user of a connection that may still read.
    fn present(&self, conn: ConnId) -> Option<UserId> {
        let person = self.people.get(&conn).filter(|person| person.end.is_none() && !self.closed)?;
        Some(person.user.clone())
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        if self.timer.is_some_and(|timer| timer <= now) {
            self.timer = None;
        }
        self.wake_due(now);
        self.talk(now, |presence| presence.handle_timeout(now));
    }

    /// A time at which to call [`Room::handle_timeout`].
    pub(crate) fn poll_timer(&mut self) -> Option<Duration> {
        let due = self.presence.poll_timeout().into_iter().chain(self.gather.poll_timeout()).min()?;
        let sooner = self.timer.is_none_or(|timer| due < timer);
        sooner.then(|| *self.timer.insert(due))
    }

    /// Lets presence do something, and has everybody hear of it where that told something new.
    fn talk<T>(&mut self, now: Duration, act: impl FnOnce(&mut Presence) -> T) -> T {
        let before = self.presence.talk().next();
        let done = act(&mut self.presence);
        if self.presence.talk().next() != before {
            self.gather(now, now, 1);
            self.wake_due(now);
        }
        done
    }

    /// So many things are new, the first of them received at `received`.
    fn gather(&mut self, now: Duration, received: Duration, things: usize) {
        let (readers, strain) = (self.people.len(), self.relief.strain());
        self.gather.handle_news(now, News { received, things, readers, strain });
    }

    /// Takes the room out of use where nobody is in it and nothing is due; then it can be forgotten. Once.
    pub(crate) fn retire(&mut self) -> bool {
        let unused = self.people.is_empty() && self.presence.online_count() == 0 && !self.filling;
        let first = unused && !self.retired;
        self.retired |= unused;
        first
    }

    /// Wakes those for whom there is something, where it has gathered long enough. Who has looked meanwhile, as senders
    /// do for their acks, and found all of it sleeps on.
    pub(crate) fn wake_due(&mut self, now: Duration) {
        let Some(received) = self.gather.take_due(now) else { return };
        self.tail.join();
        let (last, spoken) = (self.tail.last(), self.presence.talk().next());
        let round = self.rounds.begin(last, received);
        for person in self.people.values_mut() {
            let misses_events = person.passed < last;
            if misses_events && person.live && round.is_some_and(|before| person.passed >= before) {
                person.counted = self.rounds.count();
            }
            if misses_events || (person.live && person.heard != spoken) {
                person.stir.stir();
            }
        }
    }

    fn stir_all(&mut self) {
        self.people.values_mut().for_each(|person| person.stir.stir());
    }

    /// What an event does to the rights of those in the room.
    fn apply(&mut self, now: Duration, event: &Event) {
        match &event.body {
            EventBody::Deleted { .. } => self.deletion = event.seq,
            EventBody::Member { user, change } => {
                self.barriers.push(event.seq, Concerned::User(user.clone()));
                self.change_member(now, event.seq, user, *change);
            }
            EventBody::Room(patch) => {
                if let Some(visibility) = patch.visibility {
                    self.barriers.push(event.seq, Concerned::Everyone);
                    self.change_visibility(now, event.seq, visibility);
                }
            }
            _ => {}
        }
    }

    /// Takes it from a view that was read after the last hole that is lost, where no event has told it since.
    fn learn_visibility(&mut self, view: &RoomView) {
        let as_of = view.room.last_seq;
        if self.visibility.is_none() && as_of >= self.barriers.since {
            self.visibility = Some((view.room.visibility, as_of));
        }
    }

    fn change_member(&mut self, now: Duration, seq: Seq, user: &UserId, change: MemberChange) {
        // What was learned from a later view says nothing of this moment.
        let known = self.visibility.filter(|(_, as_of)| *as_of < seq).map(|(visibility, _)| visibility);
        for person in self.people.values_mut().filter(|person| person.user == *user && person.as_of < seq) {
            person.member = matches!(change, MemberChange::Added(_) | MemberChange::Role(_));
            match (change, known) {
                (MemberChange::Banned, _) => person.end(now, seq, LeftReason::Banned, &mut self.presence),
                (MemberChange::Removed, None) => person.unsure = true,
                (MemberChange::Removed, Some(Visibility::Private)) if !person.unsure => {
                    person.end(now, seq, LeftReason::Removed, &mut self.presence);
                }
                _ => {}
            }
        }
    }

    fn change_visibility(&mut self, now: Duration, seq: Seq, visibility: Visibility) {
        if self.visibility.is_none_or(|(_, as_of)| as_of < seq) {
            self.visibility = Some((visibility, seq));
        }
        if visibility == Visibility::Private {
            // Nobody knows what an unsure one is: its rights will be read again anyway.
            let outsider = |person: &&mut Person| !person.member && !person.unsure && person.as_of < seq;
            for person in self.people.values_mut().filter(outsider) {
                person.end(now, seq, LeftReason::Removed, &mut self.presence);
            }
        }
    }
}

impl Person {
    /// The right to read ends after event `seq`: the first end counts.
    fn end(&mut self, now: Duration, seq: Seq, reason: LeftReason, presence: &mut Presence) {
        if self.end.is_none() {
            self.end = Some(End { seq, reason });
            presence.exit(now, &self.user);
        }
    }
}

#[cfg(test)]
mod tests;
