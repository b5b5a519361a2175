//! Who is in a room just now, and what is told but not kept.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    ids::{ConnId, RoomId, Seq, UserId},
    limits::{EPHEMERAL_MAX, EPHEMERAL_PAUSE, PRESENCE_LINGER, PRESENCE_NAMED_MAX},
    protocol::{Ephemeral, PresenceState},
    strain::{Relief, Shed},
};

/// Something told but not kept, and who is not to hear it.
#[derive(Debug)]
pub(crate) struct Spoken {
    /// What is told.
    pub what: Ephemeral,
    /// Who does not hear it.
    except: Except,
    /// When it was told.
    at: Duration,
}

/// Who does not hear an ephemeral event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Except {
    /// Nobody.
    Nobody,
    /// The connections of this user.
    User(UserId),
    /// This connection.
    Conn(ConnId),
}

impl Spoken {
    /// Whether this connection hears it now: who was typing long ago is no news.
    pub(crate) fn is_for(&self, now: Duration, conn: ConnId, user: &UserId) -> bool {
        if matches!(self.what, Ephemeral::Typing { .. }) && now > self.at + TYPING_COUNTS {
            return false;
        }
        match &self.except {
            Except::Nobody => true,
            Except::User(except) => except != user,
            Except::Conn(except) => *except != conn,
        }
    }
}

/// The last ephemeral events of a room. Readers hold a number; whoever is too far behind misses the oldest.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    spoken: VecDeque<Arc<Spoken>>,
    /// The number of the next one.
    next: u64,
}

impl Talk {
    /// The number from which a new reader listens.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Collects what was spoken from number `from` on and returns the number to go on with.
    pub(crate) fn since(&self, from: u64, out: &mut Vec<Arc<Spoken>>) -> u64 {
        let missed = usize::try_from(self.next.saturating_sub(from)).unwrap_or(usize::MAX);
        let skip = self.spoken.len().saturating_sub(missed);
        out.extend(self.spoken.iter().skip(skip).cloned());
        self.next
    }

    fn say(&mut self, at: Duration, what: Ephemeral, except: Except) {
        if self.spoken.len() == EPHEMERAL_MAX {
            self.spoken.pop_front();
        }
        self.spoken.push_back(Arc::new(Spoken { what, except, at }));
        self.next += 1;
    }
}

/// Who is in a room.
#[derive(Debug)]
pub(crate) struct Presence {
    room: RoomId,
    relief: Relief,
    users: BTreeMap<UserId, Online>,
    talk: Talk,
    count_said: Option<Duration>,
    count_due: bool,
    /// Nothing is due before this: set as things become due, found anew when it has passed.
    due: Option<Duration>,
}

#[derive(Debug, Default)]
struct Online {
    connections: usize,
    /// When a user without connections is offline.
    until: Option<Duration>,
    typed: Option<Duration>,
    read: Seq,
    read_said: Option<Duration>,
    /// A moved read mark that is not told yet, and who moved it.
    read_due: Option<ConnId>,
}

/// How long `typing` counts.
const TYPING_COUNTS: Duration = Duration::from_secs(5);

/// What becomes due is done at the next of these: a large room is then looked through a few times a second at most.
const TICK: Duration = Duration::from_millis(200);

/// The first tick at or after this time.
fn tick(at: Duration) -> Duration {
    let millis = at.as_micros().div_ceil(TICK.as_micros()) * TICK.as_millis();
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

fn long_ago(then: Option<Duration>, now: Duration) -> bool {
    then.is_none_or(|then| now >= then + EPHEMERAL_PAUSE)
}

impl Presence {
    /// An empty room of a node with this strain.
    pub(crate) const fn new(room: RoomId, relief: Relief) -> Self {
        let talk = Talk { spoken: VecDeque::new(), next: 0 };
        Self { room, relief, users: BTreeMap::new(), talk, count_said: None, count_due: false, due: None }
    }

    /// What was told.
    pub(crate) const fn talk(&self) -> &Talk {
        &self.talk
    }

    /// How many users are there.
    pub(crate) fn online_count(&self) -> usize {
        self.users.len()
    }

    /// Who is there, in order of ids.
    pub(crate) fn online(&self) -> impl Iterator<Item = &UserId> {
        self.users.keys()
    }

    /// A user's connection came; `read` is the user's read mark as the store has it.
    pub(crate) fn enter(&mut self, now: Duration, user: &UserId, read: Seq) {
        let known = self.users.contains_key(user);
        let online = self.users.entry(user.clone()).or_default();
        online.connections += 1;
        online.until = None;
        online.read = online.read.max(read);
        if !known {
            self.tell(now, user, PresenceState::Online);
        }
    }

    /// A user's connection went.
    pub(crate) fn exit(&mut self, now: Duration, user: &UserId) {
        let Some(online) = self.users.get_mut(user) else { return };
        online.connections = online.connections.saturating_sub(1);
        if online.connections == 0 {
            online.until = Some(now + PRESENCE_LINGER);
            self.due_at(now + PRESENCE_LINGER);
        }
    }

    /// A user is writing.
    pub(crate) fn typing(&mut self, now: Duration, user: &UserId) {
        let Some(online) = self.users.get_mut(user) else { return };
        if long_ago(online.typed, now) && !self.relief.sheds(Shed::Typing) {
            online.typed = Some(now);
            let what = Ephemeral::Typing { room: self.room.clone(), user: user.clone() };
            self.talk.say(now, what, Except::User(user.clone()));
        }
    }

    /// A user has read up to `seq`. Returns the mark where it moved.
    pub(crate) fn read(&mut self, now: Duration, user: &UserId, conn: ConnId, seq: Seq) -> Option<Seq> {
        let online = self.users.get_mut(user)?;
        if seq <= online.read {
            return None;
        }
        online.read = seq;
        online.read_due = Some(conn);
        online.tell_read(now, user, (&self.room, &self.relief), &mut self.talk);
        if let Some(due) = online.due() {
            self.due_at(due);
        }
        Some(seq)
    }

    /// When [`Presence::handle_timeout`] may have something to do.
    pub(crate) const fn poll_timeout(&self) -> Option<Duration> {
        self.due
    }

    /// Tells what is due.
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        for (user, online) in &mut self.users {
            online.tell_read(now, user, (&self.room, &self.relief), &mut self.talk);
        }
        let gone = |online: &Online| online.until.is_some_and(|until| until <= now);
        let gone: Vec<UserId> =
            self.users.iter().filter(|(_, online)| gone(online)).map(|(user, _)| user.clone()).collect();
        for user in gone {
            self.users.remove(&user);
            self.tell(now, &user, PresenceState::Offline);
        }
        self.tell_count(now);
        self.due = self.users.values().filter_map(Online::due).chain(self.count_due_at()).min().map(tick);
    }

    fn due_at(&mut self, at: Duration) {
        let at = tick(at);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn count_due_at(&self) -> Option<Duration> {
        self.count_due.then(|| self.count_said.unwrap_or_default() + EPHEMERAL_PAUSE)
    }

    fn tell(&mut self, now: Duration, user: &UserId, state: PresenceState) {
        // Whoever misses something of this hears at least how many are there, once the strain is over.
        let is_shed = self.relief.sheds(Shed::Presence);
        if is_shed || self.users.len() > PRESENCE_NAMED_MAX {
            self.count_due = true;
            self.tell_count(now);
            if let Some(due) = self.count_due_at() {
                self.due_at(due);
            }
        } else {
            let what = Ephemeral::Presence { room: self.room.clone(), user: user.clone(), state };
            self.talk.say(now, what, Except::User(user.clone()));
        }
    }

    fn tell_count(&mut self, now: Duration) {
        if self.count_due && long_ago(self.count_said, now) {
            self.count_said = Some(now);
            if self.relief.is_shedding() {
                return;
            }
            self.count_due = false;
            let what = Ephemeral::PresenceCount { room: self.room.clone(), online_count: self.users.len() };
            self.talk.say(now, what, Except::Nobody);
        }
    }
}

impl Online {
    /// When something is due for this user.
    fn due(&self) -> Option<Duration> {
        let read = self.read_due.map(|_| self.read_said.unwrap_or_default() + EPHEMERAL_PAUSE);
        [self.until, read].into_iter().flatten().min()
    }

    fn tell_read(
        &mut self,
        now: Duration,
        user: &UserId,
        (room, relief): (&RoomId, &Relief),
        talk: &mut Talk,
    ) {
        if let Some(conn) = self.read_due.filter(|_| long_ago(self.read_said, now)) {
            (self.read_due, self.read_said) = (None, Some(now));
            if relief.sheds(Shed::Read) {
                return;
            }
            let what = Ephemeral::Read { room: room.clone(), user: user.clone(), seq: self.read };
            talk.say(now, what, Except::Conn(conn));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strain::Strain;

    const SECOND: Duration = Duration::from_secs(1);

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn heard(presence: &Presence, from: u64, who: &str, conn: u64) -> Vec<String> {
        let mut out = Vec::new();
        presence.talk().since(from, &mut out);
        let heard = out.iter().filter(|spoken| spoken.is_for(Duration::ZERO, ConnId(conn), &user(who)));
        heard.map(|spoken| serde_json::to_string(&spoken.what).unwrap()).collect()
    }

    #[test]
    fn a_quick_reconnect_is_not_told() {
        let mut room = Presence::new(RoomId::new("r").unwrap(), Relief::new());
        room.enter(Duration::ZERO, &user("ann"), Seq::ZERO);
        room.exit(SECOND, &user("ann"));
        room.enter(SECOND + PRESENCE_LINGER / 2, &user("ann"), Seq::ZERO);
        room.handle_timeout(tick(SECOND + PRESENCE_LINGER));
        assert_eq!(room.poll_timeout(), None);
        room.exit(2 * SECOND, &user("ann"));
        assert_eq!(room.poll_timeout(), Some(tick(2 * SECOND + PRESENCE_LINGER)));
        room.handle_timeout(tick(2 * SECOND + PRESENCE_LINGER));
        let told = heard(&room, 0, "bob", 2);
        assert_eq!(
            told,
            [
                r#"{"type":"presence","room":"r","user":"ann","state":"online"}"#,
                r#"{"type":"presence","room":"r","user":"ann","state":"offline"}"#
            ]
        );
        assert!(heard(&room, 0, "ann", 1).is_empty());
        assert_eq!(room.online_count(), 0);
    }

    #[test]
    fn a_large_room_hears_a_count_once_a_second() {
        let mut room = Presence::new(RoomId::new("r").unwrap(), Relief::new());
        for n in 0..PRESENCE_NAMED_MAX + 50 {
            room.enter(Duration::ZERO, &user(&format!("u{n}")), Seq::ZERO);
        }
        let start = room.talk().next();
        assert_eq!(start, PRESENCE_NAMED_MAX as u64 + 1);
        assert_eq!(room.poll_timeout(), Some(SECOND));
        room.handle_timeout(SECOND);
        assert_eq!(heard(&room, start, "u0", 0), [r#"{"type":"presence","room":"r","online_count":250}"#]);
    }

    #[test]
    fn read_marks_move_forward_and_are_told_once_a_second_to_all_other_connections() {
        let mut room = Presence::new(RoomId::new("r").unwrap(), Relief::new());
        room.enter(Duration::ZERO, &user("ann"), Seq(3));
        let start = room.talk().next();
        assert_eq!(room.read(SECOND, &user("ann"), ConnId(1), Seq(3)), None);
        for seq in 4..=9 {
            assert_eq!(room.read(SECOND, &user("ann"), ConnId(1), Seq(seq)), Some(Seq(seq)));
        }
        room.handle_timeout(2 * SECOND);
        let told = [4, 9].map(|seq| format!(r#"{{"type":"read","room":"r","user":"ann","seq":{seq}}}"#));
        assert_eq!(heard(&room, start, "ann", 2), told);
        assert!(heard(&room, start, "ann", 1).is_empty());
    }

    #[test]
    fn typing_is_told_to_others_once_a_second() {
        let mut room = Presence::new(RoomId::new("r").unwrap(), Relief::new());
        room.enter(Duration::ZERO, &user("ann"), Seq::ZERO);
        let start = room.talk().next();
        for _ in 0..3 {
            room.typing(SECOND, &user("ann"));
        }
        assert_eq!(heard(&room, start, "bob", 2), [r#"{"type":"typing","room":"r","user":"ann"}"#]);
        assert!(heard(&room, start, "ann", 2).is_empty(), "not to the user's own connections");
    }

    #[test]
    fn under_strain_nothing_is_told_and_marks_still_move() {
        let relief = Relief::new();
        let mut room = Presence::new(RoomId::new("r").unwrap(), relief.clone());
        room.enter(Duration::ZERO, &user("ann"), Seq::ZERO);
        let start = room.talk().next();
        relief.set(Strain::ShedEphemeral);
        room.typing(SECOND, &user("ann"));
        assert_eq!(room.read(SECOND, &user("ann"), ConnId(1), Seq(3)), Some(Seq(3)));
        room.enter(SECOND, &user("bob"), Seq::ZERO);
        room.handle_timeout(2 * SECOND);
        assert!(heard(&room, start, "cat", 3).is_empty());
        relief.set(Strain::None);
        let due = room.poll_timeout().unwrap();
        assert!(
            due > 2 * SECOND && due <= 4 * SECOND,
            "it is looked at again, but not all the time: {due:?}"
        );
        room.handle_timeout(due);
        room.typing(due, &user("ann"));
        assert_eq!(room.read(due, &user("ann"), ConnId(1), Seq(4)), Some(Seq(4)));
        let told = [
            r#"{"type":"presence","room":"r","online_count":2}"#,
            r#"{"type":"typing","room":"r","user":"ann"}"#,
            r#"{"type":"read","room":"r","user":"ann","seq":4}"#,
        ];
        assert_eq!(heard(&room, start, "cat", 3), told);
        assert_eq!(room.poll_timeout(), None, "and then no more");
    }

    #[test]
    fn who_is_far_behind_misses_the_oldest() {
        let mut talk = Talk::default();
        for seq in 0..2 * EPHEMERAL_MAX as u64 {
            let what = Ephemeral::Read { room: RoomId::new("r").unwrap(), user: user("ann"), seq: Seq(seq) };
            talk.say(SECOND, what, Except::Nobody);
        }
        let mut out = Vec::new();
        assert_eq!(talk.since(0, &mut out), 2 * EPHEMERAL_MAX as u64);
        assert_eq!(out.len(), EPHEMERAL_MAX);
        out.clear();
        talk.since(2 * EPHEMERAL_MAX as u64 - 3, &mut out);
        assert_eq!(out.len(), 3);
    }
}
