//! A seeded simulation of whole nodes: the real state machines, virtual time, a store that fails.
//!
//! Everything that happens follows from one number. [`run`] builds one or two nodes over one [`MemoryStore`](crate::store::MemoryStore), some
//! users with connections that come, go and read slowly, and lets them act; the store fails before, in and after
//! commits, nodes crash, notices between nodes are lost and doubled, nodes are said to be under strain and no more. After each step the promises of the protocol are
//! held against a log of what the store really committed. At the end faults stop, and everything must come to rest:
//! every send settled, every reader at the end of its rooms, no room left in memory.
//!
//! A failure panics with the seed in its message; the same seed replays it.

#![expect(clippy::panic, reason = "a broken promise ends a simulation")]

mod client;
mod log;
mod people;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

pub use self::world::Report;
use self::world::World;

/// Runs one simulation and returns what happened in it.
///
/// # Panics
/// Where a promise is broken; the seed is printed on standard error.
#[expect(clippy::print_stderr, reason = "whoever reads a failed test needs the seed")]
pub fn run(seed: u64) -> Report {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed);
        world.live();
        world.rest()
    }));
    outcome.unwrap_or_else(|panic| {
        eprintln!("simulation failed: replay it with CHAT_SIM_SEED={seed}");
        resume_unwind(panic)
    })
}
