//! What a server says of itself at `/metrics`.

use serde::{Deserialize, Serialize};

use crate::client::http::{ConnectError, Target, get};

/// Figures of a server, from its start on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Connections that are open.
    pub connections: f64,
    /// Messages that are committed.
    pub committed: f64,
    /// Messages handed to sockets.
    pub delivered: f64,
    /// Transactions.
    pub commits: f64,
    /// What went into them.
    pub committed_items: f64,
    /// How long they took, in seconds.
    pub commit_seconds: f64,
    /// Readers that are fed from the database at this moment.
    pub slow_readers: f64,
}

/// Asks a server for its figures. `None` where it has none for us: another kind of server, or one that shows them to
/// others only.
///
/// # Errors
/// [`ConnectError`] where it does not answer.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub async fn scrape(target: &Target) -> Result<Option<Figures>, ConnectError> {
    match get(target, "/metrics").await {
        Ok(text) => Ok(read(&text)),
        Err(ConnectError::Refused { status: 403 | 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(text: &str) -> Option<Figures> {
    let figure = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|figure| figure.trim().parse::<f64>().ok())
    };
    Some(Figures {
        connections: figure("chat_connections")?,
        committed: figure("chat_messages_committed_total").unwrap_or_default(),
        delivered: figure("chat_messages_delivered_total").unwrap_or_default(),
        // A histogram is there once something was put into it.
        commits: figure("chat_commit_batch_size_count").unwrap_or_default(),
        committed_items: figure("chat_commit_batch_size_sum").unwrap_or_default(),
        commit_seconds: figure("chat_commit_seconds_sum").unwrap_or_default(),
        slow_readers: figure("chat_slow_consumers").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_by_their_whole_names() {
        let text = "# TYPE chat_connections gauge\nchat_connections 3\nchat_connections_opened_total 9\n\
                    chat_commit_batch_size_sum 40\nchat_commit_batch_size_count 4\nchat_commit_seconds_sum 0.25\n";
        let figures = read(text).unwrap();
        assert_eq!((figures.connections, figures.commits, figures.committed_items), (3.0, 4.0, 40.0));
        assert!((figures.commit_seconds - 0.25).abs() < 1e-9);
        assert_eq!(read("other_connections 3\n"), None);
    }
}
