//! Group commit: many sends, one transaction.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::sync::oneshot;

use crate::{
    ids::{RoomNo, Seq, UserId},
    limits::{
        BATCH_BYTES_MAX, BATCH_ITEMS_MAX, CLOSED_LOOP_MAX, COMMIT_PACE_MAX, COMMIT_QUEUE_BYTES_MAX,
        COMMIT_QUEUE_MAX, STORE_RETRY_MAX, STORE_RETRY_MIN,
    },
    mail::{Mailbox, Outcome},
    protocol::{CommandError, ErrorCode},
    store::{Append, Outcomes, Refused, StoreError},
    time::Rate,
};

/// Who waits for an outcome.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    /// A session, with its own number of the append.
    Session(Arc<Mailbox>, u64),
    /// A call that waits for nothing else.
    Caller(oneshot::Sender<Outcome>),
}

/// An append on its way.
#[derive(Debug)]
pub(crate) struct Submission {
    /// What to commit.
    pub append: Append,
    /// When it was received.
    pub received: Duration,
    /// Whom to tell.
    pub reply_to: ReplyTo,
}

/// An outcome and who waits for it.
#[derive(Debug)]
pub(crate) struct Settled {
    /// Whom to tell.
    pub reply_to: ReplyTo,
    /// When the append was received.
    pub received: Duration,
    /// What.
    pub outcome: Outcome,
}

/// Gathers appends into batches, one at a time, and settles what became of them.
///
/// After a lost outcome it goes on only when the store has said where the rooms of that batch end: see
/// [`Committer::poll_ends`]. Until then every append is refused as `unavailable`.
#[derive(Debug, Default)]
pub(crate) struct Committer {
    queue: VecDeque<Submission>,
    queue_bytes: usize,
    /// Items of a batch that the store refused as a whole: they go one by one.
    singly: VecDeque<Submission>,
    in_flight: Vec<Submission>,
    began: Option<Duration>,
    pace: Pace,
    /// Who sent the last batch, where nobody has sent more while it was under way, and the first who then did was one of
    /// them.
    answered: Vec<UserId>,
    recovery: Option<Recovery>,
    told: Told,
}

/// What is in the log of a store that fails: one line of each kind in [`Told::PAUSE`], as a store may answer one question
/// and fail at the next batch for as long as it likes.
#[derive(Debug, Default)]
struct Told {
    at: Option<Duration>,
    is_open: bool,
}

impl Told {
    const PAUSE: Duration = Duration::from_secs(1);

    /// Whether a failure is to be told, and with it that it is over.
    fn failure(&mut self, now: Duration) -> bool {
        self.is_open = self.at.is_none_or(|at| now.saturating_sub(at) >= Self::PAUSE);
        if self.is_open {
            self.at = Some(now);
        }
        self.is_open
    }
}

#[derive(Debug)]
struct Recovery {
    /// Rooms whose end is in doubt.
    rooms: Vec<RoomNo>,
    retry_at: Duration,
    pause: Duration,
    asking: bool,
}

impl Committer {
    /// Takes an append.
    ///
    /// # Errors
    /// `overloaded` where too many wait, `unavailable` while the store is away: nothing is kept of it then.
    pub(crate) fn handle_append(
        &mut self,
        now: Duration,
        submission: Submission,
    ) -> Result<(), CommandError> {
        let bytes = submission.append.weight_bytes();
        if self.recovery.is_some() {
            return Err(CommandError::unavailable());
        }
        if self.queue.len() >= COMMIT_QUEUE_MAX || self.queue_bytes + bytes > COMMIT_QUEUE_BYTES_MAX {
            return Err(CommandError::overloaded());
        }
        if self.queue.is_empty() && !self.answered.contains(&submission.append.actor.user) {
            self.answered.clear();
        }
        self.pace.arrival(now);
        self.queue_bytes += bytes;
        self.queue.push_back(submission);
        Ok(())
    }

    /// How many appends wait.
    pub(crate) fn depth(&self) -> usize {
        self.queue.len() + self.singly.len() + self.in_flight.len()
    }

    /// How many wait beside the commit under way.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// How long the oldest has waited until its commit began, or waits for that. What a commit takes is no waiting: a store
    /// that stands still is not one that has too much to do.
    pub(crate) fn wait(&self, now: Duration) -> Duration {
        let (until, first) = match self.began.filter(|_| !self.in_flight.is_empty()) {
            Some(began) => (began, self.in_flight.iter().map(|item| item.received).min()),
            None => (now, self.queue.front().map(|item| item.received)),
        };
        first.map_or(Duration::ZERO, |first| until.saturating_sub(first))
    }

    /// Whether nothing waits and nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.depth() == 0
    }

    /// The next batch to commit; then [`Committer::handle_outcomes`] is owed.
    pub(crate) fn poll_batch(&mut self, now: Duration) -> Option<Vec<Append>> {
        if !self.in_flight.is_empty() || self.recovery.is_some() {
            return None;
        }
        if let Some(single) = self.singly.pop_front() {
            self.in_flight.push(single);
        } else if self.poll_timeout().is_some_and(|at| at <= now) {
            self.gather();
        }
        if self.in_flight.is_empty() {
            return None;
        }
        self.began = Some(now);
        Some(self.in_flight.iter().map(|submission| submission.append.clone()).collect())
    }

    fn gather(&mut self) {
        let mut bytes = 0;
        while let Some(next) = self.queue.front() {
            let weight = next.append.weight_bytes();
            let full = self.in_flight.len() >= BATCH_ITEMS_MAX || bytes + weight > BATCH_BYTES_MAX;
            if full && !self.in_flight.is_empty() {
                break;
            }
            bytes += weight;
            self.queue_bytes -= weight;
            self.in_flight.extend(self.queue.pop_front());
        }
    }

    /// When [`Committer::poll_batch`] or [`Committer::poll_ends`] has something to do; `None` while it waits for
    /// something else than time.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        if let Some(recovery) = &self.recovery {
            return (!recovery.asking).then_some(recovery.retry_at);
        }
        if !self.in_flight.is_empty() {
            return None;
        }
        if !self.singly.is_empty() {
            return Some(Duration::ZERO);
        }
        let at_once = self.queue.len() >= BATCH_ITEMS_MAX || self.have_all_come_back();
        let paced = self.began.filter(|_| !at_once).map_or(Duration::ZERO, |began| began + self.pace.wait());
        (!self.queue.is_empty()).then_some(paced)
    }

    /// Whether those who waited for the last batch have sent as many again: there is nobody to wait for.
    fn have_all_come_back(&self) -> bool {
        !self.answered.is_empty() && self.queue.len() >= self.answered.len()
    }

    /// What the store said to the batch. Returns what each sender is to be told, in the batch's order; those that are
    /// tried again singly are told later.
    pub(crate) fn handle_outcomes(
        &mut self,
        now: Duration,
        outcomes: Result<Outcomes, StoreError>,
    ) -> Vec<Settled> {
        let batch = std::mem::take(&mut self.in_flight);
        self.answered.clear();
        if self.queue.is_empty() && batch.len() <= CLOSED_LOOP_MAX {
            self.answered.extend(batch.iter().map(|item| item.append.actor.user.clone()));
        }
        match outcomes {
            Ok(outcomes) => {
                assert_eq!(outcomes.len(), batch.len(), "a store gives one outcome an item");
                self.pace.commit(now.saturating_sub(self.began.unwrap_or(now)));
                batch
                    .into_iter()
                    .zip(outcomes)
                    .map(|(item, outcome)| settle(item, outcome.map_err(refused)))
                    .collect()
            }
            Err(StoreError::Rejected(error)) if batch.len() == 1 => {
                tracing::error!(error = &*error, "the store refuses one item");
                let reply = || CommandError::new(ErrorCode::Internal, "the store refuses this command");
                batch.into_iter().map(|item| settle(item, Err(reply()))).collect()
            }
            Err(StoreError::Rejected(error)) => {
                tracing::warn!(
                    error = &*error,
                    items = batch.len(),
                    "the store refuses a batch: its items go singly"
                );
                self.singly.extend(batch);
                Vec::new()
            }
            Err(StoreError::Unavailable(error)) => {
                if self.told.failure(now) {
                    tracing::error!(error = &*error, items = batch.len(), "the store does not answer");
                } else {
                    tracing::debug!(error = &*error, items = batch.len(), "the store does not answer");
                }
                self.recover(now, batch)
            }
        }
    }

    /// Everything that waits is told that nobody knows; the store is asked where its rooms end.
    fn recover(&mut self, now: Duration, batch: Vec<Submission>) -> Vec<Settled> {
        let mut rooms: Vec<RoomNo> = batch.iter().map(|item| item.append.room).collect();
        rooms.sort_unstable();
        rooms.dedup();
        let pause = STORE_RETRY_MIN;
        self.recovery = Some(Recovery { rooms, retry_at: now, pause, asking: false });
        self.queue_bytes = 0;
        let waiting = std::mem::take(&mut self.singly).into_iter().chain(std::mem::take(&mut self.queue));
        batch.into_iter().chain(waiting).map(|item| settle(item, Err(CommandError::unavailable()))).collect()
    }

    /// The rooms whose end the store is to be asked for; then [`Committer::handle_ends`] is owed.
    pub(crate) fn poll_ends(&mut self, now: Duration) -> Option<Vec<RoomNo>> {
        let recovery =
            self.recovery.as_mut().filter(|recovery| !recovery.asking && recovery.retry_at <= now)?;
        recovery.asking = true;
        Some(recovery.rooms.clone())
    }

    /// What the store said. Returns where each room ends; with an error it is asked again later.
    pub(crate) fn handle_ends(
        &mut self,
        now: Duration,
        ends: Result<Vec<Option<Seq>>, StoreError>,
    ) -> Vec<(RoomNo, Option<Seq>)> {
        let Some(mut recovery) = self.recovery.take() else { return Vec::new() };
        match ends {
            Ok(ends) => {
                if self.told.is_open {
                    tracing::info!("the store answers again");
                }
                recovery.rooms.into_iter().zip(ends).collect()
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the store still does not answer");
                recovery.asking = false;
                recovery.retry_at = now + recovery.pause;
                recovery.pause = (recovery.pause * 2).min(STORE_RETRY_MAX);
                self.recovery = Some(recovery);
                Vec::new()
            }
        }
    }
}

fn settle(item: Submission, outcome: Outcome) -> Settled {
    Settled { reply_to: item.reply_to, received: item.received, outcome }
}

/// How a refusal reads to its sender.
pub(crate) fn refused(refused: Refused) -> CommandError {
    match refused {
        Refused::NoRoom => CommandError::no_such_room(),
        Refused::NoTarget => CommandError::new(ErrorCode::NotFound, "there is no such message"),
        Refused::Forbidden => CommandError::new(ErrorCode::Forbidden, "this is not yours to do"),
        Refused::TooMany => CommandError::new(ErrorCode::TooLarge, "there are too many different reactions"),
        Refused::Conflict(_) => CommandError::new(ErrorCode::Conflict, "the room has changed meanwhile"),
    }
}

/// How long to gather: nothing while single commits take little of the time, up to [`COMMIT_PACE_MAX`] where they would
/// take half of it.
///
/// With `load = arrivals a second × seconds a commit`, the share of the time that one commit for each arrival would
/// take, the wait is `COMMIT_PACE_MAX × (load − 0.05) / 0.4`, held between 0 and `COMMIT_PACE_MAX`. What is waited for a
/// commit is lost to gathering before the broadcast ([`Gathering`](crate::limits::Gathering)), whose writes cost more:
/// so it is not more than that.
#[derive(Debug)]
struct Pace {
    arrivals: Rate,
    /// Seconds a commit, averaged over about eight.
    cost: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { arrivals: Rate::new(), cost: 0.0 }
    }
}

impl Pace {
    const LOAD_MIN: f64 = 0.05;
    const LOAD_MAX: f64 = 0.45;

    fn arrival(&mut self, now: Duration) {
        self.arrivals.arrive(now, 1);
    }

    fn commit(&mut self, took: Duration) {
        self.cost += (took.as_secs_f64() - self.cost) / 8.0;
    }

    fn wait(&self) -> Duration {
        let load = self.arrivals.per_second() * self.cost;
        COMMIT_PACE_MAX.mul_f64(((load - Self::LOAD_MIN) / (Self::LOAD_MAX - Self::LOAD_MIN)).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::Timestamp,
        protocol::Draft,
        rights::Identity,
        store::{Change, Require},
    };

    const MS: Duration = Duration::from_millis(1);

    fn hand_in(committer: &mut Committer, now: Duration, user: &str) {
        let append = Append {
            room: RoomNo(1),
            actor: Identity::new(user).unwrap().actor(),
            at: Timestamp(0),
            change: Change::Message(Draft::text("hello")),
            require: Require::default(),
        };
        let reply_to = ReplyTo::Caller(oneshot::channel().0);
        committer.handle_append(now, Submission { append, received: now, reply_to }).unwrap();
    }

    /// Commits what waits at the time when that is due, and takes 1 ms over it: when it is done, and how many it were.
    fn commit(committer: &mut Committer, now: Duration) -> (Duration, usize) {
        let due = committer.poll_timeout().unwrap().max(now);
        let batch = committer.poll_batch(due).unwrap().len();
        let refused = std::iter::repeat_with(|| Err(Refused::NoRoom));
        committer.handle_outcomes(due + MS, Ok(refused.take(batch).collect()));
        (due + MS, batch)
    }

    #[test]
    fn sends_of_many_gather_under_load_and_one_alone_goes_at_once() {
        let mut committer = Committer::default();
        hand_in(&mut committer, MS, "ann");
        assert_eq!(commit(&mut committer, MS), (MS * 2, 1));
        let mut now = MS * 2;
        for user in 0..1000 {
            hand_in(&mut committer, now, &format!("u{user}"));
            now += MS;
            if committer.poll_timeout().is_some_and(|due| due <= now) {
                let (_, batch) = commit(&mut committer, now);
                // The first commits are not known to cost much yet.
                assert!(user < 300 || (8..=11).contains(&batch), "{batch} of user {user}");
            }
        }
    }

    #[test]
    fn who_waits_for_each_other_is_not_kept_waiting() {
        let mut committer = Committer::default();
        let mut now = MS;
        for round in 0..100 {
            for user in ["ann", "bob", "ann"] {
                let is_due = committer.poll_timeout().is_some_and(|due| due <= now);
                // The first commits are not known to cost much yet.
                assert!(round < 20 || !is_due, "not before all have come");
                hand_in(&mut committer, now, user);
            }
            assert!(round == 0 || committer.poll_timeout() == Some(Duration::ZERO));
            let (done, batch) = commit(&mut committer, now);
            assert_eq!(batch, 3);
            now = done;
        }
    }

    #[test]
    fn what_waits_for_its_commit_is_late_and_what_is_in_one_no_more() {
        let mut committer = Committer::default();
        assert_eq!(committer.wait(MS), Duration::ZERO);
        hand_in(&mut committer, MS, "ann");
        assert_eq!(committer.wait(MS * 3), MS * 2);
        committer.poll_batch(MS * 4).unwrap();
        hand_in(&mut committer, MS * 5, "bob");
        assert_eq!(committer.wait(MS * 900), MS * 3, "the store takes long, and nobody waits for us");
        committer.handle_outcomes(MS * 900, Ok(vec![Err(Refused::NoRoom)]));
        assert_eq!(committer.wait(MS * 900), MS * 895);
        committer.poll_batch(MS * 910).unwrap();
        assert_eq!(committer.wait(MS * 911), MS * 905);
        committer.handle_outcomes(MS * 912, Ok(vec![Err(Refused::NoRoom)]));
        assert_eq!(committer.wait(MS * 920), Duration::ZERO);
    }

    #[test]
    fn a_store_that_fails_at_each_batch_is_told_of_once_a_second() {
        let mut told = Told::default();
        let failures = (0_u64..25).map(|tenth| told.failure(Duration::from_millis(100 * tenth)));
        let when: Vec<_> =
            failures.enumerate().filter(|(_, is_told)| *is_told).map(|(tenth, _)| tenth).collect();
        assert_eq!(when, [0, 10, 20]);
    }
}
