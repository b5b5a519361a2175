//! [`MemoryStore`]: the reference, in plain maps under one lock.

mod facts;
mod page;
mod room;

use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::room::Room;
use super::{
    Append, BoxFuture, Created, Member, NewRoom, NoPage, Outcomes, Page, PageQuery, ReadMark, Refused,
    RoomView, Store, StoreError,
    judge::{Verdict, judge},
};
use crate::{
    ids::{RoomId, RoomNo, Seq, UserId},
    rights::{Actor, Role, Standing, Visibility, role_in_room},
};

/// A store that forgets everything when it goes: for tests, and to read what a store has to do.
///
/// A clone shares the data, as two connections to one database do. No call ever waits or fails.
///
/// ```
/// use chat_core::store::{MemoryStore, Store};
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = MemoryStore::new();
/// store.ping().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore {
    data: Arc<Mutex<Data>>,
}

#[derive(Default)]
struct Data {
    /// How many rooms were ever made: their numbers, of which none is given twice.
    rooms_made: u64,
    numbers: BTreeMap<RoomId, RoomNo>,
    rooms: BTreeMap<RoomNo, Room>,
}

impl MemoryStore {
    /// A store without rooms.
    pub fn new() -> Self {
        Self::default()
    }

    /// A call that runs alone, and is ready when it is first polled.
    fn call<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&mut Data) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async move { Ok(work(&mut self.lock())) })
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says how much there is, and nothing of what people wrote.
impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("rooms", &self.lock().rooms.len()).finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Outcomes, StoreError>> {
        self.call(move |data| data.append(&batch))
    }

    fn create_room(&self, room: NewRoom, rooms_max: u64) -> BoxFuture<'_, Result<Created, StoreError>> {
        self.call(move |data| data.create_room(room, rooms_max))
    }

    fn delete_room(
        &self,
        room: RoomNo,
        actor: Actor,
    ) -> BoxFuture<'_, Result<Result<(), Refused>, StoreError>> {
        self.call(move |data| data.delete_room(room, &actor))
    }

    fn trim(&self, room: RoomNo, first: Seq) -> BoxFuture<'_, Result<Option<Seq>, StoreError>> {
        self.call(move |data| data.rooms.get_mut(&room).map(|room| room.trim(first)))
    }

    fn save_read_marks(&self, marks: Vec<ReadMark>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(move |data| data.save_read_marks(marks))
    }

    fn room(&self, id: RoomId, user: UserId) -> BoxFuture<'_, Result<Option<RoomView>, StoreError>> {
        self.call(move |data| Some(data.rooms.get(data.numbers.get(&id)?)?.view(&user)))
    }

    fn rooms(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<RoomView>, StoreError>> {
        self.call(move |data| data.rooms_of(&user, after.as_ref(), limit))
    }

    fn members(
        &self,
        room: RoomNo,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Member>, StoreError>> {
        self.call(move |data| {
            data.rooms.get(&room).map_or_else(Vec::new, |room| room.members(after.as_ref(), limit))
        })
    }

    fn ends(&self, rooms: Vec<RoomNo>) -> BoxFuture<'_, Result<Vec<Option<Seq>>, StoreError>> {
        self.call(move |data| rooms.iter().map(|no| Some(data.rooms.get(no)?.record.last_seq)).collect())
    }

    fn page(&self, query: PageQuery) -> BoxFuture<'_, Result<Result<Page, NoPage>, StoreError>> {
        self.call(move |data| data.rooms.get(&query.room).ok_or(NoPage::Gone)?.page(&query))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(|_| ())
    }
}

impl Data {
    fn append(&mut self, batch: &[Append]) -> Outcomes {
        let decide = |item: &Append| {
            let Ok(verdict) = judge(self, item);
            if let (Verdict::Accept(event), Some(room)) = (&verdict, self.rooms.get_mut(&item.room)) {
                room.write(event.clone());
            }
            verdict.into_outcome(item.room)
        };
        batch.iter().map(decide).collect()
    }

    fn create_room(&mut self, new: NewRoom, rooms_max: u64) -> Created {
        if let Some(room) = self.numbers.get(&new.id).and_then(|no| self.rooms.get(no)) {
            return Created::Exists(room.record.clone());
        }
        if self.rooms.len() as u64 >= rooms_max {
            return Created::Full;
        }
        self.rooms_made += 1;
        let no = RoomNo(self.rooms_made);
        let room = Room::new(no, new);
        let record = room.record.clone();
        self.numbers.insert(record.id.clone(), no);
        self.rooms.insert(no, room);
        Created::New(record)
    }

    fn delete_room(&mut self, no: RoomNo, actor: &Actor) -> Result<(), Refused> {
        let room = self.rooms.get(&no).ok_or(Refused::NoRoom)?;
        let role = role_in_room(room.record.visibility, room.standing(&actor.user), actor.authority);
        if role.ok_or(Refused::NoRoom)? < Role::Manager {
            return Err(Refused::Forbidden);
        }
        self.numbers.remove(&room.record.id);
        self.rooms.remove(&no);
        Ok(())
    }

    fn save_read_marks(&mut self, marks: Vec<ReadMark>) {
        for mark in marks {
            if let Some(room) = self.rooms.get_mut(&mark.room) {
                room.save_read_mark(mark.user, mark.seq);
            }
        }
    }

    fn rooms_of(&self, user: &UserId, after: Option<&RoomId>, limit: usize) -> Vec<RoomView> {
        let listed = |room: &&Room| match room.standing(user) {
            Standing::Member(_) => true,
            Standing::Outsider => room.record.visibility == Visibility::Public,
            Standing::Banned => false,
        };
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let numbers = self.numbers.range::<RoomId, _>((after, Bound::Unbounded)).map(|(_, no)| no);
        let rooms = numbers.filter_map(|no| self.rooms.get(no));
        rooms.filter(listed).take(limit).map(|room| room.view(user)).collect()
    }
}
