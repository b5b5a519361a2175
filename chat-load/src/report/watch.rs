//! What to watch at a server that runs, and when to be woken.

use super::text::table;
use crate::breaking::CPU_SHARE;

/// What to look at, and where.
const MONITOR: [(&str, &str); 10] = [
    ("CPU", "`rate(process_cpu_seconds_total[1m])`: processors that the server uses"),
    (
        "headroom",
        "`chat_capacity_headroom_ratio`, `chat_capacity_breaking_connections{growth}`: what is left, by the server itself",
    ),
    (
        "walls",
        "`chat_capacity_wall_ratio{wall}`, `chat_capacity_first_wall{wall}`: how much of each is used, and which is first",
    ),
    (
        "connections",
        "`chat_connections`, `rate(chat_connections_opened_total[5m])`, `rate(chat_connections_closed_total[5m])` by `reason`",
    ),
    ("deliveries", "`chat_delivery_seconds`, `rate(chat_messages_delivered_total[1m])`"),
    ("acks", "`chat_ack_seconds`, `rate(chat_send_failures_total[5m])` by `reason`"),
    ("commits", "`chat_commit_seconds`, `chat_commit_batch_size`, `chat_commit_queue_depth`"),
    ("slow readers", "`chat_slow_consumers`"),
    ("memory", "`process_resident_memory_bytes`"),
    ("descriptors", "`process_open_fds` against `process_max_fds`"),
];

/// The section, for a machine of so many processors.
pub(super) fn text(processors: usize) -> String {
    let monitor = MONITOR.map(|(what, figures)| vec![what.to_owned(), figures.to_owned()]);
    let alerts = alerts(processors)
        .map(|(what, expression, long)| vec![what.to_owned(), format!("`{expression}`"), long.to_owned()]);
    format!(
        "## What to monitor\n\n{}\n## What to alert on\n\n{}\nThe figures are those of `chat-server`, whose `/metrics` a \
         Prometheus reads; another server has others.\n",
        table(&["what", "figures"], monitor),
        table(&["what", "expression", "for"], alerts)
    )
}

/// What is wrong, how Prometheus tells, and how long it must be so.
fn alerts(processors: usize) -> [(&'static str, String, &'static str); 9] {
    #[expect(clippy::cast_precision_loss, reason = "a number of processors")]
    let cpu = CPU_SHARE * processors as f64;
    let quantile = |name: &str| format!("histogram_quantile(0.99, sum by (le) (rate({name}_bucket[5m])))");
    [
        (
            "the CPU is past 80 % of these processors",
            format!("rate(process_cpu_seconds_total[5m]) > {cpu:.1}"),
            "5 minutes",
        ),
        ("headroom is low", "chat_capacity_headroom_ratio < 0.3".to_owned(), "10 minutes"),
        ("there is more to do than the server can", "chat_overload_level >= 3".to_owned(), "at once"),
        (
            "connections jump",
            "chat_connections > 1.5 * (chat_connections offset 5m) + 50".to_owned(),
            "at once",
        ),
        (
            "connections drop",
            "chat_connections + 50 < 0.7 * (chat_connections offset 5m)".to_owned(),
            "at once",
        ),
        ("deliveries are slow", format!("{} > 0.5", quantile("chat_delivery_seconds")), "5 minutes"),
        ("acks are slow", format!("{} > 0.5", quantile("chat_ack_seconds")), "5 minutes"),
        ("messages are not kept", "rate(chat_send_failures_total[5m]) > 0".to_owned(), "1 minute"),
        ("descriptors run out", "process_open_fds > 0.8 * process_max_fds".to_owned(), "5 minutes"),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_figure_that_is_named_is_one_of_the_servers() {
        let known = include_str!("../../../docs/protocol.md");
        let text = text(2);
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let named: BTreeSet<&str> = words.filter(|word| word.starts_with("chat_")).collect();
        assert!(named.len() > 10, "{named:?}");
        for name in named {
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(known.contains(&format!("| `{name}")), "{name} is none");
        }
    }
}
