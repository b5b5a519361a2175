//! [`FaultyStore`]: a sound store with planted faults.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{
    ids::{RoomId, RoomNo, Seq, UserId},
    rights::Actor,
    store::{
        Append, BoxFuture, Change, Created, Member, NewRoom, NoPage, Outcomes, Page, PageQuery, ReadMark,
        Refused, RoomView, Store, StoreError,
    },
};

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// [`StoreError::Unavailable`], and nothing was done.
    FailBefore,
    /// [`StoreError::Unavailable`], although all was done: the answer was lost.
    FailAfter,
    /// [`StoreError::Rejected`], and nothing was done.
    Reject,
    /// Nothing is done until [`FaultyStore::release`].
    HoldBefore,
    /// It is done, but the answer waits for [`FaultyStore::release`].
    HoldAfter,
}

/// Which calls a script is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// [`Store::append`].
    Appends,
    /// All others that change something.
    OtherWrites,
    /// Those that read, [`Store::ping`] too.
    Reads,
}

/// How often a call without a script meets a fault, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chance {
    /// One call in so many; 0 is none.
    pub one_in: u32,
    /// Each as likely as the next. One that stands twice is twice as likely; where there is none, there is no fault.
    pub faults: Vec<Fault>,
}

/// What was called so far, and what came of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls of every kind.
    pub calls: u64,
    /// Met [`Fault::FailBefore`], or the outage.
    pub failed_before: u64,
    /// Met [`Fault::FailAfter`].
    pub failed_after: u64,
    /// Met [`Fault::Reject`], or the poison.
    pub rejected: u64,
    /// Met [`Fault::HoldBefore`] or [`Fault::HoldAfter`], released or not.
    pub held: u64,
}

/// A store with faults at will: for tests of what stands on a store.
///
/// A call meets, in this order: the poison, the outage, the next fault of its script, one by [`Chance`]. Which it is
/// is settled when the call is made, not when its future is polled, and nothing here asks a clock: the same calls in
/// the same order meet the same faults. A clone shares everything.
///
/// ```
/// use chat_core::{
///     store::{MemoryStore, Store},
///     testing::{Calls, Fault, FaultyStore},
/// };
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = FaultyStore::new(MemoryStore::new());
/// store.script(Calls::Reads, [None, Some(Fault::FailBefore)]);
/// assert!(store.ping().await.is_ok());
/// assert!(store.ping().await.is_err());
/// assert!(store.ping().await.is_ok());
/// assert_eq!(store.counts().failed_before, 1);
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    plan: Arc<Mutex<Plan>>,
    /// How many of the held calls may go on, in the order in which they were made.
    released: watch::Sender<u64>,
}

#[derive(Default)]
struct Plan {
    appends: VecDeque<Option<Fault>>,
    other_writes: VecDeque<Option<Fault>>,
    reads: VecDeque<Option<Fault>>,
    random: Option<(fastrand::Rng, Chance)>,
    poison: Option<Box<str>>,
    outage: bool,
    counts: Counts,
}

/// The fault of one call; one that is held waits until more than this many are released.
#[derive(Clone, Copy)]
struct Met {
    fault: Option<Fault>,
    held_before: u64,
}

impl FaultyStore {
    /// A store that does what `inner` does, as long as nothing else is asked for.
    pub fn new(inner: impl Store) -> Self {
        Self { inner: Arc::new(inner), plan: Arc::default(), released: watch::Sender::new(0) }
    }

    /// What the next calls of a kind meet, one after the other, after what was scripted for them before; `None` goes
    /// well.
    pub fn script(&self, calls: Calls, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.plan().script(calls).extend(faults);
    }

    /// Calls without a script meet faults by chance, drawn from `rng`.
    pub fn at_random(&self, rng: fastrand::Rng, chance: Chance) {
        self.plan().random = Some((rng, chance));
    }

    /// From now on every batch with a text that holds `marker` is rejected, alone or among others. An empty marker is
    /// in every text.
    pub fn poison(&self, marker: &str) {
        self.plan().poison = Some(marker.into());
    }

    /// From now on every call meets [`Fault::FailBefore`].
    pub fn go_down(&self) {
        self.plan().outage = true;
    }

    /// Ends what [`FaultyStore::go_down`] began.
    pub fn come_back(&self) {
        self.plan().outage = false;
    }

    /// Lets the `calls` longest held go on; no more than are held.
    pub fn release(&self, calls: u64) {
        let held = self.plan().counts.held;
        self.released.send_modify(|released| *released = released.saturating_add(calls).min(held));
    }

    /// Lets all that are held go on.
    pub fn release_all(&self) {
        self.release(u64::MAX);
    }

    /// How many calls are held. One whose future was dropped counts until its turn is over.
    pub fn holding(&self) -> u64 {
        self.plan().counts.held - *self.released.borrow()
    }

    /// What was called so far.
    pub fn counts(&self) -> Counts {
        self.plan().counts
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call<'a, T: Send + 'a>(
        &'a self,
        met: Met,
        call: impl FnOnce(&'a dyn Store) -> BoxFuture<'a, Result<T, StoreError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        let inner = &*self.inner;
        Box::pin(async move {
            match met.fault {
                None => call(inner).await,
                Some(Fault::FailBefore) => Err(StoreError::unavailable("planted: nothing was done")),
                Some(Fault::FailAfter) => {
                    call(inner).await?;
                    Err(StoreError::unavailable("planted: the answer was lost"))
                }
                Some(Fault::Reject) => Err(StoreError::rejected("planted: nothing was done")),
                Some(Fault::HoldBefore) => {
                    self.turn(met.held_before).await;
                    call(inner).await
                }
                Some(Fault::HoldAfter) => {
                    let answer = call(inner).await;
                    self.turn(met.held_before).await;
                    answer
                }
            }
        })
    }

    /// Waits until more than so many calls are released.
    async fn turn(&self, held_before: u64) {
        // The sender lives in `self`, so there is always an answer.
        let _ = self.released.subscribe().wait_for(|released| *released > held_before).await;
    }
}

impl Plan {
    const fn script(&mut self, calls: Calls) -> &mut VecDeque<Option<Fault>> {
        match calls {
            Calls::Appends => &mut self.appends,
            Calls::OtherWrites => &mut self.other_writes,
            Calls::Reads => &mut self.reads,
        }
    }

    fn meet(&mut self, calls: Calls) -> Met {
        let fault = if self.outage {
            Some(Fault::FailBefore)
        } else if let Some(scripted) = self.script(calls).pop_front() {
            scripted
        } else {
            self.random.as_mut().and_then(|(rng, chance)| chance.draw(rng))
        };
        self.count(fault)
    }

    fn meet_batch(&mut self, batch: &[Append]) -> Met {
        let poisonous = |marker: &str| batch.iter().filter_map(text).any(|text| text.contains(marker));
        if self.poison.as_deref().is_some_and(poisonous) {
            return self.count(Some(Fault::Reject));
        }
        self.meet(Calls::Appends)
    }

    const fn count(&mut self, fault: Option<Fault>) -> Met {
        let counts = &mut self.counts;
        let held_before = counts.held;
        counts.calls += 1;
        match fault {
            None => {}
            Some(Fault::FailBefore) => counts.failed_before += 1,
            Some(Fault::FailAfter) => counts.failed_after += 1,
            Some(Fault::Reject) => counts.rejected += 1,
            Some(Fault::HoldBefore | Fault::HoldAfter) => counts.held += 1,
        }
        Met { fault, held_before }
    }
}

impl Chance {
    fn draw(&self, rng: &mut fastrand::Rng) -> Option<Fault> {
        let meets = self.one_in > 0 && rng.u32(..self.one_in) == 0;
        if meets { rng.choice(&self.faults).copied() } else { None }
    }
}

const fn text(item: &Append) -> Option<&str> {
    match &item.change {
        Change::Message(draft) => Some(&draft.text),
        Change::Edit { text, .. } => Some(text),
        Change::Delete { .. } | Change::React { .. } | Change::Member { .. } | Change::Room(_) => None,
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore")
            .field("inner", &self.inner)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Store for FaultyStore {
    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Outcomes, StoreError>> {
        let met = self.plan().meet_batch(&batch);
        self.call(met, |inner| inner.append(batch))
    }

    fn create_room(&self, room: NewRoom, rooms_max: u64) -> BoxFuture<'_, Result<Created, StoreError>> {
        let met = self.plan().meet(Calls::OtherWrites);
        self.call(met, move |inner| inner.create_room(room, rooms_max))
    }

    fn delete_room(
        &self,
        room: RoomNo,
        actor: Actor,
    ) -> BoxFuture<'_, Result<Result<(), Refused>, StoreError>> {
        let met = self.plan().meet(Calls::OtherWrites);
        self.call(met, move |inner| inner.delete_room(room, actor))
    }

    fn trim(&self, room: RoomNo, first: Seq) -> BoxFuture<'_, Result<Option<Seq>, StoreError>> {
        let met = self.plan().meet(Calls::OtherWrites);
        self.call(met, move |inner| inner.trim(room, first))
    }

    fn save_read_marks(&self, marks: Vec<ReadMark>) -> BoxFuture<'_, Result<(), StoreError>> {
        let met = self.plan().meet(Calls::OtherWrites);
        self.call(met, |inner| inner.save_read_marks(marks))
    }

    fn room(&self, id: RoomId, user: UserId) -> BoxFuture<'_, Result<Option<RoomView>, StoreError>> {
        let met = self.plan().meet(Calls::Reads);
        self.call(met, |inner| inner.room(id, user))
    }

    fn rooms(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<RoomView>, StoreError>> {
        let met = self.plan().meet(Calls::Reads);
        self.call(met, move |inner| inner.rooms(user, after, limit))
    }

    fn members(
        &self,
        room: RoomNo,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Member>, StoreError>> {
        let met = self.plan().meet(Calls::Reads);
        self.call(met, move |inner| inner.members(room, after, limit))
    }

    fn ends(&self, rooms: Vec<RoomNo>) -> BoxFuture<'_, Result<Vec<Option<Seq>>, StoreError>> {
        let met = self.plan().meet(Calls::Reads);
        self.call(met, |inner| inner.ends(rooms))
    }

    fn page(&self, query: PageQuery) -> BoxFuture<'_, Result<Result<Page, NoPage>, StoreError>> {
        let met = self.plan().meet(Calls::Reads);
        self.call(met, |inner| inner.page(query))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let met = self.plan().meet(Calls::Reads);
        self.call(met, |inner| inner.ping())
    }
}
