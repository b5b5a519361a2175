//! A transport-agnostic chat engine.
pub mod bus;
pub mod ids;
pub mod limits;
pub mod policy;
pub mod protocol;
pub mod rights;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;

pub use protocol::Draft;
