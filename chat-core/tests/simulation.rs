//! The promises of the protocol under faults: one seed, one course of events.
//!
//! `CHAT_SIM_SEED=n` replays one seed; `CHAT_SIM_SEEDS=n` runs the first n.

use chat_core::testing::simulation;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number of seeds, or of one"))
}

#[test]
fn every_seed_keeps_every_promise() {
    if let Some(seed) = number("CHAT_SIM_SEED") {
        println!("{:?}", simulation::run(seed));
        return;
    }
    let seeds = number("CHAT_SIM_SEEDS").unwrap_or(1000);
    let (mut acked, mut heard, mut faults, mut crashes, mut overloads) = (0, 0, 0, 0, 0);
    for seed in 0..seeds {
        let report = simulation::run(seed);
        acked += report.acked;
        heard += report.heard;
        faults += report.faults;
        crashes += report.crashes;
        overloads += report.overloads;
    }
    println!(
        "{seeds} seeds: {acked} acks, {heard} events, {faults} faults, {crashes} crashes, {overloads} overloads"
    );
    assert!(
        acked > 0 && heard > 0 && faults > 0 && crashes > 0 && overloads > 0,
        "a simulation in which nothing happens proves nothing"
    );
}

#[test]
fn a_seed_replays_itself() {
    assert_eq!(simulation::run(7), simulation::run(7));
}
