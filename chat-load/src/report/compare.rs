//! What was measured beside what was said: walls, the server's own prediction, and the original.

use std::fmt::Write as _;

use super::{
    Report, Side,
    text::{at_most, messages, or_unknown, percent, plain, table, what},
};
use crate::{
    breaking::{breaks_at, prediction_text, thousands},
    host::Wall,
    measurement::ratio,
};

/// The costs that the original's own failure analysis takes.
const ORIGINAL_COMMIT_MS: f64 = 6.0;
const ORIGINAL_SEND_MS: f64 = 0.1;
const ORIGINAL_USERS: usize = 100;
const ORIGINAL_CONNECTION_KB: f64 = 200.0;

/// How much of each wall was used.
pub(super) fn walls(report: &Report) -> String {
    let rows = report.sides.iter().filter_map(|Side { point, .. }| {
        let step = point.breaking_step()?;
        let used = Wall::ALL.iter().map(|wall| or_unknown(step.walls.get(wall).map(|used| percent(*used))));
        let first = point.first_wall.as_ref().map(|first| {
            let reached = if first.used >= 1.0 { "" } else { ", not reached" };
            format!("{}{reached}", first.wall)
        });
        let mut row = vec![plain(&point.subject), thousands(step.users)];
        row.extend(used);
        row.push(or_unknown(first));
        Some(row)
    });
    let head = ["where it broke", "users", "CPU", "commits", "network", "memory", "descriptors", "first"];
    format!(
        "## How much of each wall was used\n\n{}\nThe CPU's wall is 80 % of the processors, or full ones, or a thread that takes 90 % of one; that of commits is \
         what the server says of itself, or the time of one writer; that of the network is not known unless its speed is; that of \
         memory is what could be had; that of descriptors what the process may open.\n",
        table(&head, rows)
    )
}

/// What the server had said of itself.
pub(super) fn headroom(report: &Report) -> String {
    let mut text = "## Headroom\n\n".to_owned();
    for Side { point, .. } in &report.sides {
        let told = prediction_text(point);
        let _ = writeln!(text, "- {}: {told}.", plain(&point.subject));
        let Some(found) = &point.prediction else { continue };
        if let Some(ratio) = found.headroom_ratio {
            let _ = writeln!(text, "  It said that {} of what it can bear were unused.", percent(ratio));
        }
        if let Some(wall) = found.first_wall {
            let _ = writeln!(text, "  It said that the first wall would be: {wall}.");
        }
    }
    text.push_str("\nA prediction from about half the load is met where it is off by no more than 25 %.\n");
    text
}

/// The figures of the original, and what was measured.
pub(super) fn original(report: &Report) -> String {
    let processors = report.machine.processors;
    let wall = crate::breaking::cpu_wall_ms_per_s(processors);
    let cost = |users: usize| {
        let n = ratio(users as u64, 1);
        n * (ORIGINAL_COMMIT_MS + ORIGINAL_SEND_MS * (n - 1.0))
    };
    // It holds one fewer than the least that reaches the wall.
    let model = breaks_at(cost, wall).map_or(0, |users| users - 1);
    let rows = rows(report, cost);
    let head = [
        "",
        "users that it holds",
        "c and s of the seed model",
        "with so many: CPU of a message with all its deliveries",
        "of a delivery",
        "memory of a connection",
    ];
    let mut text = format!(
        "## Beside the original\n\nThe system that this one is measured against was known by an analysis: a commit a message of \
         {ORIGINAL_COMMIT_MS} ms, a send of {ORIGINAL_SEND_MS} ms to everybody else, {ORIGINAL_USERS} users in one room, \
         {ORIGINAL_CONNECTION_KB} KB a connection. On {processors} processors its model `n × (c + s × (n − 1))` holds {} users \
         below {wall:.0} ms a second.\n\n{}",
        thousands(model),
        table(&head, rows)
    );
    if let Some(Side { settings, .. }) = report.sides.first() {
        let _ = writeln!(
            text,
            "\nThe first row is of users in one room who each say a message of 200 bytes a second; what was measured is of \
             users {}, who say {} of {} bytes a second where they talk.",
            what(settings),
            messages(settings.rate),
            settings.text_bytes
        );
    }
    if let [first, second] = &report.sides[..]
        && let (Some(ours), Some(theirs)) = (first.point.held, second.point.held)
    {
        let _ = writeln!(
            text,
            "\nIn this run, on this machine, {} held {:.1} times as many users as {}.",
            plain(&first.point.subject),
            ratio(ours as u64, theirs as u64),
            plain(&second.point.subject)
        );
    }
    text
}

/// What the original takes by its own analysis, and what each server took.
fn rows(report: &Report, cost: impl Fn(usize) -> f64) -> Vec<Vec<String>> {
    let analysed = ratio(ORIGINAL_USERS as u64, 1);
    let mut rows = vec![vec![
        "the original, by its own analysis of two processors".to_owned(),
        thousands(ORIGINAL_USERS),
        format!("{ORIGINAL_COMMIT_MS} ms and {ORIGINAL_SEND_MS} ms"),
        milliseconds(cost(ORIGINAL_USERS) / analysed),
        milliseconds(cost(ORIGINAL_USERS) / analysed / (analysed - 1.0)),
        format!("{ORIGINAL_CONNECTION_KB:.0} KB"),
    ]];
    for Side { point, .. } in &report.sides {
        let coefficients = point.models.seed.fit.as_ref().map(|fit| fit.coefficients.as_slice());
        let seed = match coefficients {
            Some([c, s]) => Some(format!("{} and {}", milliseconds(*c), milliseconds(*s))),
            _ => None,
        };
        let server = at_most(point).and_then(|found| found.server.as_ref());
        let of_us = |us: Option<f64>| or_unknown(us.map(|us| milliseconds(us / 1e3)));
        rows.push(vec![
            format!("{}, measured", plain(&point.subject)),
            or_unknown(point.held.map(thousands)),
            or_unknown(seed),
            of_us(server.and_then(|server| server.us_per_message)),
            of_us(server.and_then(|server| server.us_per_delivery)),
            or_unknown(server.map(|server| format!("{:.1} KB", server.memory_per_connection_bytes / 1e3))),
        ]);
    }
    rows
}

/// A time, to three digits.
fn milliseconds(ms: f64) -> String {
    if ms <= 0.0 {
        "0 ms".to_owned()
    } else if ms >= 1.0 {
        format!("{ms:.1} ms")
    } else if ms >= 0.01 {
        format!("{ms:.3} ms")
    } else {
        format!("{ms:.6} ms")
    }
}
