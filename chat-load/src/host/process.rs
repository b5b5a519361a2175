//! What a process costs, as Linux tells it.

use std::{collections::BTreeMap, fs, io, time::Duration};

/// A process cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("the {what} of process {pid} cannot be read from {path}: has it ended?")]
pub struct ProcessError {
    pid: u32,
    what: &'static str,
    path: String,
    #[source]
    source: io::Error,
}

/// A process and its processor time.
///
/// The time is summed up from `/proc/PID/task/TID/schedstat`, which counts nanoseconds; `/proc/PID/stat` has steps of
/// 10 ms. The price is that what a thread used since the last look is not counted where it has ended since: look often.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    /// The nanoseconds of each thread at the last look.
    tasks: BTreeMap<u32, u64>,
    /// The same when it was marked.
    marked: BTreeMap<u32, u64>,
    total: Duration,
}

impl Process {
    /// Begins to count.
    ///
    /// # Errors
    /// [`ProcessError`] where there is no such process, or no Linux.
    pub fn new(pid: u32) -> Result<Self, ProcessError> {
        let mut process =
            Self { pid, tasks: BTreeMap::new(), marked: BTreeMap::new(), total: Duration::ZERO };
        process.cpu()?;
        Ok(process)
    }

    /// This process.
    ///
    /// # Errors
    /// [`ProcessError`] where there is no Linux.
    pub fn myself() -> Result<Self, ProcessError> {
        Self::new(std::process::id())
    }

    /// The time that all its threads have used since they began.
    ///
    /// # Errors
    /// [`ProcessError`] where the process is gone.
    pub fn cpu(&mut self) -> Result<Duration, ProcessError> {
        let path = format!("/proc/{}/task", self.pid);
        let pid = self.pid;
        let failed = |source| ProcessError { pid, what: "processor time", path: path.clone(), source };
        let mut tasks = BTreeMap::new();
        for task in fs::read_dir(&path).map_err(failed)? {
            let task = task.map_err(failed)?;
            let Ok(id) = task.file_name().to_string_lossy().parse() else { continue };
            // A thread may end between the two looks.
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            let spent = text.split(' ').next().and_then(|spent| spent.parse::<u64>().ok());
            let spent = spent.ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
            self.total += Duration::from_nanos(spent.saturating_sub(*self.tasks.get(&id).unwrap_or(&0)));
            tasks.insert(id, spent);
        }
        if tasks.is_empty() {
            return Err(failed(io::ErrorKind::Unsupported.into()));
        }
        self.tasks = tasks;
        Ok(self.total)
    }

    /// From here on [`busiest_thread`](Self::busiest_thread) counts: from the last look.
    pub fn mark(&mut self) {
        self.marked.clone_from(&self.tasks);
    }

    /// The time of the one thread that has used most from the mark to the last look, of those that are there still.
    pub fn busiest_thread(&self) -> Duration {
        let spent = self.tasks.iter().map(|(id, spent)| spent - self.marked.get(id).unwrap_or(&0).min(spent));
        Duration::from_nanos(spent.max().unwrap_or_default())
    }

    /// The memory that it holds (resident), in bytes.
    ///
    /// # Errors
    /// [`ProcessError`] where the process is gone.
    pub fn memory_bytes(&self) -> Result<u64, ProcessError> {
        let path = format!("/proc/{}/status", self.pid);
        let failed = |source| ProcessError { pid: self.pid, what: "memory", path: path.clone(), source };
        let status = fs::read_to_string(&path).map_err(failed)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.map(|kib| kib << 10).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))
    }

    /// Its number.
    pub const fn pid(&self) -> u32 {
        self.pid
    }
}

#[cfg(test)]
mod tests {
    use std::{hint::black_box, time::Instant};

    use super::*;

    #[test]
    fn time_that_is_spent_is_counted_also_that_of_other_threads() {
        let mut process = Process::myself().unwrap();
        let before = process.cpu().unwrap();
        let spin = |millis| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(millis) {
                black_box(begun);
            }
        };
        process.mark();
        std::thread::scope(|scope| {
            scope.spawn(|| spin(50));
            spin(60);
            let spent = process.cpu().unwrap().saturating_sub(before);
            let busiest = process.busiest_thread();
            assert!(busiest > Duration::ZERO && busiest <= spent, "{busiest:?} of {spent:?}");
            // How much a busy machine gives is its own business; more than there is it cannot give.
            assert!(spent > Duration::from_millis(5), "{spent:?}");
        });
        assert!(process.memory_bytes().unwrap() > 1 << 20);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        // Beyond the highest number that Linux gives.
        let error = Process::new(1 << 30).unwrap_err();
        assert!(error.to_string().contains("processor time of process 1073741824"), "{error}");
    }
}
