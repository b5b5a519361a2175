//! Whether a server held a number of users, or broke, or failed.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::walls::{CPU_SHARE, CpuShares, FULL_SHARE, walls};
use crate::{
    host::Wall,
    measurement::{Measurement, Verdict, ratio},
    run::RunError,
    server::Server,
};

/// One in a hundred deliveries may take longer than this, not more.
pub const P99_MAX_MS: f64 = 500.0;

/// A thread that works so much of each second does nothing else.
const THREAD_FULL_MS_PER_S: f64 = 950.0;

/// What a number of users came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// How many they were.
    pub users: usize,
    /// What was measured; `None` where not all of them could get in.
    pub measurement: Option<Measurement>,
    /// Who used the processors; `None` where the server's process is not known.
    pub cpu: Option<CpuShares>,
    /// How much of each wall was used, 1 being all of it; what is not here is not known, or is no wall.
    pub walls: BTreeMap<Wall, f64>,
    /// Why this was too much for the server; empty where it held.
    pub reasons: Vec<Reason>,
    /// What the server did that it must not do, whatever the load.
    pub failures: Vec<String>,
    /// The load tool could do no more, and so nobody knows what the server could.
    pub is_tool_full: bool,
}

/// Why a number of users is too much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    /// The server takes more of the processors than it should.
    Cpu {
        /// Its share of all of them.
        server: f64,
    },
    /// The processors are full.
    MachineFull {
        /// Who uses them.
        shares: CpuShares,
    },
    /// Deliveries take too long.
    Slow {
        /// One of a hundred took longer.
        p99_ms: f64,
    },
    /// Long after the last send there were acks and deliveries that had not come.
    Late {
        /// Deliveries.
        deliveries: u64,
        /// Acks.
        acks: u64,
    },
    /// So much had no ack that users could not say what they would have said.
    HeldBack {
        /// What they did not say.
        sends: u64,
    },
    /// Connections ended unasked.
    Dropped {
        /// How many.
        connections: u64,
    },
    /// Not everybody got in.
    Unopened {
        /// What happened.
        why: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu { server } => {
                write!(f, "the server took {:.0} % of the processors", server * 100.0)
            }
            Self::MachineFull { shares } => write!(
                f,
                "the processors were full: {:.0} % the server, {:.0} % the load tool, {:.0} % others",
                shares.server * 100.0,
                shares.tool * 100.0,
                shares.others * 100.0
            ),
            Self::Slow { p99_ms } => write!(f, "p99 from send to delivery was {p99_ms:.0} ms"),
            Self::Late { deliveries, acks } => {
                write!(f, "{deliveries} deliveries and {acks} acks were late")
            }
            Self::HeldBack { sends } => {
                write!(f, "{sends} sends were held back, as too many had no ack")
            }
            Self::Dropped { connections } => write!(f, "{connections} connections were lost"),
            Self::Unopened { why } => write!(f, "not everybody got in: {why}"),
        }
    }
}

impl Step {
    /// Judges what was measured.
    pub(super) fn of(measurement: Measurement, link_bits_per_s: Option<f64>) -> Self {
        let cpu = CpuShares::of(&measurement);
        let overload = overload(&measurement, cpu);
        let behind = behind(&measurement.verdict);
        let mut failures = failures(&measurement.verdict);
        // Who has time to spare and is quick, and all the same does not deliver, has lost it.
        let has_time = cpu.is_none_or(|cpu| cpu.machine < FULL_SHARE);
        if overload.is_empty() && has_time && measurement.ack.p99_ms < P99_MAX_MS {
            failures.extend(behind.iter().map(|reason| format!("{reason}, though it was not overloaded")));
        }
        let is_full = cpu.is_some_and(|cpu| cpu.is_machine_full() || cpu.is_server_at_wall());
        Self {
            users: measurement.users,
            cpu,
            walls: walls(&measurement, link_bits_per_s),
            reasons: overload.into_iter().chain(behind).collect(),
            failures,
            is_tool_full: measurement.tool.cpu_ms_per_s >= THREAD_FULL_MS_PER_S && !is_full,
            measurement: Some(measurement),
        }
    }

    /// There is no measurement, since the run could not be made, at a server that was started for it or not.
    pub(super) fn not_measured(users: usize, error: &RunError, server: &Server) -> Self {
        let mut step = Self {
            users,
            measurement: None,
            cpu: None,
            walls: BTreeMap::new(),
            reasons: Vec::new(),
            failures: Vec::new(),
            is_tool_full: false,
        };
        match error {
            RunError::Process(_) => step.failures.push(format!("the server is gone: {error}")),
            // Who is started by the tool has the tool's limit, and needs a descriptor for each user as well.
            RunError::Descriptors { limit, .. }
                if users as u64 >= *limit && !matches!(server, Server::Running { .. }) =>
            {
                step.walls.insert(Wall::Descriptors, ratio(users as u64, (*limit).max(1)));
            }
            RunError::Descriptors { .. } | RunError::Tokens { .. } => step.is_tool_full = true,
            _ => {}
        }
        if step.failures.is_empty() {
            step.reasons.push(Reason::Unopened { why: error.to_string() });
        }
        step
    }

    /// Whether the server held it.
    pub const fn is_held(&self) -> bool {
        self.reasons.is_empty() && self.failures.is_empty()
    }

    /// Whether something else than the load may have been the reason, as server and tool did not fill the processors.
    /// Such a step is measured again before it is believed.
    pub(super) fn is_doubtful(&self) -> bool {
        let is_full = self.cpu.is_some_and(|cpu| cpu.is_server_at_wall() || cpu.is_machine_full());
        let is_limited = self.walls.get(&Wall::Descriptors).is_some_and(|used| *used >= 1.0);
        !self.is_held() && !is_full && !is_limited
    }

    /// How near it is to what would break it, 1 being there.
    pub(super) fn used(&self) -> f64 {
        let slow = self.measurement.as_ref().map_or(0.0, |found| found.delivery.p99_ms / P99_MAX_MS);
        let full = self.cpu.map_or(0.0, |cpu| cpu.machine.min((cpu.server + cpu.tool) / CPU_SHARE));
        self.walls.values().copied().fold(slow.max(full), f64::max)
    }

    /// Whether the users could say, and the server keep, what they were asked to: else a number of users is not the load
    /// that it stands for.
    pub fn is_carried(&self) -> bool {
        self.measurement.as_ref().is_some_and(|found| {
            let traffic = &found.traffic;
            // A twentieth may be under way when the measuring ends.
            let is_kept =
                !found.has_acks || traffic.acked.saturating_mul(20) >= traffic.sent.saturating_mul(19);
            traffic.sent > 0 && is_kept
        })
    }
}

/// Signs that the server has too much to do.
fn overload(found: &Measurement, cpu: Option<CpuShares>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(shares) = cpu {
        if shares.is_server_at_wall() {
            reasons.push(Reason::Cpu { server: shares.server });
        }
        if shares.is_machine_full() {
            reasons.push(Reason::MachineFull { shares });
        }
    }
    if found.delivery.p99_ms > P99_MAX_MS {
        reasons.push(Reason::Slow { p99_ms: found.delivery.p99_ms });
    }
    reasons
}

/// What comes of too much, or of a fault.
fn behind(verdict: &Verdict) -> Vec<Reason> {
    let late = (verdict.lost_last > 0 || verdict.acks_missing_last > 0)
        .then_some(Reason::Late { deliveries: verdict.lost_last, acks: verdict.acks_missing_last });
    let held_back = (verdict.held_back > 0).then_some(Reason::HeldBack { sends: verdict.held_back });
    let dropped =
        (verdict.connections_lost > 0).then_some(Reason::Dropped { connections: verdict.connections_lost });
    [late, held_back, dropped].into_iter().flatten().collect()
}

/// What no load excuses.
fn failures(verdict: &Verdict) -> Vec<String> {
    // A number whose ack is late is the ack of nothing yet.
    let is_all_here =
        verdict.lost_last == 0 && verdict.acks_missing_last == 0 && verdict.connections_lost == 0;
    let unaccounted = if is_all_here { verdict.numbers_unaccounted } else { 0 };
    let counts = [
        (verdict.lost.saturating_sub(verdict.lost_last), "deliveries lost: later ones came"),
        (verdict.doubled, "doubled"),
        (verdict.out_of_order, "out of order"),
        (
            verdict.acks_missing.saturating_sub(verdict.acks_missing_last),
            "sends without an ack: later ones were acked",
        ),
        (verdict.acks_doubled, "acks for nothing"),
        (unaccounted, "numbers that are not the ack of one send"),
        (verdict.altered, "deliveries that are not what was sent"),
        (verdict.refused, "sends refused for good"),
        (verdict.protocol, "against the protocol"),
    ];
    let found = counts.into_iter().filter(|(count, _)| *count > 0);
    found.map(|(count, what)| format!("{count} {what}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaking::scene::measured;

    fn judged(change: impl FnOnce(&mut Measurement)) -> Step {
        let mut found = measured(1000);
        change(&mut found);
        Step::of(found, None)
    }

    #[test]
    fn a_server_that_is_quick_and_has_time_holds() {
        let step = judged(|_| {});
        assert!(step.is_held() && step.is_carried() && !step.is_tool_full, "{step:?}");
        assert!((0.2..0.5).contains(&step.used()), "{}", step.used());
        assert!((step.walls[&Wall::Cpu] - 404.8 / 1600.0).abs() < 1e-3, "{:?}", step.walls);
        assert!((step.walls[&Wall::Commits] - 0.05).abs() < 1e-9, "{:?}", step.walls);
        assert!(step.walls[&Wall::Descriptors] < 0.02 && !step.walls.contains_key(&Wall::Network));
    }

    #[test]
    fn a_server_that_takes_too_much_of_the_processors_breaks() {
        let step = judged(|found| found.server.as_mut().unwrap().cpu_ms_per_s = 1600.0);
        assert_eq!(step.reasons, [Reason::Cpu { server: 0.8 }]);
        assert!(step.failures.is_empty() && step.walls[&Wall::Cpu] >= 1.0);
    }

    #[test]
    fn full_processors_are_a_wall_where_server_and_tool_filled_them() {
        let full = |server, tool| {
            judged(|found| {
                found.server.as_mut().unwrap().cpu_ms_per_s = server;
                found.tool.cpu_ms_per_s = tool;
                found.machine.cpu_ms_per_s = 1980.0;
            })
        };
        let step = full(1000.0, 900.0);
        let [Reason::MachineFull { shares }] = &step.reasons[..] else { unreachable!("{:?}", step.reasons) };
        assert!((shares.tool - 0.45).abs() < 1e-9 && (shares.others - 0.04).abs() < 1e-9, "{shares:?}");
        assert!(step.walls[&Wall::Cpu] >= 1.0);
        assert!(full(500.0, 300.0).is_held(), "others filled them");
    }

    #[test]
    fn a_tool_that_is_full_beside_a_server_that_is_not_says_nothing_of_it() {
        let step = judged(|found| found.tool.cpu_ms_per_s = 990.0);
        assert!(step.is_tool_full, "{step:?}");
    }

    #[test]
    fn what_comes_late_breaks_a_server_that_has_too_much_to_do() {
        let step = judged(|found| {
            found.delivery.p99_ms = 9_000.0;
            (found.verdict.lost, found.verdict.lost_last) = (70, 70);
            (found.verdict.acks_missing, found.verdict.acks_missing_last) = (3, 3);
            found.verdict.numbers_unaccounted = 3;
            found.verdict.connections_lost = 1;
        });
        assert!(step.failures.is_empty(), "{:?}", step.failures);
        let late = Reason::Late { deliveries: 70, acks: 3 };
        assert_eq!(
            step.reasons,
            [Reason::Slow { p99_ms: 9_000.0 }, late, Reason::Dropped { connections: 1 }]
        );
    }

    #[test]
    fn what_does_not_come_from_a_server_that_has_time_is_lost() {
        let step = judged(|found| (found.verdict.lost, found.verdict.lost_last) = (7, 7));
        assert_eq!(step.failures, ["7 deliveries and 0 acks were late, though it was not overloaded"]);
    }

    #[test]
    fn a_limit_of_descriptors_is_the_servers_too_where_it_was_started_here() {
        let started = Server::Ours { program: "chat-server".into(), flags: Vec::new() };
        let target = std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into();
        let running = Server::Running { target, pid: None };
        let judged = |users: usize, server| {
            let error = RunError::Descriptors { needed: users as u64 + 64, limit: 1024 };
            let step = Step::not_measured(users, &error, server);
            assert!(!step.is_held() && step.failures.is_empty());
            (step.is_tool_full, step.walls.contains_key(&Wall::Descriptors), step.is_doubtful())
        };
        assert_eq!(judged(1500, &started), (false, true, false), "nobody could serve so many");
        assert_eq!(judged(1500, &running), (true, false, true), "its limit may be another");
        assert_eq!(judged(1000, &started), (true, false, true), "it could just so");
    }

    #[test]
    fn no_load_excuses_what_is_lost_in_the_middle_doubled_or_altered() {
        let step = judged(|found| {
            found.delivery.p99_ms = 9_000.0;
            (found.verdict.lost, found.verdict.lost_last) = (8, 7);
            found.verdict.doubled = 2;
            found.verdict.altered = 1;
        });
        assert_eq!(
            step.failures,
            ["1 deliveries lost: later ones came", "2 doubled", "1 deliveries that are not what was sent"]
        );
        assert!(!step.is_held());
    }
}
