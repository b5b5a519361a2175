//! What a report says, as Markdown.
//!
//! Everything is made of what was measured: no sentence may be false of another machine or another server.

use std::fmt::Write as _;

use super::{
    Report, Side,
    compare::{headroom, original, walls},
    diagram::MERMAID,
    plots::Plot,
    watch,
};
use crate::{
    breaking::{BreakingPoint, CountedBy, Model, Step, better_text, errors, seed_text, signs, thousands},
    measurement::{Measurement, ratio},
    scenario::{Scenario, Settings},
};

/// The whole report.
pub(super) fn text(report: &Report, plots: &[Plot]) -> String {
    let sections = [
        head(report),
        overview(report),
        breaking_point(report),
        cpu(report, plots),
        latency(report, plots),
        memory(report, plots),
        network(report, plots),
        commits(report, plots),
        walls(report),
        headroom(report),
        original(report),
        watch::text(report.machine.processors),
    ];
    sections.join("\n")
}

/// A text that is no Markdown and no HTML, whatever is in it.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\`*_[]<>&~#".contains(c) {
            plain.push('\\');
        }
        plain.push(if c == '\n' { ' ' } else { c });
    }
    plain
}

/// Between a number and these there is no new line in a table.
const UNITS: [&str; 7] = ["%", "ms", "KB", "MiB", "GiB", "MB/s", "Gbit/s"];

/// A cell of a table of Markdown.
fn cell(text: &str) -> String {
    let mut cell = text.replace('|', "\\|");
    for unit in UNITS {
        cell = cell.replace(&format!(" {unit}"), &format!("\u{a0}{unit}"));
    }
    cell
}

/// A table of Markdown.
pub(super) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let mut text = line(&head) + &line(&vec!["---".to_owned(); head.len()]);
    for row in rows {
        text.push_str(&line(&row.iter().map(|text| cell(text)).collect::<Vec<_>>()));
    }
    text
}

fn plot(plots: &[Plot], name: &str) -> String {
    let found = plots.iter().find(|plot| plot.name == name);
    found.map_or_else(String::new, |plot| format!("![{}](breaking-point-{}.svg)\n\n", plot.alt, plot.name))
}

/// So many messages.
pub(super) fn messages(rate: f64) -> String {
    if (rate - 1.0).abs() < 1e-9 { "a message".to_owned() } else { format!("{rate} messages") }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

pub(super) fn or_unknown(figure: Option<String>) -> String {
    figure.unwrap_or_else(|| "not known".to_owned())
}

/// Who the users are, after "users".
pub(super) fn what(settings: &Settings) -> String {
    match settings.scenario {
        Scenario::Room => "in one room, all of whom talk".to_owned(),
        Scenario::Pairs => "in rooms of two, all of whom talk".to_owned(),
        Scenario::Mixed => format!(
            "all in one room where one talks, and most of them also in pairs or in rooms of {}, where they talk",
            settings.room_size
        ),
        Scenario::Fanout => "in one room, where one talks as fast as it can".to_owned(),
        Scenario::Idle => "those who say nothing".to_owned(),
        Scenario::Churn => format!("in rooms of {}, all of whom talk", settings.room_size),
    }
}

fn head(report: &Report) -> String {
    let mut text = "# The breaking point\n\n".to_owned();
    for Side { point, .. } in &report.sides {
        let _ = match (point.broke, point.held) {
            (Some(broke), Some(held)) => writeln!(
                text,
                "- **{}** holds {} users and breaks with {}.",
                plain(&point.subject),
                thousands(held),
                thousands(broke)
            ),
            _ => writeln!(text, "- **{}**: {}.", plain(&point.subject), point.sentence()),
        };
    }
    if let Some(Side { point, settings }) = report.sides.first() {
        let _ = writeln!(
            text,
            "\nThe users are {}; who talks says {} of {} bytes a second. Each number of users was measured at a \
             server of its own where one was started, every message was to be acked where the server acks, and to reach \
             everybody else in its room, and it was verified whether it did: once, in order, and unaltered (at a \
             chat-server a sample of the deliveries was looked at for that, at another's all).",
            what(settings),
            messages(point.rate),
            point.text_bytes
        );
    }
    let failures = report.sides.iter().flat_map(|side| {
        side.point.failures().map(|(users, failure)| {
            format!(
                "- **FAILED**: {} with {} users: {}",
                plain(&side.point.subject),
                thousands(users),
                plain(failure)
            )
        })
    });
    let failures: Vec<String> = failures.collect();
    if !failures.is_empty() {
        let _ = writeln!(text, "\n{}", failures.join("\n"));
    }
    text
}

fn overview(report: &Report) -> String {
    let machine = &report.machine;
    let rows = [
        ("processors", machine.processors.to_string()),
        ("which", machine.model.as_deref().map_or_else(|| "the system does not say".to_owned(), plain)),
        ("memory", format!("{:.1} GiB", ratio(machine.memory_bytes, 1 << 30))),
        ("system", plain(&machine.kernel)),
    ];
    let rows = rows.map(|(name, figure)| vec![name.to_owned(), figure]);
    format!(
        "## What was measured\n\n{MERMAID}\nThe load tool ran on this machine, and where the server's process was known to \
         it the server did, too: they share its processors.\n\n{}\nThe command that made this:\n\n```sh\n{}\n```\n",
        table(&["the machine", ""], rows),
        report.command
    )
}

fn breaking_point(report: &Report) -> String {
    let mut text = "## The breaking point\n\n".to_owned();
    if let Some(Side { point, .. }) = report.sides.first() {
        let _ = writeln!(text, "A number of users is too many where\n");
        for sign in signs(point.settle_seconds) {
            let _ = writeln!(text, "- {sign};");
        }
        let _ = writeln!(text, "- connections are lost, or not everybody gets in.\n");
    }
    for Side { point, .. } in &report.sides {
        let _ = writeln!(text, "### {}\n\nBreaking point: {}.\n", plain(&point.subject), point.sentence());
        if let Some(step) = point.ending_step().filter(|step| !step.reasons.is_empty()) {
            let reasons: Vec<String> = step.reasons.iter().map(|reason| plain(&reason.to_string())).collect();
            let _ = writeln!(text, "With {} users {}.\n", thousands(step.users), reasons.join("; "));
        }
        if let Some(wall) = point.wall_sentence() {
            let _ = writeln!(text, "The first wall: {wall}.\n");
        }
        if let Some(others) = point.disturbed() {
            let share = percent(others);
            let _ = writeln!(
                text,
                "Others took up to {share} of the processors meanwhile: it may do better without them.\n"
            );
        }
        text.push_str(&steps(point));
        text.push('\n');
    }
    text
}

fn steps(point: &BreakingPoint) -> String {
    let head = [
        "users",
        "server CPU, ms/s",
        "load tool, ms/s",
        "others, ms/s",
        "p50, ms",
        "p99, ms",
        "p99.9, ms",
        "deliveries/s",
        "result",
    ];
    let mut steps: Vec<&Step> = point.steps.iter().collect();
    steps.sort_by_key(|step| step.users);
    let row = |step: &Step| {
        let found = step.measurement.as_ref();
        let figure = |figure: &dyn Fn(&Measurement) -> Option<String>| {
            found.and_then(figure).unwrap_or_else(|| "-".to_owned())
        };
        let processors = ratio(point.processors as u64, 1) * 1e3;
        let verdict = match (step.is_held(), step.failures.is_empty()) {
            (true, _) => "held",
            (false, true) => "broke",
            (false, false) => "**failed**",
        };
        vec![
            thousands(step.users),
            figure(&|found| Some(format!("{:.1}", found.server.as_ref()?.cpu_ms_per_s))),
            figure(&|found| Some(format!("{:.1}", found.tool.cpu_ms_per_s))),
            step.cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{:.1}", cpu.others * processors)),
            figure(&|found| Some(format!("{:.1}", found.delivery.p50_ms))),
            figure(&|found| Some(format!("{:.1}", found.delivery.p99_ms))),
            figure(&|found| Some(format!("{:.1}", found.delivery.p999_ms))),
            figure(&|found| Some(format!("{:.0}", ratio(found.traffic.delivered, 1) / found.seconds))),
            verdict.to_owned(),
        ]
    };
    table(&head, steps.into_iter().map(row))
}

fn cpu(report: &Report, plots: &[Plot]) -> String {
    let mut text = format!("## CPU\n\n{}", plot(plots, "cpu"));
    let _ = writeln!(
        text,
        "Two models of the server's processor time in milliseconds a second, by least squares of the relative errors, no \
         coefficient below 0. The seed model: `n × (c + s × (n − 1))` for n users of one room who each say a message a \
         second, and `c·messages + s·deliveries` for all else. The better model: `a + c·messages + w·writes + b·bytes`, by \
         which a server that puts several deliveries into one write pays for that write once. A coefficient of 0 does not say \
         that something costs nothing: what rises together with others is counted with them. Where a model is at the CPU wall \
         is for the server alone, at 80 % of all processors: neither a load tool beside it nor a thread that is full is in it.\n"
    );
    for Side { point, .. } in &report.sides {
        let models = &point.models;
        let model = |model: &Model, shown: fn(&[f64]) -> String| match &model.fit {
            Some(fit) => [shown(&fit.coefficients), errors(fit)],
            None => ["none".to_owned(), model.missing.clone().unwrap_or_default()],
        };
        let [seed, seed_errors] = model(&models.seed, seed_text);
        let [better, better_errors] = model(&models.better, better_text);
        let rows =
            [vec!["seed".to_owned(), seed, seed_errors], vec!["better".to_owned(), better, better_errors]];
        let _ = writeln!(text, "{}", table(&[&plain(&point.subject), "", "error"], rows));
        if let Some(users) = models.seed_breaks_at {
            let _ = writeln!(
                text,
                "By the seed model it is at the CPU wall with {} users; measured: {}.\n",
                thousands(users),
                point.sentence()
            );
        }
        if let Some(why) = misfit(point) {
            let _ = writeln!(text, "{why}\n");
        }
        if models.counted_by == CountedBy::Tool {
            let _ = writeln!(
                text,
                "Writes and bytes are the load tool's reads and bytes: the server counts none.\n"
            );
        }
    }
    text
}

/// What the seed model misses, where it is off by much and deliveries came together.
fn misfit(point: &BreakingPoint) -> Option<String> {
    const OFF: f64 = 0.25;
    let seed = point.models.seed.fit.as_ref().filter(|fit| fit.relative_rms > OFF)?;
    let least = point.steps_by_users().into_iter().find_map(|step| step.measurement.as_ref())?;
    let most = at_most(point)?;
    let [few, many] = [least, most].map(|found| ratio(found.traffic.delivered, found.traffic.reads));
    (many > 2.0 * few).then(|| {
        format!(
            "The seed model, off by {:.0} %, has not the form of this server: one read brought {few:.1} deliveries with {} \
             users and {many:.1} with {}, so a delivery has no one cost.",
            seed.relative_rms * 100.0,
            thousands(least.users),
            thousands(most.users),
        )
    })
}

/// The largest number of users that a server held, and what was measured of them.
pub(super) fn at_most(point: &BreakingPoint) -> Option<&Measurement> {
    let held = point.held?;
    point.steps_by_users().into_iter().find(|step| step.users == held)?.measurement.as_ref()
}

fn latency(report: &Report, plots: &[Plot]) -> String {
    let rows = report.sides.iter().filter_map(|Side { point, .. }| {
        let found = at_most(point)?;
        let delivery = found.delivery;
        let ack = (found.ack.samples > 0).then(|| format!("{:.1} ms", found.ack.p99_ms));
        Some(vec![
            plain(&point.subject),
            thousands(found.users),
            format!("{:.1} ms", delivery.p50_ms),
            format!("{:.1} ms", delivery.p99_ms),
            format!("{:.1} ms", delivery.max_ms),
            or_unknown(ack),
            format!("{:.1} ms", found.lateness.p99_ms),
        ])
    });
    let head = [
        "the most that it held",
        "users",
        "p50",
        "p99",
        "longest",
        "ack p99",
        "load tool behind its pace, p99",
    ];
    format!(
        "## Latency\n\n{}From the moment before a message is written to its socket until somebody else has read it.\n\n{}",
        plot(plots, "latency"),
        table(&head, rows)
    )
}

fn memory(report: &Report, plots: &[Plot]) -> String {
    let rows = report.sides.iter().filter_map(|Side { point, .. }| {
        let found = at_most(point)?;
        let server = found.server.as_ref()?;
        let mebibytes = |bytes| format!("{:.1} MiB", ratio(bytes, 1 << 20));
        Some(vec![
            plain(&point.subject),
            thousands(found.users),
            mebibytes(server.memory_before_bytes),
            mebibytes(server.memory_open_bytes),
            mebibytes(server.memory_max_bytes),
            format!("{:.1} KB", server.memory_per_connection_bytes / 1e3),
        ])
    });
    let head =
        ["the most that it held", "users", "before the first", "all in, silent", "most", "a connection"];
    format!(
        "## Memory\n\n{}Resident memory of the server's process.\n\n{}",
        plot(plots, "memory"),
        table(&head, rows)
    )
}

fn network(report: &Report, plots: &[Plot]) -> String {
    let rows = report.sides.iter().filter_map(|Side { point, .. }| {
        let found = at_most(point)?;
        let traffic = &found.traffic;
        let a_second = |count| ratio(count, 1) / found.seconds;
        let each = |count, of| (of > 0).then(|| format!("{:.1}", ratio(count, of)));
        Some(vec![
            plain(&point.subject),
            thousands(found.users),
            format!("{:.1} MB/s", a_second(traffic.read_bytes) / 1e6),
            format!("{:.2} Gbit/s", a_second(traffic.read_bytes) * 8.0 / 1e9),
            or_unknown(each(traffic.read_bytes, traffic.delivered)),
            or_unknown(each(traffic.delivered, traffic.reads)),
        ])
    });
    let head = [
        "the most that it held",
        "users",
        "read by users",
        "as a network's speed",
        "bytes a delivery",
        "deliveries a read",
    ];
    format!(
        "## Network\n\n{}Bytes of WebSocket frames, without those of TCP and IP.\n\n{}",
        plot(plots, "network"),
        table(&head, rows)
    )
}

fn commits(report: &Report, plots: &[Plot]) -> String {
    let rows = report.sides.iter().map(|Side { point, .. }| {
        let figures = at_most(point).and_then(|found| Some((found.users, found.figures.as_ref()?)));
        let figure = |figure: Option<String>| or_unknown(figure);
        vec![
            plain(&point.subject),
            figure(figures.map(|(users, _)| thousands(users))),
            figure(figures.map(|(_, figures)| format!("{:.0}", figures.commits_per_s))),
            figure(figures.and_then(|(_, figures)| Some(format!("{:.1}", figures.mean_batch?)))),
            figure(figures.and_then(|(_, figures)| Some(format!("{:.2} ms", figures.mean_commit_ms?)))),
        ]
    });
    let head = ["the most that it held", "users", "commits a second", "messages in one", "one takes"];
    format!(
        "## Commits\n\n{}By the server's own `/metrics`; of one that has none for the load tool they are not known.\n\n{}",
        plot(plots, "commits"),
        table(&head, rows)
    )
}
