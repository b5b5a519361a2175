//! A store that takes its time, and writes down what it did.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chat_core::{
    ids::{RoomId, RoomNo, Seq, UserId},
    protocol::{Event, EventBody, MemberChange},
    rights::Actor,
    store::{
        Append, Appended, BoxFuture, Created, Member, MemoryStore, NewRoom, NoPage, Outcomes, Page,
        PageQuery, ReadMark, Refused, RoomView, Store, StoreError,
    },
};

use crate::{journal::Shared, timeline::Timeline};

/// A [`MemoryStore`] whose calls wait before and after they do their work, so that what they say can be old news.
#[derive(Debug, Clone)]
pub(crate) struct Lagging {
    inner: MemoryStore,
    journal: Shared,
    /// Milliseconds of the waits, taken in turn, again and again.
    lags_ms: Arc<[u8]>,
    next: Arc<AtomicUsize>,
}

impl Lagging {
    pub(crate) fn new(journal: Shared, lags_ms: &[u8]) -> Self {
        Self { inner: MemoryStore::new(), journal, lags_ms: lags_ms.into(), next: Arc::default() }
    }

    async fn lag(&self) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let lag_ms = turn.checked_rem(self.lags_ms.len()).map_or(0, |turn| self.lags_ms[turn]);
        if lag_ms > 0 {
            tokio::time::sleep(Duration::from_millis(lag_ms.into())).await;
        }
    }

    /// The work of the memory store is done when it is first polled: `note` sees the moment of it.
    fn call<'a, T: Send + 'a>(
        &'a self,
        work: BoxFuture<'a, T>,
        note: impl FnOnce(&T) + Send + 'a,
    ) -> BoxFuture<'a, T> {
        Box::pin(async move {
            self.lag().await;
            let done = work.await;
            note(&done);
            self.lag().await;
            done
        })
    }

    fn read<'a, T: Send + 'a>(&'a self, work: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
        self.call(work, |_| ())
    }

    fn note_room(&self, no: RoomNo, room: &NewRoom) {
        let mut timeline = Timeline::new(room.epoch.as_str(), room.visibility);
        let mut journal = self.journal.lock().unwrap();
        for (seq, (user, role)) in (1..).map(Seq).zip(&room.members) {
            let body = EventBody::Member { user: user.clone(), change: MemberChange::Added(*role) };
            let event = Event { room: room.id.clone(), seq, at: room.at, from: room.creator.clone(), body };
            journal.faults.extend(timeline.take(&event).err());
        }
        journal.made(room.id.as_str(), no.0, timeline);
    }

    fn note_outcomes(&self, rooms: &[RoomNo], outcomes: &Result<Outcomes, StoreError>) {
        let mut journal = self.journal.lock().unwrap();
        for (room, outcome) in rooms.iter().zip(outcomes.iter().flatten()) {
            if let Ok(Appended::New(committed)) = outcome {
                journal.committed(room.0, committed.event());
            }
        }
    }
}

impl Store for Lagging {
    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Outcomes, StoreError>> {
        let rooms: Vec<RoomNo> = batch.iter().map(|append| append.room).collect();
        Box::pin(async move {
            let work = self.inner.append(batch);
            let done = self.call(work, |outcomes| self.note_outcomes(&rooms, outcomes)).await;
            self.journal.lock().unwrap().settle();
            done
        })
    }

    fn create_room(&self, room: NewRoom, rooms_max: u64) -> BoxFuture<'_, Result<Created, StoreError>> {
        let wanted = room.clone();
        self.call(self.inner.create_room(room, rooms_max), move |done| {
            if let Ok(Created::New(record)) = done {
                self.note_room(record.no, &wanted);
            }
        })
    }

    fn delete_room(
        &self,
        room: RoomNo,
        actor: Actor,
    ) -> BoxFuture<'_, Result<Result<(), Refused>, StoreError>> {
        self.call(self.inner.delete_room(room, actor), move |done| {
            if matches!(done, Ok(Ok(()))) {
                self.journal.lock().unwrap().deleted(room.0);
            }
        })
    }

    fn trim(&self, room: RoomNo, first: Seq) -> BoxFuture<'_, Result<Option<Seq>, StoreError>> {
        self.call(self.inner.trim(room, first), move |kept| {
            if let Ok(Some(kept)) = kept {
                self.journal.lock().unwrap().trimmed(room.0, kept.0);
            }
        })
    }

    fn save_read_marks(&self, marks: Vec<ReadMark>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.read(self.inner.save_read_marks(marks))
    }

    fn room(&self, id: RoomId, user: UserId) -> BoxFuture<'_, Result<Option<RoomView>, StoreError>> {
        self.read(self.inner.room(id, user))
    }

    fn rooms(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<RoomView>, StoreError>> {
        self.read(self.inner.rooms(user, after, limit))
    }

    fn members(
        &self,
        room: RoomNo,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Member>, StoreError>> {
        self.read(self.inner.members(room, after, limit))
    }

    fn ends(&self, rooms: Vec<RoomNo>) -> BoxFuture<'_, Result<Vec<Option<Seq>>, StoreError>> {
        self.read(self.inner.ends(rooms))
    }

    fn page(&self, query: PageQuery) -> BoxFuture<'_, Result<Result<Page, NoPage>, StoreError>> {
        self.read(self.inner.page(query))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.ping()
    }
}
