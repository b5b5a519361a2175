//! What was sent to another's server and is not acked yet.

use std::{collections::VecDeque, time::Duration};

use crate::client::WAITING_MAX;

/// A message that waits for its ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Rises from send to send of a connection.
    pub(super) id: u64,
    /// Which of the connection's rooms.
    pub(super) room: usize,
    /// The number in its mark.
    pub(super) count: u32,
    /// When it was sent.
    pub(super) at: Duration,
}

/// By what an ack tells which send it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tie {
    Id(u64),
    /// A text's mark.
    Mark {
        room: usize,
        count: u32,
    },
    /// Acks come in the order of the sends.
    Order,
}

/// The sends of one connection without an ack, at most [`WAITING_MAX`] of each room.
#[derive(Debug, Default)]
pub(super) struct Acks {
    waiting: VecDeque<Waiting>,
    /// How many wait in each room.
    rooms: Vec<usize>,
}

impl Acks {
    pub(super) fn new(rooms: usize) -> Self {
        Self { waiting: VecDeque::new(), rooms: vec![0; rooms] }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn in_room(&self, room: usize) -> usize {
        self.rooms[room]
    }

    pub(super) fn is_full(&self, room: usize) -> bool {
        self.rooms[room] >= WAITING_MAX
    }

    pub(super) fn wait_for(&mut self, waiting: Waiting) {
        self.rooms[waiting.room] += 1;
        self.waiting.push_back(waiting);
    }

    /// An ack has come. Its send, where there is one without an ack. Nobody has promised acks in order where they say
    /// what they are for.
    pub(super) fn take(&mut self, tie: Tie) -> Option<Waiting> {
        let is_it = |waiting: &Waiting| match tie {
            Tie::Id(id) => waiting.id == id,
            Tie::Mark { room, count } => (waiting.room, waiting.count) == (room, count),
            Tie::Order => true,
        };
        let at = self.waiting.iter().position(is_it)?;
        let taken = self.waiting.remove(at)?;
        self.rooms[taken.room] -= 1;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_is_for_one_send_and_only_once() {
        let mut acks = Acks::new(2);
        for (id, room, count) in [(1, 0, 1), (2, 1, 1), (3, 0, 2), (4, 0, 3)] {
            acks.wait_for(Waiting { id, room, count, at: Duration::ZERO });
        }
        let mut take = |tie| acks.take(tie).map(|waiting| waiting.id);
        assert_eq!(take(Tie::Mark { room: 0, count: 2 }), Some(3));
        assert_eq!(take(Tie::Mark { room: 0, count: 2 }), None);
        assert_eq!(take(Tie::Id(2)), Some(2));
        assert_eq!(take(Tie::Id(2)), None);
        assert_eq!(take(Tie::Order), Some(1));
        assert_eq!((acks.len(), acks.in_room(0), acks.in_room(1)), (1, 1, 0));
    }
}
