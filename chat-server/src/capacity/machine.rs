//! What the operating system says of the process and of the machine. Much of it only Linux does.

use std::{thread::available_parallelism, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// What does not change while the process runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    /// Processors that the process may use, or a share of one.
    pub processors: f64,
    /// Memory that it may have.
    pub memory_bytes: Option<f64>,
    /// Files that it may have open.
    pub descriptors: Option<f64>,
}

/// What the machine's processors have done since it started.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Processors {
    /// How many there are.
    pub count: f64,
    /// The share of `all` in which they were not idle.
    pub busy_ticks: f64,
    /// All of their time, in ticks of no certain length.
    pub all_ticks: f64,
}

/// A way out of the machine, of which the speed is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Link {
    pub name: String,
    pub sent_bytes: f64,
    pub bytes_per_s: f64,
}

/// One look at the process and the machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Look {
    /// Processor time of all threads that the process ever had.
    pub own_cpu: Duration,
    pub processors: Option<Processors>,
    /// Memory of the process that is no file's.
    pub resident_bytes: Option<f64>,
    /// Files that are open.
    pub descriptors: Option<f64>,
    pub links: Vec<Link>,
}

pub(super) fn bounds() -> Bounds {
    let whole = available_parallelism().map_or(1, usize::from);
    let descriptors = rlimit::Resource::NOFILE.get_soft().ok().filter(|max| *max != rlimit::INFINITY);
    #[expect(clippy::cast_precision_loss, reason = "figures to reckon with, far below 2^53")]
    Bounds {
        processors: processors_of(whole as f64, os::cgroup_processors()),
        memory_bytes: os::memory_bytes(),
        descriptors: descriptors.map(|max| max as f64),
    }
}

/// Of a control group's part of the processors the standard library tells the whole ones, and at least one.
fn processors_of(whole: f64, part: Option<f64>) -> f64 {
    // Where there are fewer than the part has whole ones, the process may not run on more of them.
    part.filter(|part| part.floor().max(1.0) <= whole).unwrap_or(whole)
}

/// Reads from memory of the kernel, which waits for no disk: some tens of microseconds.
pub(super) fn look() -> Look {
    let (resident_bytes, descriptors) = os::process();
    Look { own_cpu: own_cpu(), processors: processors(), resident_bytes, descriptors, links: os::links() }
}

/// The processor time of all threads that the process ever had.
pub(super) fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// What the machine's processors have done.
pub(super) fn processors() -> Option<Processors> {
    os::processors()
}

#[cfg(target_os = "linux")]
mod os {
    #![expect(clippy::cast_precision_loss, reason = "figures to reckon with, far below 2^53")]

    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use procfs::{Current, CurrentSI, KernelStats, Meminfo, net::dev_status, process::Process};

    use super::{Link, Processors};

    pub(super) fn processors() -> Option<Processors> {
        let stats = KernelStats::current().ok()?;
        let total = stats.total;
        let idle = total.idle + total.iowait.unwrap_or(0);
        // What a guest used is in `user` and `nice` already.
        let more = [total.irq, total.softirq, total.steal].map(Option::unwrap_or_default);
        let busy = total.user + total.nice + total.system + more.iter().sum::<u64>();
        let count = stats.cpu_time.len() as f64;
        Some(Processors { count, busy_ticks: busy as f64, all_ticks: (busy + idle) as f64 })
    }

    /// Memory in bytes, and files.
    pub(super) fn process() -> (Option<f64>, Option<f64>) {
        let Ok(process) = Process::myself() else { return (None, None) };
        let memory = process.statm().ok().map(|statm| statm.resident.saturating_sub(statm.shared));
        let memory = memory.map(|pages| (pages * procfs::page_size()) as f64);
        (memory, process.fd_count().ok().map(|files| files as f64))
    }

    /// The machine's memory, or the part of it that the process may have.
    pub(super) fn memory_bytes() -> Option<f64> {
        let machine = Meminfo::current().ok()?.mem_total as f64;
        Some(cgroup_memory_bytes().map_or(machine, |limit| limit.min(machine)))
    }

    /// The part of the processors that the process's control group may use.
    pub(super) fn cgroup_processors() -> Option<f64> {
        least(cgroup_limits("cpu", &["cpu.max"], &["cpu.cfs_quota_us", "cpu.cfs_period_us"], quota))
    }

    /// `50000 100000` is a half; `max 100000` and `-1 100000` are no limit.
    pub(super) fn quota(text: &str) -> Option<f64> {
        let (quota, period) = text.trim().split_once(char::is_whitespace)?;
        let (quota, period): (f64, f64) = (quota.parse().ok()?, period.trim().parse().ok()?);
        (quota > 0.0 && period > 0.0).then(|| quota / period)
    }

    fn cgroup_memory_bytes() -> Option<f64> {
        least(cgroup_limits("memory", &["memory.max"], &["memory.limit_in_bytes"], bytes))
    }

    fn bytes(text: &str) -> Option<f64> {
        text.trim().parse::<u64>().ok().map(|bytes| bytes as f64)
    }

    fn least(limits: Vec<f64>) -> Option<f64> {
        limits.into_iter().reduce(f64::min)
    }

    /// The limits of the process's control group and of those around it. They stand in these files, of the unified
    /// hierarchy or of this controller's own.
    fn cgroup_limits(
        controller: &str,
        unified: &[&str],
        own: &[&str],
        parse: fn(&str) -> Option<f64>,
    ) -> Vec<f64> {
        let Ok(groups) = Process::myself().and_then(|process| process.cgroups()) else { return Vec::new() };
        let limits = groups.0.iter().flat_map(|group| {
            let (root, files) = match group.hierarchy {
                0 => (PathBuf::from("/sys/fs/cgroup"), unified),
                _ if group.controllers.iter().any(|one| one == controller) => {
                    (Path::new("/sys/fs/cgroup").join(controller), own)
                }
                _ => return Vec::new(),
            };
            let path = root.join(group.pathname.trim_start_matches('/'));
            // In a container the path may be that of the world outside: then the root is the container's own.
            let around = path.ancestors().take_while(|at| at.starts_with(&root));
            around
                .filter_map(|at| {
                    let texts: Vec<_> =
                        files.iter().filter_map(|file| fs::read_to_string(at.join(file)).ok()).collect();
                    parse(&texts.join(" "))
                })
                .collect()
        });
        limits.collect()
    }

    /// Loopback has no speed, and virtual links often none either.
    pub(super) fn links() -> Vec<Link> {
        const BYTES_PER_S: f64 = 1e6 / 8.0; // of a megabit a second
        let devices = dev_status().unwrap_or_default();
        let links = devices.into_values().filter_map(|device| {
            let path = Path::new("/sys/class/net").join(&device.name).join("speed");
            let megabits: f64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
            (megabits > 0.0).then_some(Link {
                name: device.name,
                sent_bytes: device.sent_bytes as f64,
                bytes_per_s: megabits * BYTES_PER_S,
            })
        });
        links.collect()
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use super::{Link, Processors};

    pub(super) const fn processors() -> Option<Processors> {
        None
    }

    pub(super) const fn process() -> (Option<f64>, Option<f64>) {
        (None, None)
    }

    pub(super) const fn memory_bytes() -> Option<f64> {
        None
    }

    pub(super) const fn cgroup_processors() -> Option<f64> {
        None
    }

    pub(super) const fn links() -> Vec<Link> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn work_shows_as_processor_time() {
        let before = look().own_cpu;
        let mut rounds = 0_u64;
        while look().own_cpu < before + Duration::from_millis(20) {
            rounds = black_box(rounds.wrapping_mul(31) + 1);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_control_group_may_have_a_part_of_a_processor() {
        for (text, part) in
            [("50000 100000\n", Some(0.5)), ("150000\n 100000\n", Some(1.5)), ("max 100000", None)]
        {
            assert_eq!(os::quota(text), part, "{text:?}");
        }
        for text in ["-1\n 100000\n", "", "5", "1 0", "0 1", "x y"] {
            assert_eq!(os::quota(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_part_counts_as_it_is_where_it_is_what_there_is() {
        for (whole, part, expected) in [
            (2.0, None, 2.0),
            (1.0, Some(0.5), 0.5),
            (1.0, Some(1.5), 1.5),
            (2.0, Some(4.0), 2.0),
            (4.0, Some(4.5), 4.5),
        ] {
            assert_eq!(Some(processors_of(whole, part)), Some(expected), "{part:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_tells_of_the_process_and_of_the_machine() {
        let (look, bounds) = (look(), bounds());
        let processors = look.processors.unwrap();
        assert!(processors.count >= 1.0 && processors.busy_ticks <= processors.all_ticks);
        let (resident, memory) = (look.resident_bytes.unwrap(), bounds.memory_bytes.unwrap());
        assert!(resident > 100_000.0 && resident < memory, "{resident} of {memory}");
        assert!(look.descriptors.unwrap() >= 3.0);
        assert!(bounds.processors > 0.0);
    }
}
