//! What a run has found of the machine.

use std::time::{Duration, Instant};

use crate::{
    client::http::{ConnectError, Target},
    host::{Capacity, Descriptors, Figures, Glance, scrape},
    measurement::{FiguresDiff, MachineCost, ServerCost, ToolCost, Traffic, ratio},
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
    pub(super) machine: Glance,
}

/// Memory of the server, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    pub(super) before: u64,
    pub(super) open: u64,
    pub(super) max: u64,
}

/// What the server says of itself at one moment.
#[derive(Debug)]
pub(super) struct Word {
    at: Instant,
    figures: Result<Option<(Figures, Option<Capacity>)>, ConnectError>,
}

impl Word {
    pub(super) async fn of(target: &Target) -> Self {
        let figures = scrape(target).await;
        Self { at: Instant::now(), figures }
    }

    pub(super) fn none() -> Self {
        Self { at: Instant::now(), figures: Ok(None) }
    }

    /// Over the time between the two, which is more than the measured one where the server took long to answer.
    fn since(&self, before: &Self) -> Option<FiguresDiff> {
        let (Ok(Some((first, _))), Ok(Some((last, _)))) = (&before.figures, &self.figures) else {
            return None;
        };
        let seconds = self.at.saturating_duration_since(before.at).as_secs_f64();
        Some(FiguresDiff::new(*first, *last, seconds))
    }
}

/// A run that is over.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) opening: Duration,
    pub(super) before: Look,
    pub(super) after: Look,
    /// Processor time of the server's busiest thread between the two.
    pub(super) busiest_thread: Duration,
    pub(super) memory: Memory,
    /// Of the server.
    pub(super) descriptors: Option<Descriptors>,
    /// Processors that this process may use.
    pub(super) processors: usize,
    /// The first and the last word of the server.
    pub(super) words: (Word, Word),
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
            busiest_thread_ms_per_s: self.a_second(self.busiest_thread),
            us_per_delivery: each(cpu, self.traffic().delivered),
            us_per_message: each(cpu, self.traffic().acked),
            memory_before_bytes: before,
            memory_open_bytes: open,
            memory_max_bytes: max,
            memory_per_connection_bytes: ratio(open.saturating_sub(before), connections),
            descriptors: self.descriptors,
        }
    }

    pub(super) fn machine_cost(&self) -> MachineCost {
        let cpu = self.after.machine.busy.saturating_sub(self.before.machine.busy);
        MachineCost {
            processors: self.processors,
            cpu_ms_per_s: self.a_second(cpu),
            memory_available_bytes: self.after.machine.memory_available_bytes,
        }
    }

    /// What the server predicts of itself, where it does.
    pub(super) fn capacity(&self) -> Option<Capacity> {
        let (_, capacity) = self.words.1.figures.as_ref().ok()?.as_ref()?;
        capacity.clone()
    }

    /// What the server says of itself, where it does and did.
    pub(super) fn figures(&self) -> Option<FiguresDiff> {
        let (before, after) = &self.words;
        after.since(before)
    }

    /// Why it does not, where it should have answered.
    pub(super) fn figures_missing(&self) -> Option<String> {
        let (before, after) = &self.words;
        let error = before.figures.as_ref().err().or_else(|| after.figures.as_ref().err());
        error.map(ToString::to_string)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_those_of_the_time_between_the_two_words() {
        let at = Instant::now();
        let word = |seconds, commits| Word {
            at: at + Duration::from_secs(seconds),
            figures: Ok(Some((Figures { commits, ..Figures::default() }, None))),
        };
        let diff = word(20, 1100.0).since(&word(0, 100.0)).unwrap();
        assert!((diff.commits_per_s - 50.0).abs() < 1e-9);
        let mute = Word { at, figures: Err(ConnectError::Silent) };
        assert_eq!(word(20, 1100.0).since(&mute), None);
        assert_eq!(mute.since(&word(0, 100.0)), None);
    }
}
