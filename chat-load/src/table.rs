//! A measurement for a person to read.

use std::fmt;

use crate::measurement::{Latency, Measurement, ratio};

/// Shows a measurement as lines of a name and its figures.
#[derive(Debug)]
pub struct Table<'a>(pub &'a Measurement);

/// The width of the names.
const NAMES: usize = 22;

/// A thread that works so much of each second does nothing else.
const FULL_MS_PER_S: f64 = 900.0;

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.0;
        writeln!(
            f,
            "{}: {} users in {} rooms, {}, {} bytes of text, {:.1} s\n",
            found.scenario, found.users, found.rooms, found.subprotocol, found.text_bytes, found.seconds
        )?;
        traffic(f, found)?;
        server(f, found)?;
        latency(f, "send to delivery", &found.delivery)?;
        latency(f, "send to ack", &found.ack)?;
        storms(f, found)?;
        let cpu = found.tool.cpu_ms_per_s;
        let full = if cpu > FULL_MS_PER_S { ": its one thread is full, and so the limit" } else { "" };
        line(f, "tool CPU", format_args!("{cpu:.1} ms/s{full}"))?;
        latency(f, "tool behind its pace", &found.lateness)?;
        verdict(f, found)
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, figures: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(f, "{name:<NAMES$} {figures}")
}

fn traffic(f: &mut fmt::Formatter<'_>, found: &Measurement) -> fmt::Result {
    let traffic = &found.traffic;
    let a_second = |count: u64| ratio(count, 1) / found.seconds;
    line(f, "opening", format_args!("{:.2} s", found.opening_seconds))?;
    let acked = if found.has_acks { &format!(", {:.0}/s acked", a_second(traffic.acked)) } else { "" };
    line(f, "messages", format_args!("{:.0}/s sent{acked}", a_second(traffic.sent)))?;
    line(f, "deliveries", format_args!("{:.0}/s", a_second(traffic.delivered)))?;
    if traffic.delivered > 0 {
        line(
            f,
            "bytes",
            format_args!(
                "{:.1} MB/s in, {:.0} a delivery; {:.2} MB/s out",
                a_second(traffic.read_bytes) / 1e6,
                ratio(traffic.read_bytes, traffic.delivered),
                a_second(traffic.written_bytes) / 1e6
            ),
        )?;
        line(
            f,
            "reads",
            format_args!(
                "{:.0}/s, {:.1} deliveries each, {:.1} a frame",
                a_second(traffic.reads),
                ratio(traffic.delivered, traffic.reads),
                ratio(traffic.delivered, traffic.frames)
            ),
        )?;
    }
    Ok(())
}

fn server(f: &mut fmt::Formatter<'_>, found: &Measurement) -> fmt::Result {
    if let Some(server) = &found.server {
        line(f, "server CPU", format_args!("{:.1} ms/s", server.cpu_ms_per_s))?;
        match (server.us_per_delivery, server.us_per_message) {
            (Some(delivery), Some(message)) => {
                line(f, "", format_args!("{delivery:.3} us a delivery, {message:.1} us a message"))?;
            }
            (Some(delivery), None) => line(f, "", format_args!("{delivery:.3} us a delivery"))?,
            _ => {}
        }
        line(
            f,
            "server memory",
            format_args!(
                "{:.1} MiB before, {:.1} open, {:.1} at most; {:.2} KiB a connection",
                mebibytes(server.memory_before_bytes),
                mebibytes(server.memory_open_bytes),
                mebibytes(server.memory_max_bytes),
                server.memory_per_connection_bytes / 1024.0
            ),
        )?;
    }
    if let Some(why) = &found.figures_missing {
        line(f, "commits", format_args!("not known, as /metrics cannot be read: {why}"))?;
    }
    let Some(figures) = &found.figures else { return Ok(()) };
    if let (Some(batch), Some(commit)) = (figures.mean_batch, figures.mean_commit_ms) {
        line(
            f,
            "commits",
            format_args!("{:.1}/s, {batch:.1} messages and {commit:.2} ms each", figures.commits_per_s),
        )?;
    }
    line(
        f,
        "at its end",
        format_args!(
            "{} connections, {} slow readers",
            figures.after.connections, figures.after.slow_readers
        ),
    )
}

fn mebibytes(bytes: u64) -> f64 {
    ratio(bytes, 1 << 20)
}

fn latency(f: &mut fmt::Formatter<'_>, name: &str, latency: &Latency) -> fmt::Result {
    if latency.samples == 0 {
        return Ok(());
    }
    line(
        f,
        name,
        format_args!(
            "p50 {:.1}  p90 {:.1}  p99 {:.1}  p99.9 {:.1}  max {:.1} ms  ({} samples)",
            latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms, latency.samples
        ),
    )
}

fn storms(f: &mut fmt::Formatter<'_>, found: &Measurement) -> fmt::Result {
    let Some(storms) = &found.storms else { return Ok(()) };
    line(
        f,
        "storms",
        format_args!(
            "{} of {:.1} s, {} connections dropped, {} knocks refused",
            storms.storms, storms.within_seconds, storms.dropped, storms.refused
        ),
    )?;
    match storms.whole_ms {
        Some(whole) => line(f, "all back after", format_args!("{whole:.0} ms at most"))?,
        None => line(f, "all back after", format_args!("never"))?,
    }
    latency(f, "knock to caught up", &storms.resume)
}

fn verdict(f: &mut fmt::Formatter<'_>, found: &Measurement) -> fmt::Result {
    let verdict = &found.verdict;
    writeln!(f)?;
    if !verdict.refusals.is_empty() {
        let refusals = verdict.refusals.iter().map(|(code, count)| format!("{count} {code}"));
        line(f, "errors answered", format_args!("{}", refusals.collect::<Vec<_>>().join(", ")))?;
    }
    if verdict.is_good() {
        return line(
            f,
            "verified",
            format_args!(
                "nothing lost, doubled or out of order; {}",
                if found.has_acks { "every send acked once" } else { "this server acks nothing" }
            ),
        );
    }
    line(
        f,
        "FAILED",
        format_args!(
            "{} lost, {} doubled, {} out of order",
            verdict.lost, verdict.doubled, verdict.out_of_order
        ),
    )?;
    for (count, what) in [
        (verdict.acks_missing, "sends without an ack"),
        (verdict.acks_doubled, "acks for nothing"),
        (verdict.numbers_unaccounted, "numbers that are not the ack of one send"),
        (verdict.altered, "deliveries that are not what was sent"),
        (verdict.connections_lost, "connections lost"),
        (verdict.refused, "refused for good"),
        (verdict.held_back, "sends held back: 1,024 of one user had no ack"),
        (verdict.protocol, "against the protocol"),
    ] {
        if count > 0 {
            line(f, "", format_args!("{count} {what}"))?;
        }
    }
    for fault in &verdict.faults {
        line(f, "", format_args!("- {fault}"))?;
    }
    Ok(())
}
