//! Small programs on the chat engine, each with one idea. They stand in `src/bin/`; what is too long for a `main`
//! stands here. The tests run them and hold them to what they say.

pub mod bot;

/// The example of the project's README, compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
