//! For tests of stores, and of what stands on a store (feature `testing`).

pub mod conformance;
mod faulty;
pub mod simulation;

pub use faulty::{Calls, Chance, Counts, Fault, FaultyStore};
