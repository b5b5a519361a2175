//! How hard pressed a node is, and what it leaves off for that.
//!
//! Nothing here measures: whoever runs the engine looks at its machine and [says so](crate::Engine::set_strain).

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use metrics::Counter;

/// How hard pressed a node is. At each level it does what those before it do, too; what it has accepted it keeps at all of
/// them.
///
/// ```
/// use chat_core::Strain;
///
/// assert!(Strain::RefuseSends > Strain::GatherLonger);
/// assert_eq!(Strain::None.next(), Strain::ShedEphemeral);
/// assert_eq!(Strain::RefuseSends.next(), Strain::RefuseSends);
/// ```
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strain {
    /// Everything is as it should be.
    #[default]
    None,
    /// What has no number is told to nobody: typing, presence, read marks. The marks themselves are kept.
    ShedEphemeral,
    /// What is new in busy rooms gathers twice as long, up to
    /// [`GATHERING_STRAINED_MAX`](crate::limits::GATHERING_STRAINED_MAX).
    GatherLonger,
    /// It gathers four times as long, and whoever runs the engine should let no new connection in: the engine itself lets in
    /// whom it is given.
    RefuseConnections,
    /// Sends, edits and reactions are refused as `overloaded`, before they are accepted, where more than a few wait for a commit
    /// ([`Limits::strained_queue`](crate::Limits::strained_queue)): what can be done is done, and no more is promised. Deletions,
    /// and what a room's managers do, go on: they may be what helps.
    RefuseSends,
}

impl Strain {
    /// All levels, the lightest first.
    pub const ALL: [Self; 5] =
        [Self::None, Self::ShedEphemeral, Self::GatherLonger, Self::RefuseConnections, Self::RefuseSends];

    /// The level above; the highest has none.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::None => Self::ShedEphemeral,
            Self::ShedEphemeral => Self::GatherLonger,
            Self::GatherLonger => Self::RefuseConnections,
            Self::RefuseConnections | Self::RefuseSends => Self::RefuseSends,
        }
    }

    /// The level below; the lowest has none.
    #[must_use]
    pub const fn prev(self) -> Self {
        match self {
            Self::None | Self::ShedEphemeral => Self::None,
            Self::GatherLonger => Self::ShedEphemeral,
            Self::RefuseConnections => Self::GatherLonger,
            Self::RefuseSends => Self::RefuseConnections,
        }
    }

    /// By how much what is new gathers longer.
    pub(crate) const fn gathering_factor(self) -> u32 {
        match self {
            Self::None | Self::ShedEphemeral => 1,
            Self::GatherLonger => 2,
            Self::RefuseConnections | Self::RefuseSends => 4,
        }
    }
}

/// What is told but not kept, and so is shed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shed {
    Typing,
    Presence,
    Read,
}

/// The strain of one node, which all its rooms read. A clone is the same.
#[derive(Clone)]
pub(crate) struct Relief(Arc<Inner>);

struct Inner {
    level: AtomicU8,
    /// By [`Shed`].
    shed: [Counter; 3],
}

impl Relief {
    /// No strain yet. It counts with the recorder that is installed now.
    pub(crate) fn new() -> Self {
        let shed = ["typing", "presence", "read"];
        let shed = shed.map(|kind| metrics::counter!("chat_shed_total", "kind" => kind));
        Self(Arc::new(Inner { level: AtomicU8::new(0), shed }))
    }

    pub(crate) fn strain(&self) -> Strain {
        let level = usize::from(self.0.level.load(Ordering::Relaxed));
        Strain::ALL.get(level).copied().unwrap_or_default()
    }

    pub(crate) fn set(&self, strain: Strain) {
        self.0.level.store(strain as u8, Ordering::Relaxed);
    }

    /// Whether what is told but not kept is shed now.
    pub(crate) fn is_shedding(&self) -> bool {
        self.strain() >= Strain::ShedEphemeral
    }

    /// Whether something that is told but not kept is shed now. It is counted where it is.
    pub(crate) fn sheds(&self, kind: Shed) -> bool {
        let sheds = self.is_shedding();
        if sheds {
            self.0.shed[kind as usize].increment(1);
        }
        sheds
    }
}

impl std::fmt::Debug for Relief {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Relief").field(&self.strain()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_each_other() {
        for pair in Strain::ALL.windows(2) {
            assert_eq!((pair[0].next(), pair[1].prev()), (pair[1], pair[0]));
            assert!(pair[0] < pair[1] && pair[0].gathering_factor() <= pair[1].gathering_factor());
        }
        assert_eq!(Strain::None.prev(), Strain::None);
    }

    #[test]
    fn a_strain_reads_as_it_was_set() {
        let relief = Relief::new();
        for strain in Strain::ALL {
            relief.set(strain);
            assert_eq!(relief.clone().strain(), strain);
        }
    }
}
