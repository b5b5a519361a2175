//! The promises of the protocol, each from outside: the program over a database on disk or on Postgres, and clients of it
//! that speak through a WebSocket library of their own.
//!
//! Each test has a server of its own, which it may kill. What clients did and were told goes into a [`checker::Log`],
//! and that is judged against the timeline as the server shows it in the end.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "figures of a run, for whoever asks for them")]

mod checker;
mod come_back;
mod committed;
mod drain;
mod history;
mod load;
mod order;
mod outage;
mod own_acks;
mod peer;
mod planted;
mod presence;
mod program;
mod resume;
mod rights;
mod slow_reader;
#[path = "../support/mod.rs"]
mod support;
mod two_servers;
