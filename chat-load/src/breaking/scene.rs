//! Measurements for tests, made up.

use crate::{
    host::Descriptors,
    host::Figures,
    measurement::{FiguresDiff, Latency, MachineCost, Measurement, ServerCost, ToolCost, Traffic, Verdict},
    scenario::Scenario,
};

/// Of so many users in one room, each of whom says a message a second, on two processors. The server takes 0.2 ms a
/// message and 0.2 us a delivery; the tool takes half as much. Latencies rise with the square of the users.
pub(crate) fn measured(users: usize) -> Measurement {
    let n = f64::from(u32::try_from(users).unwrap());
    let (seconds, deliveries) = (5.0, n * (n - 1.0));
    let server = 5.0 + 0.2 * n + 0.0002 * deliveries;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, far from any bound")]
    let count = |a_second: f64| (a_second * seconds) as u64;
    let p99_ms = 20.0 + n * n / 50_000.0;
    let latency = Latency {
        samples: 10_000,
        mean_ms: p99_ms / 3.0,
        p50_ms: p99_ms / 4.0,
        p90_ms: p99_ms / 2.0,
        p99_ms,
        p999_ms: p99_ms * 1.5,
        max_ms: p99_ms * 2.0,
    };
    let commits = Figures { connections: n, ..Figures::default() };
    Measurement {
        scenario: Scenario::Room,
        users,
        rooms: 1,
        subprotocol: "chat.v1".to_owned(),
        text_bytes: 200,
        rate: 1.0,
        seconds,
        opening_seconds: 0.1,
        traffic: Traffic {
            sent: count(n),
            acked: count(n),
            delivered: count(deliveries),
            read_bytes: count(306.0 * deliveries),
            written_bytes: count(300.0 * n),
            reads: count(deliveries / (1.0 + n / 50.0)),
            frames: count(deliveries),
        },
        delivery: latency,
        ack: Latency { p99_ms: 10.0, ..latency },
        lateness: Latency::default(),
        server: Some(ServerCost {
            pid: 1,
            cpu_ms_per_s: server,
            busiest_thread_ms_per_s: server / 2.0,
            us_per_delivery: Some(server * 1e3 / deliveries),
            us_per_message: Some(server * 1e3 / n),
            memory_before_bytes: 8 << 20,
            memory_open_bytes: (8 << 20) + users as u64 * 4096,
            memory_max_bytes: (16 << 20) + users as u64 * 8192,
            memory_per_connection_bytes: 4096.0,
            descriptors: Some(Descriptors { open: users as u64 + 20, max: Some(100_000) }),
        }),
        figures: Some(FiguresDiff {
            before: commits,
            after: commits,
            commits_per_s: n.min(100.0),
            mean_batch: Some((n / 100.0).max(1.0)),
            mean_commit_ms: Some(0.5),
            writes_per_s: Some(deliveries / (1.0 + n / 60.0)),
            written_bytes_per_s: Some(306.0 * deliveries),
        }),
        figures_missing: None,
        has_acks: true,
        capacity: None,
        machine: MachineCost {
            processors: 2,
            cpu_ms_per_s: (server * 1.5 + 20.0).min(2000.0),
            memory_available_bytes: 4 << 30,
        },
        tool: ToolCost { cpu_ms_per_s: server / 2.0 },
        storms: None,
        verdict: Verdict::default(),
    }
}
