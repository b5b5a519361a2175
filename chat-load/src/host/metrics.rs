//! What a server says of itself at `/metrics`.

use std::{collections::BTreeMap, fmt};

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
    /// Writes to sockets, where it counts them.
    pub writes: Option<f64>,
    /// Bytes that those wrote, where it counts them.
    pub written_bytes: Option<f64>,
}

/// What a server can run out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wall {
    /// Processors.
    Cpu,
    /// The one writer of a database.
    Commits,
    /// The way to the users.
    Network,
    /// Memory.
    Memory,
    /// Files and sockets that may be open.
    Descriptors,
}

impl Wall {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Commits, Self::Network, Self::Memory, Self::Descriptors];

    /// Its name in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Commits => "commits",
            Self::Network => "network",
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
        }
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU",
            other => other.name(),
        })
    }
}

/// In which way a load grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Growth {
    /// More people in the same rooms.
    Members,
    /// More rooms like those that there are.
    Rooms,
}

/// What a server predicts of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// The share of what it can bear that is unused, from 0 to 1; `None` until it knows.
    pub headroom_ratio: Option<f64>,
    /// With how many connections it would break, if more people came into the same rooms; `None` until it knows.
    pub breaking_by_members: Option<f64>,
    /// The same, if more such rooms came.
    pub breaking_by_rooms: Option<f64>,
    /// What it would run out of first.
    pub first_wall: Option<Wall>,
    /// How much of each wall is used, 1 being all of it.
    pub walls: BTreeMap<Wall, f64>,
}

impl Capacity {
    /// With how many connections it would break.
    pub const fn breaking(&self, growth: Growth) -> Option<f64> {
        match growth {
            Growth::Members => self.breaking_by_members,
            Growth::Rooms => self.breaking_by_rooms,
        }
    }
}

/// Asks a server for its figures, and for what it predicts of itself where it does. `None` where it has none for us:
/// another kind of server, or one that shows them to others only.
///
/// # Errors
/// [`ConnectError`] where it does not answer.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub async fn scrape(target: &Target) -> Result<Option<(Figures, Option<Capacity>)>, ConnectError> {
    match get(target, "/metrics").await {
        Ok(text) => Ok(read(&text).map(|figures| (figures, capacity(&text)))),
        Err(ConnectError::Refused { status: 403 | 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One figure, by its name and all its labels as they are written.
fn find(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|figure| figure.trim().parse::<f64>().ok())
}

/// What a server predicts of itself. What it does not know yet is no number.
fn capacity(text: &str) -> Option<Capacity> {
    let figure = |name: &str| find(text, name).filter(|figure| figure.is_finite());
    let of_wall = |name: &str, wall: Wall| figure(&format!("{name}{{wall=\"{}\"}}", wall.name()));
    let is_first = |wall: &Wall| of_wall("chat_capacity_first_wall", *wall).is_some_and(|is| is > 0.5);
    let walls = Wall::ALL.into_iter();
    let ratios = walls.filter_map(|wall| Some((wall, of_wall("chat_capacity_wall_ratio", wall)?)));
    // The figure is there as soon as the server has such figures at all.
    find(text, "chat_capacity_headroom_ratio").map(|_| Capacity {
        headroom_ratio: figure("chat_capacity_headroom_ratio"),
        breaking_by_members: figure("chat_capacity_breaking_connections{growth=\"members\"}"),
        breaking_by_rooms: figure("chat_capacity_breaking_connections{growth=\"rooms\"}"),
        first_wall: Wall::ALL.into_iter().find(is_first),
        walls: ratios.collect(),
    })
}

fn read(text: &str) -> Option<Figures> {
    let figure = |name| find(text, name);
    Some(Figures {
        connections: figure("chat_connections")?,
        committed: figure("chat_messages_committed_total").unwrap_or_default(),
        delivered: figure("chat_messages_delivered_total").unwrap_or_default(),
        // A histogram is there once something was put into it.
        commits: figure("chat_commit_batch_size_count").unwrap_or_default(),
        committed_items: figure("chat_commit_batch_size_sum").unwrap_or_default(),
        commit_seconds: figure("chat_commit_seconds_sum").unwrap_or_default(),
        slow_readers: figure("chat_slow_consumers").unwrap_or_default(),
        writes: figure("chat_writes_total"),
        written_bytes: figure("chat_written_bytes_total"),
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
        assert_eq!(figures.writes, None, "it does not count them");
        assert_eq!(read("other_connections 3\n"), None);
    }

    #[test]
    fn what_a_server_does_not_know_of_itself_yet_is_none() {
        assert_eq!(capacity("chat_connections 3\n"), None, "it predicts nothing");
        let unknown = capacity("chat_capacity_headroom_ratio NaN\n").unwrap();
        assert_eq!(unknown, Capacity::default());
        let known = capacity(
            "chat_capacity_headroom_ratio 0.75\n\
             chat_capacity_breaking_connections{growth=\"members\"} 4000\n\
             chat_capacity_breaking_connections{growth=\"rooms\"} NaN\n\
             chat_capacity_first_wall{wall=\"cpu\"} 0\nchat_capacity_first_wall{wall=\"commits\"} 1\n\
             chat_capacity_wall_ratio{wall=\"cpu\"} 0.25\n",
        );
        let known = known.unwrap();
        assert_eq!((known.headroom_ratio, known.first_wall), (Some(0.75), Some(Wall::Commits)));
        assert_eq!((known.breaking(Growth::Members), known.breaking(Growth::Rooms)), (Some(4000.0), None));
        assert_eq!(known.walls, BTreeMap::from([(Wall::Cpu, 0.25)]));
    }
}
