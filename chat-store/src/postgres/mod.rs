//! [`PostgresStore`]: rooms and timelines in one schema of a Postgres database.
//!
//! A call takes a connection from one of two pools ([`session`]) and has a bounded time for it ([`limits`]); a server
//! that does not answer is taken for away ([`link`]). [`batch`] applies the rules of [`chat_core::store::judge`] inside
//! the transaction: [`look`] fetches the facts, [`ledger`] has them, [`writes`] writes what follows. [`doubt`] knows
//! which commits nobody knows of.

mod address;
mod batch;
mod doubt;
mod fault;
mod hosts;
#[cfg(feature = "sqlite")]
pub(crate) mod import;
mod ledger;
mod limits;
mod link;
mod look;
pub mod maintenance;
mod migrations;
mod open;
mod options;
mod page;
mod rooms;
mod rows;
mod session;
mod sweep;
mod tls;
mod views;
mod writes;

use std::{fmt, sync::Arc};

use chat_core::{
    ids::{RoomId, RoomNo, Seq, UserId},
    rights::Actor,
    store::{
        Append, BoxFuture, Created, Member, NewRoom, NoPage, Outcomes, Page, PageQuery, ReadMark, Refused,
        RoomView, Store, StoreError,
    },
};
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};

pub use self::{
    address::{InvalidAddress, PostgresAddress},
    open::PostgresError,
    options::PostgresOptions,
    tls::TlsError,
};
use self::{
    doubt::Doubts,
    fault::Failure,
    hosts::Hosts,
    limits::{CALL_MAX, CONNECT_MAX, SILENCE_MIN},
    link::Link,
    open::{Purpose, Way},
    rooms::Trimmed,
    session::{Client, Lease},
    sweep::Sweeper,
};

/// A store in one schema, `chat`, of a Postgres database: for any number of servers at a time.
///
/// Batches of several servers that have a room in common come one after the other: the room's row is locked from the
/// first look to the commit, so numbers are dense and their order is the order of commits. `synchronous_commit` is `on`
/// whatever the server, the database or the role say.
///
/// A server that does not answer is given up after 4 s, and looked for from then on: meanwhile everything is answered
/// with [`StoreError::Unavailable`] at once. So is what took Postgres longer than 3 s to read, or waited longer than 3 s
/// for a room. Where the outcome of a commit was lost, [`Store::ends`] waits for it.
///
/// It speaks to Postgres 13 and newer, directly or through a pooler that leaves a session to it as a whole. A large
/// [`trim`](Store::trim) is several transactions; what a deleted room leaves is taken away in the background. Texts that
/// were deleted are in no row any more, but Postgres' files have them until it has vacuumed.
///
/// It works in the tokio runtime in which it is called. The driver, `tokio-postgres`, tells the crate `log` the values of
/// all parameters at the level `debug`, what people wrote among them: whoever listens to `log` should leave that out.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use chat_core::store::Store;
/// use chat_store::PostgresStore;
/// let store = PostgresStore::open("postgres://chat@localhost/chat".parse()?).await?;
/// store.ping().await?;
/// # Ok(())
/// # }
/// ```
pub struct PostgresStore {
    inner: Arc<Inner>,
}

/// What the store shares with its tasks.
struct Inner {
    shown: String,
    writers: Pool,
    /// For whatever has a connection that writes and is no batch: one less than there are of those.
    others: Semaphore,
    readers: Pool,
    link: Link,
    doubts: Doubts,
    sweeper: Sweeper,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("database", &self.inner.shown).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens a database with the default options: see [`PostgresOptions::open`].
    ///
    /// # Errors
    /// [`PostgresError`]; the database is then as it was.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the schema either as it was or up to date.
    pub async fn open(address: PostgresAddress) -> Result<Self, PostgresError> {
        PostgresOptions::new(address).open().await
    }

    async fn start(options: PostgresOptions) -> Result<Self, PostgresError> {
        let address = &options.address;
        let tls = open::connector(address).await?;
        let mut way = Way::to(address, tls.clone()).await?;
        migrations::run(&mut way.client).await.map_err(|reason| reason.of(address))?;
        drop(way);
        let hosts = Hosts::of(address, tls);
        let pool = |purpose, connections| {
            let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
            let manager = Manager::from_connect(address.config(), hosts.clone(), config);
            let begin: Arc<str> = (open::settings(purpose) + &migrations::hold_serving()).into();
            let pool = Pool::builder(manager)
                .max_size(connections)
                .runtime(Runtime::Tokio1)
                .create_timeout(Some(hosts.time_max()))
                .post_create(Hook::async_fn(move |client: &mut Client, _| {
                    let begin = Arc::clone(&begin);
                    Box::pin(async move {
                        let begun = timeout(CONNECT_MAX, client.batch_execute(&begin)).await;
                        let begun =
                            begun.map_err(|_late| HookError::message("nothing was answered in time"))?;
                        begun.map_err(HookError::Backend)
                    })
                }));
            pool.build().expect("a runtime is given for its timeouts")
        };
        let inner = Inner {
            shown: address.shown(),
            writers: pool(Purpose::Writing, options.writers()),
            others: Semaphore::new(options.writers() - 1),
            readers: pool(Purpose::Reading, options.readers()),
            link: Link::default(),
            doubts: Doubts::default(),
            sweeper: Sweeper::default(),
        };
        let store = Self { inner: Arc::new(inner) };
        // From the first moment on it shows that it serves: the pools would make their connections later.
        let connected = timeout(CALL_MAX, store.inner.writers.get()).await;
        let connected = connected.unwrap_or(Err(PoolError::Timeout(TimeoutType::Create)));
        drop(connected.map_err(|error| open::unreached(error, address))?);
        store.inner.sweeper.start(Arc::downgrade(&store.inner));
        Ok(store)
    }

    /// Runs `work` on a connection that writes: what batches are made of, and nothing that waits for any other lock.
    fn write<'a, T: Send + 'a>(
        &'a self,
        work: impl for<'c> FnOnce(&'c Client, &'c Doubts) -> BoxFuture<'c, Result<T, Failure>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async { Ok(self.inner.call(&self.inner.writers, work).await?) })
    }

    /// Runs `work`, which is no batch, on a connection that writes.
    fn change<'a, T: Send + 'a>(
        &'a self,
        work: impl for<'c> FnOnce(&'c Client, &'c Doubts) -> BoxFuture<'c, Result<T, Failure>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async { Ok(self.inner.change(work).await?) })
    }

    /// Runs `work` on a connection that reads.
    fn read<'a, T: Send + 'a>(
        &'a self,
        work: impl for<'c> FnOnce(&'c Client, &'c Doubts) -> BoxFuture<'c, Result<T, Failure>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async { Ok(self.inner.call(&self.inner.readers, work).await?) })
    }
}

impl Inner {
    /// Runs `work` on a connection, within [`CALL_MAX`].
    async fn call<T>(
        self: &Arc<Self>,
        pool: &Pool,
        work: impl for<'c> FnOnce(&'c Client, &'c Doubts) -> BoxFuture<'c, Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.bounded(async |deadline| self.attempt(pool, deadline, work).await).await
    }

    /// The same on a connection that writes, and never on the last one of them: it is left to the batches, whatever lock
    /// `work` waits for.
    async fn change<T>(
        self: &Arc<Self>,
        work: impl for<'c> FnOnce(&'c Client, &'c Doubts) -> BoxFuture<'c, Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.bounded(async |deadline| {
            let turn = timeout_at(deadline, self.others.acquire()).await;
            let _turn = turn.map_err(|_late| Failure::Late)?.expect("it is never closed");
            self.attempt(&self.writers, deadline, work).await
        })
        .await
    }

    /// Does something that has [`CALL_MAX`], and finds out with it whether the server is there.
    async fn bounded<T>(
        self: &Arc<Self>,
        work: impl AsyncFnOnce(Instant) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.link.check()?;
        let done = work(Instant::now() + CALL_MAX).await;
        if let Err(failure) = &done
            && failure.is_absence()
        {
            self.lost(failure);
        }
        done
    }

    async fn attempt<T>(
        &self,
        pool: &Pool,
        deadline: Instant,
        work: impl for<'c> FnOnce(&'c Client, &'c Doubts) -> BoxFuture<'c, Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let waited = timeout_at(deadline, pool.get()).await;
        let lease = Lease::of(waited.unwrap_or(Err(PoolError::Timeout(TimeoutType::Wait)))?);
        let time_left = deadline.saturating_duration_since(Instant::now());
        let done = timeout_at(deadline, work(&lease, &self.doubts)).await;
        let silence = if time_left < SILENCE_MIN { Failure::Late } else { Failure::Silence };
        let done = done.unwrap_or(Err(silence))?;
        lease.give_back();
        Ok(done)
    }

    /// Whether somebody answers who takes writes.
    async fn probe(&self) -> Result<(), Failure> {
        let lease = Lease::of(self.writers.get().await?);
        writable(&lease).await?;
        lease.give_back();
        Ok(())
    }

    /// Closes all connections that nobody works with.
    fn forget_connections(&self) {
        for pool in [&self.writers, &self.readers] {
            pool.retain(|_, _| false);
        }
    }
}

async fn writable(client: &Client) -> Result<(), Failure> {
    let read_only = "SELECT current_setting('transaction_read_only')::boolean";
    let row = session::query_opt(client, read_only, &[]).await?;
    match row.map(|row| row.try_get(0)).transpose()? {
        Some(false) => Ok(()),
        _ => Err(Failure::ReadOnly),
    }
}

impl Store for PostgresStore {
    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Outcomes, StoreError>> {
        self.write(|client, doubts| Box::pin(async move { batch::append(client, &batch, doubts).await }))
    }

    fn create_room(&self, room: NewRoom, rooms_max: u64) -> BoxFuture<'_, Result<Created, StoreError>> {
        self.change(move |client, _| Box::pin(async move { rooms::create(client, &room, rooms_max).await }))
    }

    fn delete_room(
        &self,
        room: RoomNo,
        actor: Actor,
    ) -> BoxFuture<'_, Result<Result<(), Refused>, StoreError>> {
        Box::pin(async move {
            let delete = self.change(move |client, doubts| {
                Box::pin(async move { rooms::delete(client, room, &actor, doubts).await })
            });
            let deleted = delete.await?;
            if deleted.is_ok() {
                self.inner.sweeper.ring();
            }
            Ok(deleted)
        })
    }

    /// One transaction for some thousands of events: where one fails, those before it stay trimmed.
    fn trim(&self, room: RoomNo, first: Seq) -> BoxFuture<'_, Result<Option<Seq>, StoreError>> {
        Box::pin(async move {
            loop {
                match self.change(move |client, _| Box::pin(rooms::trim(client, room, first))).await? {
                    Trimmed::NoRoom => return Ok(None),
                    Trimmed::Done(oldest) => return Ok(Some(oldest)),
                    Trimmed::To(_) => {}
                }
            }
        })
    }

    fn save_read_marks(&self, marks: Vec<ReadMark>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change(|client, _| Box::pin(async move { rooms::save_read_marks(client, &marks).await }))
    }

    fn room(&self, id: RoomId, user: UserId) -> BoxFuture<'_, Result<Option<RoomView>, StoreError>> {
        self.read(|client, _| Box::pin(async move { views::room(client, &id, &user).await }))
    }

    fn rooms(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<RoomView>, StoreError>> {
        self.read(move |client, _| {
            Box::pin(async move { views::rooms(client, &user, after.as_ref(), limit).await })
        })
    }

    fn members(
        &self,
        room: RoomNo,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Member>, StoreError>> {
        self.read(move |client, _| {
            Box::pin(async move { views::members(client, room, after.as_ref(), limit).await })
        })
    }

    /// Where the outcome of a commit is not known, it waits for whoever has the room's lock.
    fn ends(&self, rooms: Vec<RoomNo>) -> BoxFuture<'_, Result<Vec<Option<Seq>>, StoreError>> {
        self.write(|client, doubts| Box::pin(async move { views::ends(client, &rooms, doubts).await }))
    }

    fn page(&self, query: PageQuery) -> BoxFuture<'_, Result<Result<Page, NoPage>, StoreError>> {
        self.read(|client, _| Box::pin(async move { page::page(client, &query).await }))
    }

    /// Asks whether the server takes writes, and waits for commits of which nobody knows: a server whose commits hang, as
    /// where a standby is missing, does not answer.
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(|client, doubts| {
            Box::pin(async move {
                writable(client).await?;
                views::settle(client, doubts).await
            })
        })
    }
}
