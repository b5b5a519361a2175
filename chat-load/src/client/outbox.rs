//! What was sent and is not settled yet.

use std::{collections::VecDeque, time::Duration};

use super::words::Draft;

/// Messages of one room that may wait at once. It is the server's own bound of unanswered commands.
pub const WAITING_MAX: usize = 1024;

/// A message, from its sending to its ack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    /// The command that asks to keep it: another one each time that it is sent.
    pub(super) id: u64,
    pub(super) draft: Draft,
    /// When it was sent first, since whatever moment the sender counts from.
    pub(super) at: Duration,
    /// Whether it may be kept without our knowing: it was there already when a connection was lost, or its key is not
    /// of this client's making.
    pub(super) is_unsure: bool,
    /// Its number, where an event has told it before the ack.
    pub(super) seq: Option<u64>,
}

/// What an ack or an error means for an outbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It answers this one. Those that were sent before it and have no answer are `skipped` so many.
    To { sent: Sent, skipped: u64 },
    /// It answers one whose turn had passed.
    Late(Sent),
    /// Nothing waits for it.
    Unknown,
}

/// The messages of one room that wait, in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Sent on this connection.
    waiting: VecDeque<Sent>,
    /// To be sent, again or for the first time.
    unsent: VecDeque<Sent>,
    /// Whose turn to be answered has passed.
    skipped: Vec<Sent>,
    /// How many of those that wait or are unsent an event may settle.
    unsure: usize,
}

impl Sent {
    /// Whether an event may settle it.
    const fn is_open(&self) -> bool {
        self.is_unsure && self.seq.is_none()
    }
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.unsent.len()
    }

    /// How many were sent on this connection and have no answer yet.
    pub(super) fn unanswered(&self) -> usize {
        self.waiting.len()
    }

    /// Whether something is to be sent, again or for the first time.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= WAITING_MAX
    }

    /// How many messages have had no answer though later ones had.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped.len() as u64
    }

    /// Whether an event may settle something.
    pub(super) const fn is_unsure(&self) -> bool {
        self.unsure > 0
    }

    /// Whether the command `id` has no answer yet.
    pub(super) fn waits_for(&self, id: u64) -> bool {
        self.waiting.iter().any(|sent| sent.id == id)
    }

    pub(super) fn hold(&mut self, sent: Sent) {
        // It may have been refused after a connection was lost: then what was sent before that is unsure still.
        self.unsure += usize::from(sent.is_open());
        self.unsent.push_back(sent);
    }

    /// The next one to be sent: it goes to [`wait_for`](Self::wait_for).
    pub(super) fn next_unsent(&mut self) -> Option<Sent> {
        let sent = self.unsent.pop_front()?;
        self.unsure -= usize::from(sent.is_open());
        Some(sent)
    }

    pub(super) fn wait_for(&mut self, sent: Sent) {
        self.unsure += usize::from(sent.is_open());
        self.waiting.push_back(sent);
    }

    /// What was skipped is to be sent again, once the connection is lost.
    pub(super) fn recall_skipped(&mut self) {
        for sent in self.skipped.drain(..).rev() {
            self.waiting.push_front(sent);
        }
    }

    /// The connection is lost: all is to be sent again.
    pub(super) fn lose(&mut self) {
        let unsent = std::mem::take(&mut self.unsent);
        for mut sent in self.waiting.drain(..) {
            if sent.seq.is_none() {
                sent.is_unsure = true;
                self.unsent.push_back(sent);
            }
        }
        self.unsent.extend(unsent);
        self.unsure = self.unsent.iter().filter(|sent| sent.is_open()).count();
    }

    /// The reply to the command `id`. Replies come in the order of commands.
    pub(super) fn reply(&mut self, id: u64) -> Reply {
        // Ids rise.
        let at = self.waiting.partition_point(|sent| sent.id < id);
        if self.waiting.get(at).is_none_or(|sent| sent.id != id) {
            let late = self.skipped.iter().position(|sent| sent.id == id);
            return late.map_or(Reply::Unknown, |at| Reply::Late(self.skipped.swap_remove(at)));
        }
        for skipped in self.waiting.drain(..at) {
            self.unsure -= usize::from(skipped.is_open());
            self.skipped.push(skipped);
        }
        let sent = self.waiting.pop_front().expect("it was found a moment ago");
        self.unsure -= usize::from(sent.is_open());
        Reply::To { sent, skipped: at as u64 }
    }

    /// The event `seq` has this key, and is of this user: what waits for it is settled.
    pub(super) fn settle(&mut self, key: &str, seq: u64) -> Option<Sent> {
        let is_it = |sent: &Sent| sent.draft.key == key && sent.seq.is_none();
        let settled = if let Some(at) = self.unsent.iter().position(is_it) {
            self.unsent.remove(at)
        } else {
            // Its answer is still to come, and will say that it is a duplicate.
            let waiting = self.waiting.iter_mut().find(|sent| is_it(sent));
            waiting.map(|sent| {
                sent.seq = Some(seq);
                sent.clone()
            })
        };
        self.unsure -= usize::from(settled.as_ref().is_some_and(|sent| sent.is_unsure));
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(id: u64) -> Sent {
        let draft = Draft { key: id.to_string(), text: String::new(), reply_to: None };
        Sent { id, draft, at: Duration::ZERO, is_unsure: false, seq: None }
    }

    fn outbox(ids: std::ops::Range<u64>) -> Outbox {
        let mut outbox = Outbox::default();
        ids.for_each(|id| outbox.wait_for(sent(id)));
        outbox
    }

    #[test]
    fn a_forgotten_answer_is_noticed_at_the_next_one_and_a_late_one_is_known() {
        let mut outbox = outbox(1..6);
        assert_eq!(outbox.reply(1), Reply::To { sent: sent(1), skipped: 0 });
        assert_eq!(outbox.reply(4), Reply::To { sent: sent(4), skipped: 2 });
        assert_eq!(outbox.reply(4), Reply::Unknown, "answered twice");
        assert_eq!(outbox.reply(3), Reply::Late(sent(3)));
        assert_eq!((outbox.skipped(), outbox.len()), (1, 1));
        assert_eq!(outbox.reply(9), Reply::Unknown);
    }

    #[test]
    fn what_a_lost_connection_leaves_is_settled_by_events_or_sent_again() {
        let mut outbox = outbox(1..4);
        outbox.hold(sent(4));
        outbox.lose();
        assert!(outbox.is_unsure());
        assert_eq!(outbox.settle("2", 20).unwrap().draft.key, "2");
        assert_eq!(outbox.settle("2", 20), None, "settled once");
        let again = std::iter::from_fn(|| outbox.next_unsent()).map(|sent| sent.draft.key);
        assert_eq!(again.collect::<Vec<_>>(), ["1", "3", "4"]);
    }

    /// Sends the next one again, as the command `id`.
    fn send_again(outbox: &mut Outbox, id: u64) {
        let again = outbox.next_unsent().unwrap();
        outbox.wait_for(Sent { id, ..again });
    }

    #[test]
    fn what_is_refused_after_a_lost_connection_is_unsure_until_it_is_settled() {
        let mut outbox = outbox(1..2);
        outbox.lose();
        send_again(&mut outbox, 7);
        let Reply::To { sent: refused, .. } = outbox.reply(7) else {
            unreachable!("it waits for its answer")
        };
        assert!(!outbox.is_unsure(), "it is not in the box");
        outbox.hold(refused);
        assert!(outbox.is_unsure());
        send_again(&mut outbox, 8);
        assert!(outbox.is_unsure());
        assert!(matches!(outbox.reply(8), Reply::To { .. }));
        assert!(!outbox.is_unsure());
    }

    #[test]
    fn what_is_answered_late_is_unsure_once_it_is_to_be_sent_again() {
        let mut outbox = outbox(1..3);
        outbox.lose();
        send_again(&mut outbox, 7);
        send_again(&mut outbox, 8);
        assert!(matches!(outbox.reply(8), Reply::To { skipped: 1, .. }));
        assert!(!outbox.is_unsure(), "no event settles what was skipped");
        let Reply::Late(refused) = outbox.reply(7) else { unreachable!("its turn had passed") };
        outbox.hold(refused);
        assert!(outbox.is_unsure());
        assert!(outbox.settle("1", 20).is_some());
        assert!(!outbox.is_unsure());
    }

    #[test]
    fn an_event_before_its_own_duplicate_ack_settles_it_once() {
        let mut outbox = outbox(1..2);
        outbox.lose();
        let mut again = outbox.next_unsent().unwrap();
        again.id = 7;
        outbox.wait_for(again);
        assert!(outbox.settle("1", 20).is_some());
        assert!(!outbox.is_unsure());
        let Reply::To { sent, skipped: 0 } = outbox.reply(7) else { unreachable!("it waits for its answer") };
        assert_eq!(sent.seq, Some(20));
        assert_eq!(outbox.len(), 0);
    }
}
