//! What a node bears, and what it is told of that.

use std::time::Duration;

use super::{Hub, lock};
use crate::{committer::Committer, metrics::Tally, store::Change, strain::Strain, time::Now};

impl Hub {
    /// From now on the node is as hard pressed as this.
    pub(crate) fn set_strain(&self, strain: Strain) {
        self.relief.set(strain);
    }

    /// How hard pressed it is.
    pub(crate) fn strain(&self) -> Strain {
        self.relief.strain()
    }

    /// What it has done till now.
    pub(crate) fn tally(&self) -> Tally {
        self.metrics.tally()
    }

    /// How long the oldest append has waited for its commit to begin.
    pub(crate) fn commit_wait(&self, now: Now) -> Duration {
        lock(&self.committer).wait(now.mono)
    }

    /// Whether a change is not accepted now.
    pub(super) fn refuses(&self, committer: &Committer, change: &Change) -> bool {
        let is_said = matches!(change, Change::Message(_) | Change::Edit { .. } | Change::React { .. });
        is_said && self.strain() >= Strain::RefuseSends && committer.waiting() >= self.limits.strained_queue
    }
}
