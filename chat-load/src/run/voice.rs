//! What a user speaks: our protocol, or what another's server understands.

use super::{foreign::Foreign, tally::Hearing};
use crate::client::{Client, End};

/// The client of a user. It is asked once a read which one it is, and not once a frame.
#[derive(Debug)]
pub(super) enum Voice {
    Ours(Client),
    Others(Foreign),
}

/// Takes what a server says.
pub(super) trait Hears {
    fn hear(&mut self, text: &[u8], hearing: &mut Hearing<'_>);
    fn pong(&mut self, payload: &[u8]);
}

impl Hears for Client {
    #[inline]
    fn hear(&mut self, text: &[u8], hearing: &mut Hearing<'_>) {
        Self::hear(self, text, hearing);
    }

    fn pong(&mut self, payload: &[u8]) {
        Self::pong(self, payload);
    }
}

impl Hears for Foreign {
    #[inline]
    fn hear(&mut self, text: &[u8], hearing: &mut Hearing<'_>) {
        Self::hear(self, text, hearing);
    }

    fn pong(&mut self, payload: &[u8]) {
        Self::pong(self, payload);
    }
}

impl Voice {
    pub(super) fn opened(&mut self) {
        match self {
            Self::Ours(client) => client.opened(),
            Self::Others(foreign) => foreign.opened(),
        }
    }

    pub(super) fn lost(&mut self) {
        match self {
            Self::Ours(client) => client.lost(),
            Self::Others(foreign) => foreign.lost(),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        match self {
            Self::Ours(client) => client.is_live(),
            Self::Others(foreign) => foreign.is_live(),
        }
    }

    pub(super) const fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Ours(client) => client.output(),
            Self::Others(foreign) => foreign.output(),
        }
    }

    /// Why the connection should be given up.
    pub(super) const fn take_end(&mut self) -> Option<End> {
        match self {
            Self::Ours(client) => client.take_end(),
            Self::Others(_) => None,
        }
    }

    /// Messages that were sent into one of its rooms and have no ack.
    pub(super) fn waiting_in(&self, room: usize) -> usize {
        match self {
            Self::Ours(client) => client.rooms()[room].waiting(),
            Self::Others(foreign) => foreign.waiting_in(room),
        }
    }
}
