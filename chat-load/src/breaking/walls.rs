//! How much is used of what a server can run out of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    host::Wall,
    measurement::{Measurement, ratio},
};

/// A server that uses this share of the processors is at its wall: what is left is what bursts, and everybody else on the
/// machine, live on.
pub const CPU_SHARE: f64 = 0.8;

/// From this share on the machine's processors are full: their time is counted in hundredths of a second, and a processor
/// that waits for nothing but its next task is idle at times.
pub const FULL_SHARE: f64 = 0.95;

/// A thread that takes this share of one processor does little else, and what only it can do waits for it: the rest of its
/// time goes to what it waits for, a disk for one.
const THREAD_FULL_SHARE: f64 = 0.9;

/// Who uses the processors, each as a share of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CpuShares {
    /// The server.
    pub server: f64,
    /// The load tool.
    pub tool: f64,
    /// Everybody else, and what a host gave to other machines.
    pub others: f64,
    /// All of them.
    pub machine: f64,
    /// The server's busiest thread, as a share of one processor.
    pub thread: f64,
}

impl CpuShares {
    /// Of a run at a server whose process is known.
    pub fn of(found: &Measurement) -> Option<Self> {
        let all = ratio(found.machine.processors as u64, 1) * 1e3;
        let server = found.server.as_ref()?.cpu_ms_per_s / all;
        let tool = found.tool.cpu_ms_per_s / all;
        // The two are counted in nanoseconds and the machine in hundredths of a second.
        let machine = (found.machine.cpu_ms_per_s / all).max(server + tool);
        let others = (machine - server - tool).max(0.0);
        let thread = found.server.as_ref()?.busiest_thread_ms_per_s / 1e3;
        Some(Self { server, tool, others, machine, thread })
    }

    /// Whether the server alone is at its wall.
    pub fn is_server_at_wall(&self) -> bool {
        self.server >= CPU_SHARE
    }

    /// Whether the processors are full, and that is the server's and the tool's doing: what others take is no limit of
    /// the server.
    pub fn is_machine_full(&self) -> bool {
        self.machine >= FULL_SHARE && self.server + self.tool >= CPU_SHARE
    }

    /// Whether a thread of the server is full: others of its threads, and processors, are of no use to what waits for it.
    pub fn is_thread_full(&self) -> bool {
        self.thread >= THREAD_FULL_SHARE
    }

    /// How much of the wall is used, 1 being all of it.
    fn used(&self) -> f64 {
        let alone = (self.server / CPU_SHARE).max(self.thread / THREAD_FULL_SHARE);
        if self.is_machine_full() { alone.max(self.machine / FULL_SHARE) } else { alone }
    }
}

/// What the server says of a wall.
fn told(found: &Measurement, wall: Wall) -> Option<f64> {
    found.capacity.as_ref()?.walls.get(&wall).copied()
}

/// How much of each wall was used, 1 being all of it. What is not here is not known, or is no wall.
pub(super) fn walls(found: &Measurement, link_bits_per_s: Option<f64>) -> BTreeMap<Wall, f64> {
    let used = |wall| match wall {
        Wall::Cpu => CpuShares::of(found).map(|shares| shares.used()),
        // The server knows how much more its transactions could hold. Else the share of the time in which one was under
        // way, as of one writer.
        Wall::Commits => told(found, wall).or_else(|| {
            let figures = found.figures.as_ref()?;
            Some(figures.commits_per_s * figures.mean_commit_ms.unwrap_or_default() / 1e3)
        }),
        Wall::Network => match link_bits_per_s {
            Some(link) => {
                let most = found.traffic.read_bytes.max(found.traffic.written_bytes);
                Some(ratio(most, 1) * 8.0 / found.seconds / link)
            }
            // It knows the links of its machine.
            None => told(found, wall),
        },
        Wall::Memory => found.server.as_ref().map(|server| {
            let held = server.memory_max_bytes;
            ratio(held, held.saturating_add(found.machine.memory_available_bytes).max(1))
        }),
        Wall::Descriptors => found.server.as_ref().and_then(|server| {
            let descriptors = server.descriptors?;
            let own = descriptors.max.map_or(0.0, |max| ratio(descriptors.open, max.max(1)));
            // It may let in fewer than the system would.
            Some(told(found, wall).unwrap_or(own).max(own))
        }),
    };
    Wall::ALL.into_iter().filter_map(|wall| Some((wall, used(wall)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{breaking::scene::measured, host::Capacity};

    #[test]
    fn what_the_server_says_of_its_commits_counts_more_than_their_time() {
        let mut found = measured(1000);
        assert!((walls(&found, None)[&Wall::Commits] - 0.05).abs() < 1e-9, "100 of half a millisecond");
        let told = [(Wall::Commits, 0.3), (Wall::Network, 0.4), (Wall::Descriptors, 0.5)];
        found.capacity = Some(Capacity { walls: told.into(), ..Capacity::default() });
        let used = walls(&found, None);
        let shown = |wall| format!("{:.1}", used[wall]);
        assert_eq!(
            [Wall::Commits, Wall::Network, Wall::Descriptors].each_ref().map(shown),
            ["0.3", "0.4", "0.5"]
        );
    }

    #[test]
    fn a_full_thread_is_the_wall_of_whoever_has_but_one() {
        let mut found = measured(1000);
        let server = found.server.as_mut().unwrap();
        (server.cpu_ms_per_s, server.busiest_thread_ms_per_s) = (930.0, 920.0);
        let shares = CpuShares::of(&found).unwrap();
        assert!(shares.is_thread_full() && !shares.is_server_at_wall() && !shares.is_machine_full());
        let used = walls(&found, None)[&Wall::Cpu];
        assert!((used - 0.92 / THREAD_FULL_SHARE).abs() < 1e-9, "{used}");
    }

    #[test]
    fn a_link_is_as_full_as_its_fuller_direction() {
        let used = walls(&measured(1000), Some(10e9))[&Wall::Network];
        assert!((used - 999_000.0 * 306.0 * 8.0 / 10e9).abs() < 1e-6, "{used}");
    }
}
