//! The load tool: many users of a chat server over real sockets, and every number and ack of theirs verified.
//!
//! [`run`] makes one run against a server and gives a [`Measurement`]: what it cost, how long things took, and whether
//! anything was lost, doubled or out of order. [`client`] is the client that it is made of, for whoever wants to build
//! something else of it. The tool knows a server by its sockets alone, so it shares no code with ours.
//!
//! ```no_run
//! use chat_load::{Scenario, Settings, Table, run};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings { users: 1000, ..Settings::new(Scenario::Room) };
//! let measurement = run(&settings, &"http://127.0.0.1:8080".parse()?, None, &()).await?;
//! print!("{}", Table(&measurement));
//! assert!(measurement.verdict.is_good());
//! # Ok(())
//! # }
//! ```
//!
//! Another's server is measured in the same way where [`Messages`] say how its messages look, and then verified by marks
//! in the texts.
//!
//! What the figures mean, and how they are taken, stands in `docs/load.md`.

mod breaking;
pub mod client;
mod host;
mod measurement;
mod messages;
mod report;
mod run;
mod scenario;
mod server;
mod table;

pub use breaking::{
    Bounds, BreakingPoint, BreakingTable, CONDITION_MAX, CPU_SHARE, CountedBy, CpuShares, End, FULL_SHARE,
    FirstWall, Fit, FitError, Model, Models, P99_MAX_MS, PREDICTION_MAX, Point, Prediction, Reason, Step,
    Subject, find, fit,
};
pub use host::{
    Capacity, Descriptors, Figures, Growth, Machine, MachineError, Process, ProcessError, StartError,
    Started, Wall, scrape,
};
pub use measurement::{
    FiguresDiff, Latency, MachineCost, Measurement, ServerCost, Storms, ToolCost, Traffic, Verdict,
};
pub use messages::{Echo, InvalidMessages, Look, Messages, Unfit};
pub use report::{PlotError, Report, ReportError, Side};
pub use run::{Progress, RunError, raise_descriptors, run};
pub use scenario::{OTHERS_TEXT_BYTES_MIN, Scenario, Settings, TEXT_BYTES_MIN};
pub use server::{MeasureError, Server};
pub use table::Table;
