//! What a run has found of the machine.

use std::time::{Duration, Instant};

use crate::{
    host::Figures,
    measurement::{ServerCost, ToolCost, Traffic, ratio},
};

/// The machine and the counts at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) at: Instant,
    /// Processor time of the server.
    pub(super) server: Duration,
    /// Processor time of this process.
    pub(super) tool: Duration,
    pub(super) traffic: Traffic,
}

/// Memory of the server, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    pub(super) before: u64,
    pub(super) open: u64,
    pub(super) max: u64,
}

/// A run that is over.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) opening: Duration,
    pub(super) before: Look,
    pub(super) after: Look,
    pub(super) memory: Memory,
    pub(super) figures: Option<(Figures, Figures)>,
    /// How long the longest storm took, where all came back.
    pub(super) whole_storm: Option<Duration>,
}

impl Found {
    /// How long was measured.
    pub(super) fn seconds(&self) -> f64 {
        self.after.at.saturating_duration_since(self.before.at).as_secs_f64()
    }

    pub(super) const fn traffic(&self) -> Traffic {
        self.after.traffic.since(&self.before.traffic)
    }

    pub(super) fn tool_cost(&self) -> ToolCost {
        let cpu = self.after.tool.saturating_sub(self.before.tool);
        ToolCost { cpu_ms_per_s: self.a_second(cpu) }
    }

    pub(super) fn server_cost(&self, pid: u32, connections: u64) -> ServerCost {
        let cpu = self.after.server.saturating_sub(self.before.server);
        let Memory { before, open, max } = self.memory;
        ServerCost {
            pid,
            cpu_ms_per_s: self.a_second(cpu),
            us_per_delivery: each(cpu, self.traffic().delivered),
            us_per_message: each(cpu, self.traffic().acked),
            memory_before_bytes: before,
            memory_open_bytes: open,
            memory_max_bytes: max,
            memory_per_connection_bytes: ratio(open.saturating_sub(before), connections),
        }
    }

    /// Milliseconds a second.
    fn a_second(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e3 / self.seconds()
    }
}

/// Microseconds for each of so many.
fn each(cpu: Duration, count: u64) -> Option<f64> {
    (count > 0).then(|| cpu.as_secs_f64() * 1e6 / ratio(count, 1))
}
