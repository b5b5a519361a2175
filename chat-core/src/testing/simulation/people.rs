//! What people do, and what befalls them.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::oneshot;

use super::{
    log::Timeline,
    world::{Step, World, ready},
};
use crate::{
    bus::Notice,
    committer::{ReplyTo, Submission},
    ids::{ConnId, Epoch, RoomId, Seq, UserId},
    protocol::{HistoryFrom, HistoryQuery, RoomCommand, RoomPatch},
    rights::{Actor, Authority, Role, Standing, Visibility},
    store::{Append, Change, Created, NewRoom, PageQuery, Require, RoomKind, Store},
    strain::Strain,
};

impl World {
    pub(super) fn connect(&mut self, index: usize) {
        let node = self.rng.usize(0..self.nodes.len());
        self.next += 1;
        let (conn, now, hub) = (ConnId(self.next), self.clocks(), self.nodes[node].hub.clone());
        let (at, client) = &mut self.clients[index];
        *at = node;
        client.connect(now, conn, &hub);
    }

    pub(super) fn act(&mut self, index: usize) {
        self.at_random(6_000, Step::Act(index));
        if !self.clients[index].1.is_connected() {
            self.connect(index);
        }
        let (now, room) = (self.clocks(), self.any_room());
        let last = self.last(&room).0;
        let target = Seq(self.rng.u64(0..=last + 1));
        let (what, most) = (self.rng.u32(0..100), self.rng.usize(1..60));
        let resume = self.chance(900);
        let client = &mut self.clients[index].1;
        match what {
            0..=49 => client.send(now, &room, &"x".repeat(most)),
            50..=54 => client.send_again(now),
            55..=59 => client.ask(now, &room, RoomCommand::Edit { target, text: "new".into() }),
            60..=62 => client.ask(now, &room, RoomCommand::Delete { target }),
            63..=66 => {
                let remove = target.0.is_multiple_of(2);
                client.ask(now, &room, RoomCommand::React { target, emoji: "👍".into(), remove });
            }
            67..=69 => client.ask(now, &room, RoomCommand::Read { seq: target }),
            70..=71 => client.ask(now, &room, RoomCommand::Typing),
            72..=75 => {
                let query = HistoryQuery { from: HistoryFrom::Before(target), ..HistoryQuery::default() };
                client.ask(now, &room, RoomCommand::History(query));
            }
            76..=78 => client.ask(now, &room, RoomCommand::Leave),
            79..=81 => client.disconnect(now, false),
            _ => client.join(now, &room, resume),
        }
    }

    fn any_room(&mut self) -> RoomId {
        let index = self.rng.usize(0..self.rooms.len());
        self.rooms[index].clone()
    }

    pub(super) fn fate(&mut self) {
        self.at_random(50_000, Step::Fate);
        if self.chance(self.chances.crash * 5) {
            return self.crash();
        }
        let room = self.any_room();
        let user = self.clients[self.rng.usize(0..self.clients.len())].1.user.clone();
        match self.rng.u32(0..22) {
            0..=5 => self.order(&room, Change::Member { user, standing: Standing::Outsider }),
            6..=11 => self.order(&room, Change::Member { user, standing: Standing::Member(Role::Member) }),
            12 => self.order(&room, Change::Member { user, standing: Standing::Banned }),
            13..=15 => {
                let to = [Visibility::Public, Visibility::Private][self.rng.usize(0..2)];
                self.order(&room, Change::Room(RoomPatch { visibility: Some(to), ..RoomPatch::default() }));
            }
            16 => self.remake(&room),
            17 => self.trim(&room),
            18..=20 => self.strain(),
            _ => {}
        }
    }

    /// A node is said to be hard pressed, or not to be so any more.
    fn strain(&mut self) {
        let strain = Strain::ALL[self.rng.usize(0..Strain::ALL.len())];
        let node = self.rng.usize(0..self.nodes.len());
        self.nodes[node].hub.set_strain(strain);
    }

    /// The host of a node changes a room.
    fn order(&mut self, room: &RoomId, change: Change) {
        let host = UserId::new("host").expect("it is an id");
        let view =
            ready(self.store.room(room.clone(), host.clone())).expect("it answers").expect("it is there");
        let actor = Actor { user: host, authority: Authority::Host };
        let now = self.clocks();
        let (caller, _) = oneshot::channel();
        let append = Append { room: view.room.no, actor, at: now.wall, change, require: Require::default() };
        let node = self.rng.usize(0..self.nodes.len());
        // A node whose store is away refuses: then the host has had no luck.
        let _ = self.nodes[node]
            .hub
            .submit(now, Submission { append, received: now.mono, reply_to: ReplyTo::Caller(caller) });
    }

    /// A node dies in the middle of whatever it does, and another takes its place.
    fn crash(&mut self) {
        self.crashes += 1;
        let index = self.rng.usize(0..self.nodes.len());
        let now = self.clocks();
        for (_, client) in self.clients.iter_mut().filter(|(at, _)| *at == index) {
            client.disconnect(now, true);
        }
        self.nodes[index] = self.node();
    }

    pub(super) fn make(&mut self, id: &RoomId) {
        let epoch = Epoch::from_random(u128::from(self.rng.u64(..)));
        let members = [("ann", Role::Manager), ("bob", Role::Member)];
        let private = id.as_str() == "den";
        let room = NewRoom {
            id: id.clone(),
            epoch: epoch.clone(),
            kind: RoomKind::Group,
            visibility: if private { Visibility::Private } else { Visibility::Public },
            name: id.as_str().into(),
            topic: "".into(),
            creator: UserId::new("ann").expect("it is an id"),
            members: members.map(|(user, role)| (UserId::new(user).expect("it is an id"), role)).into(),
            at: self.clocks().wall,
        };
        let visibility = room.visibility;
        let created = ready(self.store.create_room(room, u64::MAX)).expect("it answers");
        let Created::New(record) = created else { panic!("there was none of this id") };
        let timeline = Timeline {
            no: record.no,
            id: id.clone(),
            visibility,
            events: BTreeMap::new(),
            standings: BTreeMap::new(),
            private_since: private.then_some(Seq::ZERO),
            first: Seq::ZERO,
        };
        self.log.rooms.insert(epoch, timeline);
        let query = PageQuery {
            room: record.no,
            reader: None,
            from: HistoryFrom::After(Seq::ZERO),
            limit: 10,
            bytes: usize::MAX,
            kinds: Vec::new(),
        };
        let page = ready(self.store.page(query)).expect("it answers").expect("it is there");
        page.events.into_iter().for_each(|event| self.log.add(record.no, &Arc::new(event)));
    }

    fn remake(&mut self, room: &RoomId) {
        let host = UserId::new("host").expect("it is an id");
        let view =
            ready(self.store.room(room.clone(), host.clone())).expect("it answers").expect("it is there");
        let (no, actor) = (view.room.no, Actor { user: host, authority: Authority::Host });
        ready(self.store.delete_room(no, actor)).expect("it answers").expect("the host may do everything");
        self.make(room);
        for index in 0..self.nodes.len() {
            let notice = Some(Notice::Deleted { room: room.clone(), no });
            let node = self.nodes[index].life;
            self.at_random(20_000, Step::Noticed { node, notice });
        }
    }

    fn trim(&mut self, room: &RoomId) {
        let host = UserId::new("host").expect("it is an id");
        let view = ready(self.store.room(room.clone(), host)).expect("it answers").expect("it is there");
        let first = Seq(self.rng.u64(0..=view.room.last_seq.0 + 1));
        let first = ready(self.store.trim(view.room.no, first)).expect("it answers").expect("it is there");
        self.log.rooms.get_mut(&view.room.epoch).expect("it was made").first = first;
        self.nodes.iter().for_each(|node| node.hub.handle_trimmed(view.room.no, first));
    }
}
