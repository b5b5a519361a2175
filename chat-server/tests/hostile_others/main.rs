//! What strangers cannot send but only cause: a bug that they meet, a line in the log.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bugs;
mod log;
#[path = "../support/mod.rs"]
mod support;
