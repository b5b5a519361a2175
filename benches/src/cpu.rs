//! What criterion measures where a wait must not count: the CPU time of this process.

use std::time::Duration;

use criterion::{
    Throughput,
    measurement::{Measurement, ValueFormatter, WallTime},
};
use rustix::time::{ClockId, clock_gettime};

/// The CPU time that all threads of this process have taken, in the kernel too.
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().expect("a time since the process began")
}

/// CPU time of the whole process as a [`Measurement`]: it does not grow while everybody waits.
///
/// With a throughput of elements criterion prints the CPU time of one element, in nanoseconds; its label for it,
/// `thrpt`, is fixed.
#[derive(Debug, Default, Clone, Copy)]
pub struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu_time()
    }

    fn end(&self, i: Duration) -> Duration {
        cpu_time().saturating_sub(i)
    }

    fn add(&self, v1: &Duration, v2: &Duration) -> Duration {
        *v1 + *v2
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &PerElement
    }
}

struct PerElement;

impl ValueFormatter for PerElement {
    fn scale_values(&self, typical_value: f64, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_values(typical_value, values)
    }

    fn scale_throughputs(
        &self,
        typical_value: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        #[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^52")]
        let elements = match *throughput {
            Throughput::Elements(elements) => elements as f64,
            _ => return WallTime.formatter().scale_throughputs(typical_value, throughput, values),
        };
        for value in values {
            *value /= elements;
        }
        "ns CPU/elem"
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_for_machines(values)
    }
}

#[cfg(test)]
mod tests {
    use std::{hint::black_box, thread};

    use super::*;

    #[test]
    fn it_counts_what_another_thread_does() {
        let start = CpuTime.start();
        let worker = thread::spawn(move || {
            let start = cpu_time();
            while cpu_time().saturating_sub(start) < Duration::from_millis(20) {
                black_box(start);
            }
        });
        worker.join().unwrap();
        assert!(CpuTime.end(start) >= Duration::from_millis(20));
    }

    #[test]
    fn a_figure_is_that_of_one_element() {
        let formatter = CpuTime.formatter();
        let text = formatter.format_throughput(&Throughput::Elements(1000), 250_000.0);
        assert_eq!(text, "250.00 ns CPU/elem");
        assert_eq!(formatter.format_value(250_000.0), "250.00 µs");
    }
}
