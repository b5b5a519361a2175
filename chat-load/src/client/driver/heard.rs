//! From what a client hears to what a driver tells.

use std::collections::VecDeque;

use super::{Event, Told};
use crate::client::{Fault, Kind, Settled, Watch};

/// Puts what is heard into words, in order.
pub(super) struct Heard<'a> {
    told: &'a mut VecDeque<Told>,
    /// The first thing that no server may do: the connection is not to be trusted any more.
    pub(super) fault: Option<Fault>,
}

impl<'a> Heard<'a> {
    pub(super) const fn new(told: &'a mut VecDeque<Told>) -> Self {
        Self { told, fault: None }
    }
}

impl Watch for Heard<'_> {
    fn delivered(&mut self, room: usize, event: &[u8], is_live: bool) {
        match Event::read(event) {
            Ok(event) => self.told.push_back(Told::Event { room, event, is_live }),
            Err(_) => self.fault(Fault::unreadable(event)),
        }
    }

    fn settled(&mut self, room: usize, Settled { key, seq, .. }: Settled<'_>) {
        self.told.push_back(Told::Kept { room, key: key.to_owned(), seq });
    }

    fn rejected(&mut self, room: usize, key: &str, code: &str, message: &str) {
        let [key, code, message] = [key, code, message].map(str::to_owned);
        self.told.push_back(Told::Rejected { room, key, code, message });
    }

    fn began(&mut self, room: usize, last_seq: u64) {
        self.told.push_back(Told::Began { room, last_seq });
    }

    fn refused(&mut self, _: &str) {}

    fn fault(&mut self, fault: Fault) {
        // A refusal is told, or is none of a message.
        if fault.kind != Kind::Refused {
            self.fault.get_or_insert(fault);
        }
    }
}
