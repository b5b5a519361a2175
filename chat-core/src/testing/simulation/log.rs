//! What the store really committed: against it everything is held.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    ids::{Epoch, RoomId, RoomNo, Seq, UserId},
    protocol::{Event, EventBody, MemberChange, RoomPatch},
    rights::{Standing, Visibility},
};

/// Everything that the store really committed, by a room's incarnation.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) rooms: BTreeMap<Epoch, Timeline>,
}

#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) no: RoomNo,
    pub(super) id: RoomId,
    pub(super) visibility: Visibility,
    pub(super) events: BTreeMap<Seq, Arc<Event>>,
    pub(super) standings: BTreeMap<UserId, (Standing, Seq)>,
    pub(super) private_since: Option<Seq>,
    /// The oldest that is kept; keys of older ones are forgotten.
    pub(super) first: Seq,
}

impl Log {
    pub(super) fn event(&self, epoch: &Epoch, seq: Seq) -> Option<&Arc<Event>> {
        self.rooms.get(epoch).and_then(|room| room.events.get(&seq))
    }

    /// An event of this user and number in any incarnation of a room.
    pub(super) fn any(&self, room: &RoomId, seq: Seq, user: &UserId) -> Option<&Arc<Event>> {
        let of = self.rooms.values().filter(|timeline| timeline.id == *room);
        of.filter_map(|timeline| timeline.events.get(&seq)).find(|event| event.from == *user)
    }

    pub(super) fn last(&self, epoch: &Epoch) -> Seq {
        let last = self.rooms.get(epoch).and_then(|room| room.events.last_key_value());
        last.map_or(Seq::ZERO, |(seq, _)| *seq)
    }

    /// Where a user's right to read ended, if they have none now.
    pub(super) fn end_of_right(&self, epoch: &Epoch, user: &UserId) -> Option<Seq> {
        let room = self.rooms.get(epoch)?;
        match room.standings.get(user) {
            Some((Standing::Banned, since)) => Some(*since),
            Some((Standing::Member(_), _)) => None,
            Some((Standing::Outsider, since)) => room.private_since.map(|private| private.max(*since)),
            None => room.private_since,
        }
    }

    pub(super) fn add(&mut self, no: RoomNo, event: &Arc<Event>) {
        let room =
            self.rooms.values_mut().find(|room| room.no == no).expect("a commit is in a room that was made");
        let last = room.events.last_key_value().map_or(Seq::ZERO, |(seq, _)| *seq);
        assert_eq!(event.seq, last.next(), "the store's numbers are dense");
        match &event.body {
            EventBody::Member { user, change } => {
                let standing = match change {
                    MemberChange::Added(role) | MemberChange::Role(role) => Standing::Member(*role),
                    MemberChange::Removed => Standing::Outsider,
                    MemberChange::Banned => Standing::Banned,
                };
                room.standings.insert(user.clone(), (standing, event.seq));
            }
            EventBody::Room(RoomPatch { visibility: Some(visibility), .. }) => {
                room.visibility = *visibility;
                room.private_since = (*visibility == Visibility::Private).then_some(event.seq);
            }
            EventBody::Message(message) => {
                let twice = room.events.range(room.first..).any(|(_, before)| match &before.body {
                    EventBody::Message(one) => one.key == message.key && before.from == event.from,
                    _ => false,
                });
                assert!(!twice, "a key is committed once: {event:?}");
            }
            _ => {}
        }
        room.events.insert(event.seq, event.clone());
    }
}
