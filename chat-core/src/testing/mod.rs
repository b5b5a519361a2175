//! For tests of stores, and of what stands on a store (feature `testing`).

pub mod conformance;
