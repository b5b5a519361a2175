//! How the nodes over one store hear of each other's commits.

use std::{fmt, future, sync::Arc};

use tokio::sync::broadcast;

use crate::{
    ids::{RoomId, RoomNo, Seq},
    store::Committed,
};

/// Notices that a subscriber of [`LocalBus`] may be behind before it loses the oldest.
pub const LOCAL_BUS_NOTICES_MAX: usize = 1024;

/// What one node tells the others.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Notice {
    /// These events of one room are committed: in order, without a hole among them.
    Committed(Arc<[Committed]>),
    /// A room ends here: what is before it, and not heard of, is in the store.
    End {
        /// The store's number of it.
        no: RoomNo,
        /// Its newest event.
        last: Seq,
    },
    /// This incarnation of a room is gone.
    Deleted {
        /// Its id.
        room: RoomId,
        /// The store's number of it.
        no: RoomNo,
    },
}

/// What a subscription yields.
#[derive(Debug, Clone)]
pub enum BusEvent {
    /// A notice of another node.
    Notice(Notice),
    /// Notices may have been lost: whoever listens asks the store where its rooms end.
    Lost,
    /// There will be no more.
    Closed,
}

/// A doorbell between nodes that also carries what is at the door.
///
/// # Contract
/// The store is the only truth: a notice may be lost, doubled, late or out of order, and costs no more than latency,
/// as receivers deliver in order of numbers and fill holes from the store. A bus that *knows* of a loss says
/// [`BusEvent::Lost`]. A node may hear its own notices.
pub trait Bus: Send + Sync + fmt::Debug + 'static {
    /// Tells the other nodes. It does not block; what the bus cannot take it may drop, if it then says
    /// [`BusEvent::Lost`] to those who miss it.
    fn publish(&self, notice: Notice);

    /// Listens from now on.
    fn subscribe(&self) -> Box<dyn Subscription>;
}

/// One node's ear on a [`Bus`].
pub trait Subscription: Send + fmt::Debug {
    /// The next notice.
    ///
    /// # Cancel safety
    /// A dropped future loses nothing.
    fn next(&mut self) -> crate::store::BoxFuture<'_, BusEvent>;
}

/// The bus of nodes that have none: it carries nothing. A node that has it asks the store every
/// [`STORE_LOOK_PAUSE`](crate::limits::STORE_LOOK_PAUSE) where its rooms end, as every node with a bus does, and reads
/// what others have committed since. So messages, edits, memberships and all else that has a number are seen on every
/// node within about that time, and a right that ended on another node ends here no later. Who is online, who types and
/// what others have read is told on each node of its own connections only.
///
/// ```
/// use chat_core::{
///     After, Draft, Engine, Identity, Incoming, MissingRooms, bus::PollBus, store::MemoryStore,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let node = async || {
///     let missing = MissingRooms::Create { rooms_max: 10 };
///     Engine::builder(store.clone()).bus(PollBus).missing_rooms(missing).build().await
/// };
/// let (here, there) = (node().await?, node().await?);
/// let mut ann = here.connect(Identity::new("ann")?);
/// ann.join("lobby", After::Live).await?;
/// let mut bob = there.connect(Identity::new("bob")?);
/// bob.join("lobby", After::Live).await?;
/// bob.send("lobby", Draft::text("from over there")).await?;
/// while let Some(incoming) = ann.next().await {
///     if matches!(incoming, Incoming::Event(_)) {
///         break;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default, Clone, Copy)]
pub struct PollBus;

impl Bus for PollBus {
    fn publish(&self, _: Notice) {}

    fn subscribe(&self) -> Box<dyn Subscription> {
        Box::new(Self)
    }
}

impl Subscription for PollBus {
    fn next(&mut self) -> crate::store::BoxFuture<'_, BusEvent> {
        Box::pin(future::pending())
    }
}

/// The bus of engines in one process: for one engine alone, and for tests of several over one store.
/// A clone is the same bus.
#[derive(Debug, Clone)]
pub struct LocalBus {
    sender: broadcast::Sender<Notice>,
}

impl LocalBus {
    /// A bus without subscribers.
    pub fn new() -> Self {
        Self { sender: broadcast::Sender::new(LOCAL_BUS_NOTICES_MAX) }
    }
}

impl Default for LocalBus {
    fn default() -> Self {
        Self::new()
    }
}

impl Bus for LocalBus {
    fn publish(&self, notice: Notice) {
        // An error only says that nobody listens.
        let _ = self.sender.send(notice);
    }

    fn subscribe(&self) -> Box<dyn Subscription> {
        Box::new(LocalSubscription(self.sender.subscribe()))
    }
}

#[derive(Debug)]
struct LocalSubscription(broadcast::Receiver<Notice>);

impl Subscription for LocalSubscription {
    fn next(&mut self) -> crate::store::BoxFuture<'_, BusEvent> {
        Box::pin(async {
            match self.0.recv().await {
                Ok(notice) => BusEvent::Notice(notice),
                Err(broadcast::error::RecvError::Lagged(_)) => BusEvent::Lost,
                Err(broadcast::error::RecvError::Closed) => BusEvent::Closed,
            }
        })
    }
}
