//! What the writer knows of rooms and people from one batch to the next.
//!
//! Nobody else writes, so what a committed batch has read and written still holds in the next one. A batch takes it all,
//! and gives it back once it is committed: after whatever failed, nothing is known. What is done to a room by other means
//! than a batch [forgets](Memory::forget) it, and where another program has written, SQLite tells so, and all is forgotten.

use std::{
    collections::{
        BTreeMap,
        btree_map::Entry::{Occupied, Vacant},
    },
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chat_core::{
    ids::{RoomNo, Seq, UserId},
    store::judge::RoomFacts,
};

use crate::people::Person;

/// Rooms and people that are kept in mind. A room takes some 200 bytes, and the first in it 550 more, for a leaf of a
/// B-tree has places for 11: 40 MB at most, where there is one in each room. Past it all are forgotten, and read again as
/// they are asked for.
const KNOWN_MAX: usize = 100_000;

/// A room as it is at this point of the transaction.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) facts: RoomFacts,
    pub(super) private_seq: Option<Seq>,
    /// `last_seq` as the table has it.
    pub(super) noted_seq: Seq,
    people: BTreeMap<UserId, Option<Person>>,
}

impl Room {
    pub(super) const fn new(facts: RoomFacts, private_seq: Option<Seq>, noted_seq: Seq) -> Self {
        Self { facts, private_seq, noted_seq, people: BTreeMap::new() }
    }
}

/// Rooms, and people in them.
#[derive(Debug, Default)]
pub(super) struct Known {
    rooms: BTreeMap<RoomNo, Room>,
    /// Of all rooms.
    people: usize,
    /// `PRAGMA data_version`: another one says that somebody else has written.
    data_version: i64,
}

impl Known {
    /// What still holds in a transaction that sees this `data_version`.
    pub(super) fn still_at(self, data_version: i64) -> Self {
        if self.data_version == data_version { self } else { Self { data_version, ..Self::default() } }
    }

    /// A room, `read` where it is not known. Where there is none, that is not remembered: it may yet be made.
    pub(super) fn room<E>(
        &mut self,
        no: RoomNo,
        read: impl FnOnce() -> Result<Option<Room>, E>,
    ) -> Result<Option<&mut Room>, E> {
        match self.rooms.entry(no) {
            Occupied(known) => Ok(Some(known.into_mut())),
            Vacant(unknown) => Ok(read()?.map(|room| unknown.insert(room))),
        }
    }

    /// Somebody in a room that is known, `read` where they are not; `None` is who was never told of there.
    pub(super) fn person<E>(
        &mut self,
        no: RoomNo,
        user: &UserId,
        read: impl FnOnce() -> Result<Option<Person>, E>,
    ) -> Result<Option<Person>, E> {
        if let Some(known) = self.rooms.get(&no).and_then(|room| room.people.get(user)) {
            return Ok(*known);
        }
        let person = read()?;
        self.learn(no, user, person);
        Ok(person)
    }

    /// Keeps somebody in mind, in a room that is known.
    pub(super) fn learn(&mut self, no: RoomNo, user: &UserId, person: Option<Person>) {
        let Some(room) = self.rooms.get_mut(&no) else { return };
        if room.people.insert(user.clone(), person).is_none() {
            self.people += 1;
        }
    }

    fn forget(&mut self, no: RoomNo) {
        self.people -= self.rooms.remove(&no).map_or(0, |room| room.people.len());
    }
}

/// What is known between two batches.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Known>);

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it; nothing is left.
    pub(super) fn take(&self) -> Known {
        mem::take(&mut *self.lock())
    }

    /// What is known after a commit.
    pub(super) fn put(&self, known: Known) {
        if known.rooms.len() + known.people <= KNOWN_MAX {
            *self.lock() = known;
        }
    }

    /// A room is about to be changed by other means than a batch.
    pub(super) fn forget(&self, no: RoomNo) {
        self.lock().forget(no);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use chat_core::{ids::RoomId, rights::Visibility};

    use super::*;

    fn room() -> Room {
        let facts = RoomFacts {
            id: RoomId::new("r").unwrap(),
            visibility: Visibility::Public,
            version: 0,
            first_seq: Seq(1),
            last_seq: Seq(1),
        };
        Room::new(facts, None, Seq(1))
    }

    fn knows(known: &mut Known, no: RoomNo) -> bool {
        known.room(no, || Ok::<_, Infallible>(None)).unwrap().is_some()
    }

    /// Two rooms with somebody in each.
    fn known() -> Known {
        let mut known = Known::default().still_at(7);
        for no in [RoomNo(1), RoomNo(2)] {
            known.room(no, || Ok::<_, Infallible>(Some(room()))).unwrap();
            known.learn(no, &UserId::new("ann").unwrap(), None);
        }
        known
    }

    #[test]
    fn what_is_known_is_not_read_again_until_somebody_else_has_written() {
        let mut known = known().still_at(7);
        assert!(knows(&mut known, RoomNo(2)) && !knows(&mut known, RoomNo(3)));
        let ann = UserId::new("ann").unwrap();
        assert_eq!(known.person(RoomNo(1), &ann, || Err(())), Ok(None));
        assert_eq!(known.person(RoomNo(1), &UserId::new("bob").unwrap(), || Err(())), Err(()));
        assert!(!knows(&mut known.still_at(8), RoomNo(2)));
    }

    #[test]
    fn one_room_is_forgotten_alone_and_all_where_there_are_too_many() {
        let memory = Memory::default();
        memory.put(known());
        memory.forget(RoomNo(1));
        let mut rest = memory.take();
        assert!(knows(&mut rest, RoomNo(2)) && !knows(&mut rest, RoomNo(1)));
        assert_eq!(rest.people, 1);
        assert!(!knows(&mut memory.take(), RoomNo(2)), "it was taken");
        for no in (1..=KNOWN_MAX as u64).map(RoomNo) {
            rest.room(no, || Ok::<_, Infallible>(Some(room()))).unwrap();
        }
        memory.put(rest);
        assert!(!knows(&mut memory.take(), RoomNo(2)));
    }
}
