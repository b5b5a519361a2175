//! What all users of a run share. Everything is on one thread.

use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, Ipv4Addr},
};

use tokio::sync::{Notify, Semaphore};

use super::{RunError, tally::Tally};
use crate::client::{Fault, Subprotocol, http::Target};

/// One read takes so much, and all connections read into the same buffer: 256 KiB is what a connection gets from a
/// server that has gathered for it.
const READ_BYTES_MAX: usize = 256 << 10;

/// So many connections are opened at once. More would only wait for the server's accept queue.
const OPENING_MAX: usize = 64;

/// So many connections have one source address: a system gives some 28,000 ports to each.
const USERS_PER_SOURCE: usize = 5000;

/// What all users share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) target: Target,
    pub(super) subprotocol: Subprotocol,
    pub(super) text_bytes: usize,
    pub(super) tally: RefCell<Tally>,
    pub(super) buffer: RefCell<Vec<u8>>,
    pub(super) opening: Semaphore,
    /// How many users are connected, have joined and are caught up.
    pub(super) live: Cell<usize>,
    /// How often a user became one of them.
    pub(super) arrivals: Cell<u64>,
    /// One more of them, or a reason to give up.
    pub(super) arrived: Notify,
    /// Whether those who talk as fast as they can do so.
    pub(super) is_talking: Cell<bool>,
    given_up: RefCell<Option<RunError>>,
}

impl Shared {
    pub(super) fn new(target: Target, subprotocol: Subprotocol, text_bytes: usize, rooms: usize) -> Self {
        Self {
            target,
            subprotocol,
            text_bytes,
            tally: RefCell::new(Tally::new(rooms, text_bytes)),
            buffer: RefCell::new(vec![0; READ_BYTES_MAX]),
            opening: Semaphore::new(OPENING_MAX),
            live: Cell::new(0),
            arrivals: Cell::new(0),
            arrived: Notify::new(),
            is_talking: Cell::new(false),
            given_up: RefCell::default(),
        }
    }

    pub(super) fn fault(&self, who: &str, fault: &Fault) {
        self.tally.borrow_mut().fault(who, fault);
    }

    /// Somebody could not come in at all: the run is not what it was to be.
    pub(super) fn give_up(&self, error: RunError) {
        self.given_up.borrow_mut().get_or_insert(error);
        self.arrived.notify_one();
    }

    pub(super) fn take_given_up(&self) -> Option<RunError> {
        self.given_up.take()
    }

    /// Where the user of this number connects from: loopback has many addresses, and each has its own ports.
    pub(super) fn source(&self, user: usize) -> Option<Ipv4Addr> {
        let last = u8::try_from(1 + user / USERS_PER_SOURCE).unwrap_or(u8::MAX);
        let is_loopback = matches!(self.target.address.ip(), IpAddr::V4(address) if address.is_loopback());
        is_loopback.then(|| Ipv4Addr::new(127, 0, 0, last))
    }
}
