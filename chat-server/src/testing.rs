//! For tests of what stands between the engine and the network (feature `testing`).

pub use crate::connection::{
    echo::{Fidelity, serve_echo},
    reader::{Ending, Heard, Sent, read_all},
    writer::Writer,
};
