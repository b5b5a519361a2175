//! For tests of stores, and of what stands on a store (feature `testing`).

pub mod conformance;
pub mod simulation;
mod faulty;

pub use faulty::{Calls, Chance, Counts, Fault, FaultyStore};
