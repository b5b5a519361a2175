//! How the nodes over one store hear of each other's commits.

use std::{fmt, sync::Arc};

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
