//! The engine as its users hold it.

mod local;
mod rooms;
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use self::{
    local::{After, Incoming, LocalSession},
    rooms::{NewRoomOutcome, RoomDraft},
    wire::WireSession,
};
use crate::{
    bus::Bus,
    connection::Acks,
    driver::{Clock, Driver, until},
    hub::{Hub, MissingRooms},
    ids::ConnId,
    limits::Limits,
    metrics::Tally,
    policy::{AllowAll, Policy},
    protocol::Codec,
    rights::Identity,
    session::Session,
    store::{Store, StoreError},
    strain::Strain,
};

/// A chat engine over one store. A clone is the same engine; its tasks end with the last clone and the last session.
///
/// ```
/// # use chat_core::{After, Draft, Engine, Identity, store::MemoryStore, MissingRooms};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder(MemoryStore::new())
///     .missing_rooms(MissingRooms::Create { rooms_max: 100 })
///     .build()
///     .await?;
/// let mut session = engine.connect(Identity::new("ann")?);
/// let joined = session.join("lobby", After::Live).await?;
/// let ack = session.send("lobby", Draft::text("hello").key("k1")).await?;
/// assert_eq!(ack.seq.0, joined.last_seq.0 + 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    hub: Arc<Hub>,
    store: Arc<dyn Store>,
    bus: Option<Arc<dyn Bus>>,
    clock: Clock,
    next_conn: AtomicU64,
    _driver: Driver,
}

/// Settings of an [`Engine`] that is to be built.
#[derive(Debug)]
pub struct EngineBuilder {
    store: Arc<dyn Store>,
    bus: Option<Arc<dyn Bus>>,
    policy: Arc<dyn Policy>,
    limits: Limits,
    missing: MissingRooms,
}

impl EngineBuilder {
    /// The embedding service's own rules; [`AllowAll`] otherwise.
    #[must_use]
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// How this engine hears of others over the same store; without one it is alone, and never looks at the store for what
    /// others have committed. Where others are, and no bus: [`PollBus`](crate::bus::PollBus).
    #[must_use]
    pub fn bus(mut self, bus: impl Bus) -> Self {
        self.bus = Some(Arc::new(bus));
        self
    }

    /// Other bounds than [`Limits::default`].
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What to do about a `join` of a room that is not there; nothing otherwise.
    #[must_use]
    pub const fn missing_rooms(mut self, missing: MissingRooms) -> Self {
        self.missing = missing;
        self
    }

    /// Starts the engine on the current tokio runtime.
    ///
    /// # Errors
    /// What the store says, where it does not answer.
    ///
    /// # Cancel safety
    /// Nothing has been started before it resolves.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn build(self) -> Result<Engine, StoreError> {
        self.store.ping().await?;
        let clock = Clock::start();
        let hub = Arc::new(Hub::new(self.limits, self.policy, self.missing));
        let driver = Driver::spawn(hub.clone(), self.store.clone(), self.bus.clone(), clock);
        let next_conn = AtomicU64::new(1);
        let inner = Inner { hub, store: self.store, bus: self.bus, clock, next_conn, _driver: driver };
        Ok(Engine { inner: Arc::new(inner) })
    }
}

impl Engine {
    /// Settings of an engine over `store`.
    pub fn builder(store: impl Store) -> EngineBuilder {
        Self::builder_shared(Arc::new(store))
    }

    /// The same, over a store that others hold too.
    pub fn builder_shared(store: Arc<dyn Store>) -> EngineBuilder {
        EngineBuilder {
            store,
            bus: None,
            policy: Arc::new(AllowAll),
            limits: Limits::default(),
            missing: MissingRooms::default(),
        }
    }

    /// The bounds that clients are told of.
    pub fn limits(&self) -> &Limits {
        &self.inner.hub.limits
    }

    /// A connection of this program's own, without a socket.
    pub fn connect(&self, who: Identity) -> LocalSession {
        LocalSession::new(self.clone(), self.session(who, Acks::Apart))
    }

    /// A connection for a transport: frames in, bytes out.
    pub fn attach(&self, who: Identity, codec: Codec) -> WireSession {
        WireSession::new(self.clone(), self.session(who, Acks::InPlace), codec)
    }

    fn session(&self, who: Identity, acks: Acks) -> Session {
        let conn = ConnId(self.inner.next_conn.fetch_add(1, Ordering::Relaxed));
        Session::new(self.inner.clock.now(), conn, who, acks, self.inner.hub.clone())
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// What the store says.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.inner.store.ping().await
    }

    /// Says how hard pressed the node is, until it is said anew. Whoever runs the engine finds that out.
    ///
    /// ```
    /// # use chat_core::{After, Draft, Engine, ErrorCode, Identity, Limits, MissingRooms, Strain, store::MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let missing = MissingRooms::Create { rooms_max: 100 };
    /// let mut limits = Limits::default();
    /// limits.strained_queue = 0; // 256 unless set
    /// let builder = Engine::builder(MemoryStore::new()).limits(limits);
    /// # let engine = builder.missing_rooms(missing).build().await?;
    /// # let mut session = engine.connect(Identity::new("ann")?);
    /// # session.join("lobby", After::Live).await?;
    /// engine.set_strain(Strain::RefuseSends);
    /// let refused = session.send("lobby", Draft::text("hello").key("k1")).await;
    /// assert_eq!(refused.unwrap_err().code, ErrorCode::Overloaded);
    /// engine.set_strain(Strain::None);
    /// session.send("lobby", Draft::text("hello").key("k1")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_strain(&self, strain: Strain) {
        self.inner.hub.set_strain(strain);
    }

    /// How hard pressed the node was [said](Self::set_strain) to be.
    pub fn strain(&self) -> Strain {
        self.inner.hub.strain()
    }

    /// What the engine has done since it was built.
    pub fn tally(&self) -> Tally {
        self.inner.hub.tally()
    }

    /// How long the oldest change that is not committed yet has waited for its commit to begin; zero where there is none.
    ///
    /// What a commit takes does not count: a store that stands still is not one that has too much to do.
    pub fn commit_wait(&self) -> Duration {
        self.inner.hub.commit_wait(self.inner.clock.now())
    }

    /// Waits until everything handed in is committed or refused, and the read marks are written. Call it when no more
    /// comes in; it waits as long as the store takes.
    ///
    /// # Cancel safety
    /// It only waits.
    pub async fn settle(&self) {
        self.inner.hub.save_marks();
        until(|| self.inner.hub.is_idle()).await;
    }
}
