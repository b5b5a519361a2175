//! Rooms against a naive model: random joins, sends, duplicates, edits, deletes, removals, leaves, reconnects and slow
//! readers, over a store whose answers come late.
//!
//! The store writes a journal of what it commits ([`journal`]); plain rules say what a room is after each entry
//! ([`timeline`]); every connection holds all that it is told against that ([`client`]). `PROPTEST_CASES` sets how many
//! cases are tried.
#![expect(clippy::unwrap_used, reason = "it is a test throughout")]

mod client;
mod finale;
mod journal;
mod lagging;
mod ledger;
mod plan;
mod regressions;
mod timeline;
mod wire;
mod world;

use client::Checked;
use plan::Plan;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use world::World;

/// Cases where `PROPTEST_CASES` does not say how many.
const CASES: u32 = 64;

async fn run(plan: &Plan) -> Checked {
    let mut world = World::new(plan).await;
    for (index, op) in plan.ops.iter().enumerate() {
        world.apply(op).await.map_err(|wrong| format!("operation {index}, {op:?}: {wrong}"))?;
    }
    finale::finish(&mut world).await.map_err(|wrong| format!("in the end: {wrong}"))
}

/// Runs a case on a runtime of its own, whose clock moves only when nothing else can.
fn run_paused(plan: &Plan) -> Checked {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(run(plan))
}

#[test]
fn everybody_is_told_what_the_rules_say_and_nothing_else() {
    let mut config = Config { failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let case = |plan: Plan| run_paused(&plan).map_err(TestCaseError::fail);
    TestRunner::new(config).run(&plan::plan(), case).unwrap_or_else(|failure| panic!("{failure}"));
}
