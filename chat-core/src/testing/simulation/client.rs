//! A user with a connection, who checks everything that comes in.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    sync::Arc,
};

use super::log::Log;
use crate::{
    connection::Acks,
    hub::Hub,
    ids::{ConnId, Epoch, RoomId, Seq, UserId},
    presence::Spoken,
    protocol::{
        Ack, Command, CommandError, CommandId, Draft, ErrorCode, Event, EventBody, Joined, Reply, Request,
        RoomCommand, Welcome,
    },
    rights::Identity,
    session::Session,
    sink::Sink,
    tail::Block,
    time::Now,
};

/// The text of a send that was tried before.
const AGAIN: &str = "again";

/// Something that a session said.
#[derive(Debug)]
enum Said {
    Answer(Option<CommandId>, Reply),
    Event(Arc<Event>),
}

/// Takes so many things and is full then.
#[derive(Debug)]
struct Ear {
    said: Vec<Said>,
    most: usize,
}

impl Sink for Ear {
    fn is_full(&self) -> bool {
        self.said.len() >= self.most
    }

    fn welcome(&mut self, _: &Welcome) {}

    fn answer(&mut self, id: Option<CommandId>, reply: &Reply) {
        self.said.push(Said::Answer(id, reply.clone()));
    }

    fn run(&mut self, block: &Block, range: Range<usize>) {
        self.said.extend(block.events()[range].iter().cloned().map(Said::Event));
    }

    fn event(&mut self, event: Event) {
        self.said.push(Said::Event(Arc::new(event)));
    }

    fn spoken(&mut self, _: &Arc<Spoken>) {}
}

/// Where a user stands in a room.
#[derive(Debug, Clone)]
struct Place {
    epoch: Epoch,
    position: Seq,
    joined: bool,
    /// Where it was put when what came next was kept no longer. Own events before have lost their place.
    reset_to: Seq,
}

/// One connection.
#[derive(Debug)]
struct Link {
    session: Session,
    next_id: CommandId,
    /// Commands without their reply yet, per room in their order.
    asked: BTreeMap<RoomId, VecDeque<(CommandId, RoomCommand)>>,
    /// Keys sent on this connection that may still be acked in their place.
    own: BTreeSet<(RoomId, Box<str>)>,
}

/// A user with at most one connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) user: UserId,
    /// Tells apart the clients of one user.
    name: String,
    link: Option<Link>,
    places: BTreeMap<RoomId, Place>,
    /// Sends that nobody has settled yet, by key.
    unsettled: BTreeMap<Box<str>, RoomId>,
    next_key: u32,
    pub(super) acked: usize,
    pub(super) heard: usize,
    pub(super) overloads: usize,
}

impl Client {
    pub(super) fn new(user: UserId, index: usize) -> Self {
        Self {
            name: format!("{user}{index}"),
            user,
            link: None,
            places: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            next_key: 0,
            acked: 0,
            heard: 0,
            overloads: 0,
        }
    }

    pub(super) const fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    pub(super) fn has_unsettled(&self) -> bool {
        !self.unsettled.is_empty()
    }

    pub(super) fn is_joined(&self, room: &RoomId) -> bool {
        self.link.is_some() && self.places.get(room).is_some_and(|place| place.joined)
    }

    pub(super) fn position(&self, room: &RoomId) -> Option<Seq> {
        self.places.get(room).filter(|place| place.joined).map(|place| place.position)
    }

    /// What is still under way, for the message of a failure.
    pub(super) fn unrest(&self) -> String {
        let asked: Vec<_> = self.link.iter().flat_map(|link| link.asked.values().flatten()).collect();
        let places: Vec<_> =
            self.places.iter().map(|(room, place)| (room, place.joined, place.position)).collect();
        format!(
            "{}: waits for {asked:?}, stands at {places:?}, has unsettled {:?}",
            self.name, self.unsettled
        )
    }

    /// Whether a reply is still to come.
    pub(super) fn waits(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.asked.values().any(|asked| !asked.is_empty()))
    }

    pub(super) fn connect(&mut self, now: Now, conn: ConnId, hub: &Arc<Hub>) {
        let who = Identity::new(self.user.as_str()).expect("it is the id of a user");
        let session = Session::new(now, conn, who, Acks::InPlace, hub.clone());
        let link = Link { session, next_id: 0, asked: BTreeMap::new(), own: BTreeSet::new() };
        self.link = Some(link);
    }

    /// The connection breaks; with a crash of its node nobody closes the session.
    pub(super) fn disconnect(&mut self, now: Now, crash: bool) {
        if let Some(mut link) = self.link.take()
            && !crash
        {
            link.session.close(now);
        }
        self.places.values_mut().for_each(|place| place.joined = false);
    }

    /// Joins where it left off, or at the end.
    pub(super) fn join(&mut self, now: Now, room: &RoomId, resume: bool) {
        let place = self.places.get(room).filter(|_| resume);
        let (after, epoch) = (place.map(|place| place.position), place.map(|place| place.epoch.clone()));
        self.ask(now, room, RoomCommand::Join { after, epoch });
    }

    /// Says something new.
    pub(super) fn send(&mut self, now: Now, room: &RoomId, text: &str) {
        self.next_key += 1;
        let key: Box<str> = format!("{}-{}", self.name, self.next_key).into();
        self.unsettled.insert(key.clone(), room.clone());
        self.send_with(now, room, key, text);
    }

    /// Sends again whatever is not settled, in rooms that it has joined.
    pub(super) fn send_again(&mut self, now: Now) {
        let waits: BTreeSet<Box<str>> =
            self.link.iter().flat_map(|link| link.asked.values().flatten()).filter_map(key_of).collect();
        for (key, room) in self.unsettled.clone() {
            if self.is_joined(&room) && !waits.contains(&key) {
                self.send_with(now, &room, key, AGAIN);
            }
        }
    }

    /// Drops what can never be settled: its room is closed to this user.
    pub(super) fn forget_unsettled(&mut self, room: &RoomId) {
        self.unsettled.retain(|_, of| of != room);
    }

    /// An event of a key sent only once here, and not answered with an error, must come as an ack. One sent twice may
    /// have been committed by a send whose outcome was lost.
    fn send_with(&mut self, now: Now, room: &RoomId, key: Box<str>, text: &str) {
        if let Some(link) = &mut self.link {
            let sent = (room.clone(), key.clone());
            if text == AGAIN {
                link.own.remove(&sent)
            } else {
                link.own.insert(sent)
            };
        }
        self.ask(now, room, RoomCommand::Send(Draft::text(text).key(key)));
    }

    pub(super) fn ask(&mut self, now: Now, room: &RoomId, command: RoomCommand) {
        let Some(link) = self.link.as_mut().filter(|link| link.session.wants_input()) else { return };
        link.next_id += 1;
        let id = link.next_id;
        link.asked.entry(room.clone()).or_default().push_back((id, command.clone()));
        let command = Command::InRoom(room.clone(), command);
        link.session.handle_request(now, Ok(Request { id: Some(id), command }));
    }

    /// Reads at most `most` things and checks each. Returns how many there were.
    pub(super) fn read(&mut self, now: Now, most: usize, log: &Log) -> usize {
        let Some(link) = &mut self.link else { return 0 };
        let mut ear = Ear { said: Vec::new(), most };
        link.session.drain(now, &mut ear);
        let count = ear.said.len();
        for said in ear.said {
            match said {
                Said::Answer(Some(id), reply) => self.answered(id, reply, log),
                Said::Answer(None, reply) => self.told(reply),
                Said::Event(event) => self.event(&event, log),
            }
        }
        self.check_positions();
        count
    }

    /// The session's own positions are those that the client knows.
    fn check_positions(&self) {
        for (room, place) in self.places.iter().filter(|(_, place)| place.joined) {
            let known = self.link.as_ref().and_then(|link| link.session.position(room));
            assert!(
                known.is_none_or(|known| known == place.position),
                "{}: positions in {room} differ",
                self.user
            );
        }
    }

    fn answered(&mut self, id: CommandId, reply: Reply, log: &Log) {
        let link = self.link.as_mut().expect("an answer comes on a connection");
        let of = link.asked.iter_mut().find(|(_, asked)| asked.iter().any(|(asked, _)| *asked == id));
        let (room, asked) = of.expect("each command has one reply");
        let (first, command) = asked.pop_front().expect("it is in there");
        assert_eq!(first, id, "{}: replies in {room} come in the order of commands", self.name);
        let room = room.clone();
        match (command, reply) {
            (RoomCommand::Join { after, epoch }, Reply::Joined(joined)) => {
                self.joined(&room, (after, epoch), joined, log);
            }
            (RoomCommand::Leave, Reply::Left { .. }) => self.left(&room),
            (RoomCommand::Send(draft), Reply::Ack(ack)) => self.acked(&room, draft.key.as_deref(), &ack, log),
            (RoomCommand::Send(draft), Reply::Error(error)) => self.refused(&room, draft, &error),
            (_, Reply::Ack(ack)) => self.acked(&room, None, &ack, log),
            (RoomCommand::History(_), Reply::History { page, .. }) => {
                let dense = page.events.windows(2).all(|pair| pair[1].seq == pair[0].seq.next());
                assert!(dense, "a page without kinds has no hole");
            }
            (_, Reply::Ok | Reply::Error(_)) => {}
            (command, reply) => panic!("{command:?} was answered with {reply:?}"),
        }
    }

    fn joined(
        &mut self,
        room: &RoomId,
        (after, epoch): (Option<Seq>, Option<Epoch>),
        joined: Joined,
        log: &Log,
    ) {
        if self.is_joined(room) {
            return; // a second join changes nothing
        }
        let same = epoch.as_ref() == Some(&joined.epoch);
        let held =
            after.is_some_and(|after| after.next() >= joined.first_seq && after <= log.last(&joined.epoch));
        assert_eq!(
            joined.reset,
            after.is_some() && !(same && held),
            "a reset where, and only where, it must be"
        );
        let position = after.filter(|_| !joined.reset).unwrap_or(joined.last_seq);
        assert!(joined.last_seq <= log.last(&joined.epoch), "nothing is told of before it is committed");
        self.places
            .insert(room.clone(), Place { epoch: joined.epoch, position, joined: true, reset_to: Seq::ZERO });
    }

    fn left(&mut self, room: &RoomId) {
        self.places.iter_mut().filter(|(of, _)| *of == room).for_each(|(_, place)| place.joined = false);
    }

    fn told(&mut self, reply: Reply) {
        match reply {
            Reply::Left { room, reason: Some(_) } => self.left(&room),
            Reply::Joined(Joined { room, epoch, last_seq, reset: true, .. }) => {
                self.places
                    .insert(room, Place { epoch, position: last_seq, joined: true, reset_to: last_seq });
            }
            reply => panic!("{reply:?} comes unasked"),
        }
    }

    fn acked(&mut self, room: &RoomId, key: Option<&str>, ack: &Ack, log: &Log) {
        self.acked += 1;
        let place = self.places.get_mut(room).expect("it has joined to send");
        let event = log.event(&place.epoch, ack.seq);
        let event = event.or_else(|| log.any(room, ack.seq, &self.user)).expect("an ack means committed");
        assert!(ack.duplicate || event.from == self.user, "one's own ack is for one's own event");
        if let (Some(key), EventBody::Message(message)) = (key, &event.body) {
            assert_eq!(message.key.as_deref(), Some(key), "the ack is for the message with this key");
        }
        if place.joined && !ack.duplicate && ack.seq > place.reset_to {
            assert_eq!(ack.seq, place.position.next(), "{}: acks and events in {room} are dense", self.name);
            place.position = ack.seq;
        }
        if let Some(key) = key {
            self.unsettled.remove(key);
            // Who leaves and comes back to an earlier position gets it as an event.
            if let Some(link) = &mut self.link {
                link.own.remove(&(room.clone(), key.into()));
            }
        }
    }

    fn refused(&mut self, room: &RoomId, draft: Draft, error: &CommandError) {
        let key = draft.key.unwrap_or_default();
        if let Some(link) = &mut self.link {
            link.own.remove(&(room.clone(), key.clone()));
        }
        self.overloads += usize::from(error.code == ErrorCode::Overloaded);
        let lost = matches!(error.code, ErrorCode::Unavailable | ErrorCode::Overloaded);
        if !lost {
            self.unsettled.remove(&key);
        }
    }

    fn event(&mut self, event: &Event, log: &Log) {
        self.heard += 1;
        let place = self.places.get_mut(&event.room).filter(|place| place.joined);
        let place = place.unwrap_or_else(|| panic!("{}: {event:?} in a room that is not joined", self.name));
        assert_eq!(event.seq, place.position.next(), "{}: events in {} are dense", self.name, event.room);
        place.position = event.seq;
        let committed = log.event(&place.epoch, event.seq).expect("nothing is shown before it is committed");
        assert_eq!((&committed.from, committed.at), (&event.from, event.at), "everybody sees the same event");
        assert_eq!(committed.body.kind(), event.body.kind(), "everybody sees the same event");
        if let Some(end) = log.end_of_right(&place.epoch, &self.user) {
            assert!(event.seq <= end, "{}: {event:?} after the right to read ended at {end}", self.name);
        }
        if let EventBody::Message(message) = &event.body
            && let (Some(key), Some(link)) = (&message.key, &self.link)
        {
            let own = event.from == self.user && link.own.contains(&(event.room.clone(), key.clone()));
            assert!(!own, "{}: {event:?} is this connection's own: its ack stands in its place", self.name);
        }
    }
}

fn key_of((_, command): &(CommandId, RoomCommand)) -> Option<Box<str>> {
    match command {
        RoomCommand::Send(draft) => draft.key.clone(),
        _ => None,
    }
}
