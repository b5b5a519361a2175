//! The load tool: many users of a chat server over real sockets, and every message of theirs verified.
//!
//! [`run`] makes one run against a server and gives a [`Measurement`]: what it cost, how long things took, and whether
//! anything was lost, doubled or out of order. [`client`] is the client that it is made of, for whoever wants to build
//! something else of it. The tool knows a server by its sockets alone, so it shares no code with ours.
//!
//! What the figures mean, and how they are taken, stands in `docs/load.md`.

pub mod client;
mod host;
mod measurement;
mod run;
mod scenario;
mod table;

pub use host::{Figures, Process, ProcessError, StartError, Started, scrape};
pub use measurement::{FiguresDiff, Latency, Measurement, ServerCost, Storms, ToolCost, Traffic, Verdict};
pub use run::{Progress, RunError, SETTLE_MAX, raise_descriptors, run};
pub use scenario::{Scenario, Settings, TEXT_BYTES_MIN};
pub use table::Table;
