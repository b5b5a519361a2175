//! The server as the machine sees it: its processor time and memory, its figures, and its start.

mod metrics;
mod process;
mod start;

pub use self::{
    metrics::{Figures, scrape},
    process::{Process, ProcessError},
    start::{StartError, Started},
};
