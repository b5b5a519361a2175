//! What a message to one of many rooms costs SQLite.
//!
//! 5,000 users talk in pairs: a batch has 50 messages, and nearly as many rooms. Each room has pages of its own in the
//! tables and indexes, so that here a message costs pages, where in one room it costs rows.
//!
//! A number is the CPU time of a batch, of all threads: waits for the disk are not in it, the copying of the log is, the
//! floor's too. The rate is that of a message. Printed after it are the pages that were written, by the kernel's account
//! (`/proc/self/io`): those of the log, and those of the file. Linux only.

use std::{fs, path::Path, time::Duration};

use chat_benches::cpu::{CpuTime, cpu_time};
use chat_store::Synchronous;
use criterion::{Criterion, Throughput};
use tokio::runtime::Runtime;

use crate::{Pair, append, messages, sqlite};

/// Messages of a batch: what 5,000 a second gather in 10 ms.
const BATCH: usize = 50;

/// Batches before it is measured: 20 messages for each room.
const BATCHES_BEFORE: usize = messages::PAIRS * 20 / BATCH;

/// Bytes of a page in the file; in the log it has 24 more.
const PAGE_BYTES: f64 = 4096.0;

/// What was used by this process, or by a part of what it did.
#[derive(Default, Clone, Copy)]
struct Used {
    cpu: Duration,
    bytes: u64,
    batches: u64,
}

impl Used {
    fn now() -> Self {
        let io = fs::read_to_string("/proc/self/io").unwrap();
        let bytes = io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap();
        Self { cpu: cpu_time(), bytes, batches: 0 }
    }

    /// Adds what `work` uses for so many batches: its CPU time.
    fn add(&mut self, batches: u64, work: impl FnOnce()) -> Duration {
        let before = Self::now();
        work();
        let after = Self::now();
        self.bytes += after.bytes - before.bytes;
        self.batches += batches;
        after.cpu.saturating_sub(before.cpu)
    }

    #[expect(clippy::cast_precision_loss, reason = "it shows three digits")]
    fn print(self, name: &str) {
        // A filter may have left it out.
        if self.batches > 0 {
            let pages = self.bytes as f64 / PAGE_BYTES;
            println!(
                "commit/rooms/{name}: {:.2} pages a message",
                pages / (self.batches * BATCH as u64) as f64
            );
        }
    }
}

fn store(pair: &mut Pair, runtime: &Runtime, batches: u64, used: &mut Used) -> Duration {
    let ready: Vec<_> = (0..batches).map(|_| pair.messages.batch(BATCH)).collect();
    used.add(batches, || ready.into_iter().for_each(|batch| runtime.block_on(append(&*pair.store, batch))))
}

fn floor(pair: &mut Pair, runtime: &Runtime, batches: u64, used: &mut Used) -> Duration {
    let ready: Vec<_> = (0..batches).map(|_| pair.messages.rows(BATCH)).collect();
    used.add(batches, || {
        for rows in ready {
            pair.floor.insert(runtime, &rows);
            pair.floor.rest();
        }
    })
}

pub(crate) fn measure(runtime: &Runtime, directory: &Path, is_test: bool) {
    let mut criterion = Criterion::default().with_measurement(CpuTime).configure_from_args();
    let mut group = criterion.benchmark_group("commit/rooms");
    group.sample_size(10).measurement_time(Duration::from_secs(8)).warm_up_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(BATCH as u64));
    let before = if is_test { 1 } else { BATCHES_BEFORE as u64 };
    // Where a filter leaves all of it out, there are no rooms.
    let mut made = None;
    for (name, work) in [("store", store as fn(&mut _, &_, _, &mut _) -> _), ("floor", floor)] {
        let (mut used, mut is_begun) = (Used::default(), false);
        group.bench_function(name, |bench| {
            let pair =
                made.get_or_insert_with(|| sqlite(runtime, directory, Synchronous::Full, &messages::pairs));
            if !is_begun {
                is_begun = true;
                work(pair, runtime, before, &mut Used::default());
            }
            bench.iter_custom(|batches| work(pair, runtime, batches, &mut used));
        });
        used.print(name);
    }
    group.finish();
}
