//! The machine that server and tool share, as Linux tells it.

use std::{num::NonZero, time::Duration};

use serde::{Deserialize, Serialize};

/// The machine cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// The system does not say how many processors there are.
    #[error("the number of processors is not known: {0}")]
    Processors(#[source] std::io::Error),
    /// A file of `/proc` is not as it should be.
    #[cfg(target_os = "linux")]
    #[error("the machine cannot be looked at: {0}")]
    Proc(#[from] procfs::ProcError),
    /// Only Linux tells.
    #[cfg(not(target_os = "linux"))]
    #[error("only on Linux can the machine be looked at")]
    System,
}

/// What a machine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors that this process, and a server that it starts, may use.
    pub processors: usize,
    /// What the processors are called, where they are.
    pub model: Option<String>,
    /// Its memory.
    pub memory_bytes: u64,
    /// The system and its version.
    pub kernel: String,
}

/// The machine at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glance {
    /// Processor time of everybody since the machine began; time that a host gave to others counts as used.
    pub(crate) busy: Duration,
    /// Memory that could be had.
    pub(crate) memory_available_bytes: u64,
}

/// Descriptors of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptors {
    /// That are open.
    pub open: u64,
    /// How many may be; `None` where there is no limit.
    pub max: Option<u64>,
}

/// Processors that this process may use.
pub(crate) fn processors() -> Result<usize, MachineError> {
    std::thread::available_parallelism().map(NonZero::get).map_err(MachineError::Processors)
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{fs, time::Duration};

    use procfs::{
        CpuInfo, Current, CurrentSI, KernelStats, Meminfo,
        process::{LimitValue, Process},
    };

    use super::{Descriptors, Glance, Machine, MachineError, processors};

    impl Machine {
        /// Looks at this machine.
        ///
        /// # Errors
        /// [`MachineError`].
        pub fn look() -> Result<Self, MachineError> {
            let release =
                fs::read_to_string("/proc/sys/kernel/osrelease").map_err(procfs::ProcError::from)?;
            // Some virtual machines have processors without a name.
            let model = CpuInfo::current()?.model_name(0).map(str::to_owned);
            Ok(Self {
                processors: processors()?,
                model,
                memory_bytes: Meminfo::current()?.mem_total,
                kernel: format!("Linux {}", release.trim()),
            })
        }
    }

    pub(crate) fn glance() -> Result<Glance, MachineError> {
        let all = KernelStats::current()?.total;
        let more = [all.irq_duration(), all.softirq_duration(), all.steal_duration()];
        let busy = all.user_duration() + all.nice_duration() + all.system_duration();
        let memory = Meminfo::current()?;
        Ok(Glance {
            busy: busy + more.into_iter().flatten().sum::<Duration>(),
            // Kernels before 3.14 do not tell.
            memory_available_bytes: memory.mem_available.unwrap_or(memory.mem_free),
        })
    }

    /// `None` where the system does not tell it to this user, as of a process of somebody else's.
    pub(crate) fn descriptors(pid: u32) -> Result<Option<Descriptors>, MachineError> {
        match told(pid) {
            Ok(told) => Ok(Some(told)),
            Err(procfs::ProcError::PermissionDenied(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn told(pid: u32) -> Result<Descriptors, procfs::ProcError> {
        let process = Process::new(pid.cast_signed())?;
        let max = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Unlimited => None,
            LimitValue::Value(max) => Some(max),
        };
        Ok(Descriptors { open: process.fd_count()? as u64, max })
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::{descriptors, glance};

#[cfg(not(target_os = "linux"))]
impl Machine {
    /// Looks at this machine.
    ///
    /// # Errors
    /// [`MachineError`], always: only Linux tells.
    pub fn look() -> Result<Self, MachineError> {
        Err(MachineError::System)
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn glance() -> Result<Glance, MachineError> {
    Err(MachineError::System)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn descriptors(_: u32) -> Result<Option<Descriptors>, MachineError> {
    Err(MachineError::System)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_machine_has_processors_and_memory_and_its_time_goes_on() {
        let machine = Machine::look().unwrap();
        assert!(machine.processors > 0 && machine.memory_bytes > 1 << 20);
        assert!(machine.kernel.starts_with("Linux "), "{}", machine.kernel);
        let glance = glance().unwrap();
        assert!(glance.busy > Duration::ZERO && glance.memory_available_bytes < machine.memory_bytes);
    }

    #[test]
    fn open_files_are_counted() {
        let files: Vec<File> = (0..50).map(|_| File::open("/dev/null").unwrap()).collect();
        let found = descriptors(std::process::id()).unwrap().unwrap();
        assert!(found.open > files.len() as u64 && found.max.is_none_or(|max| max > found.open), "{found:?}");
    }
}
