//! For tests of stores, and of what stands on a store (feature `testing`).

pub mod conformance;
mod faulty;
mod live_room;
pub mod simulation;

pub use faulty::{Calls, Chance, Counts, Fault, FaultyStore};
pub use live_room::{LiveRoom, Sight, Source};
