//! The bodies of the fuzz targets, as functions: libFuzzer calls them with bytes that it makes up, an ordinary test with
//! those in `corpus/` and with the golden frames.
//!
//! Each panics where something is wrong, and says what.

#![expect(clippy::panic, reason = "it is how a body says what it has found")]

mod codec;
mod decode;
mod fields;
mod frame;
mod reader;
mod session;
mod tail;
mod token;
mod user;
mod writer;

pub use self::{
    codec::codec, decode::decode, reader::reader, session::session, tail::tail, token::token, writer::writer,
};

/// Runs a body over the files that the program was given: an input that libFuzzer has found, in a debugger for example.
///
/// # Errors
/// Where a file cannot be read.
pub fn replay(body: fn(&[u8])) -> std::io::Result<()> {
    std::env::args_os().skip(1).try_for_each(|path| std::fs::read(path).map(|data| body(&data)))
}
