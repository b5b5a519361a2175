//! Reading a command and writing an event: what each costs once. Rates are bytes of the frame.
//!
//! An event is written once a room and codec, however many hear it; a command is read once. The baselines do the same
//! with `serde_json` alone: they check less, and write no frame header.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::hint::black_box;

use chat_benches::event;
use chat_core::{
    Codec,
    protocol::{Request, codec::put_one},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Bytes of the command that is read.
const COMMAND_BYTES: usize = 200;

/// A `send` of exactly [`COMMAND_BYTES`].
fn command() -> String {
    let with =
        |text: &str| format!(r#"{{"type":"send","id":17,"room":"lobby","key":"3f9a1c","text":"{text}"}}"#);
    let command = with(&"x".repeat(COMMAND_BYTES - with("").len()));
    assert_eq!(command.len(), COMMAND_BYTES);
    command
}

fn decode(criterion: &mut Criterion) {
    let command = command();
    let mut group = criterion.benchmark_group("codec/decode");
    group.throughput(Throughput::Bytes(command.len() as u64));
    group.bench_function("Request::decode", |bench| {
        bench.iter(|| Request::decode(black_box(&command)).unwrap());
    });
    group.bench_function("serde_json to a Value", |bench| {
        bench.iter(|| serde_json::from_str::<serde_json::Value>(black_box(&command)).unwrap());
    });
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let event = event(1000);
    let mut frame = Vec::new();
    put_one(&mut frame, Codec::Single, &event);
    let mut group = criterion.benchmark_group("codec/encode");
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function("a frame", |bench| {
        bench.iter(|| {
            frame.clear();
            put_one(&mut frame, Codec::Single, black_box(&event));
            black_box(frame.len())
        });
    });
    group.bench_function("serde_json to a Vec", |bench| {
        bench.iter(|| {
            frame.clear();
            serde_json::to_writer(&mut frame, black_box(&event)).unwrap();
            black_box(frame.len())
        });
    });
    group.finish();
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
