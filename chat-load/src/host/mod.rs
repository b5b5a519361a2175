//! The server as the machine sees it: its processor time and memory, its figures, and its start.

mod machine;
mod metrics;
mod process;
mod start;

pub(crate) use self::machine::{Glance, descriptors, glance, processors};
pub use self::{
    machine::{Descriptors, Machine, MachineError},
    metrics::{Capacity, Figures, Growth, Wall, scrape},
    process::{Process, ProcessError},
    start::{StartError, Started},
};
