//! How long each work takes: `cargo xtask bench micro`. It is the thread's CPU time, so that other
//! programs on the machine are not taken for work of ours.

mod works;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use works::{Meter, Work};

criterion_group! {
    name = speed;
    config = Criterion::default();
    targets = measure
}
criterion_main!(speed);

fn measure(criterion: &mut Criterion) {
    for mut work in works::all() {
        criterion.bench_function(work.name, |bencher| {
            bencher.iter_custom(|units| time_of(&mut work, units));
        });
    }
}

/// The time of so many units. Works are done by the batch, so it is that of the batches which hold
/// them, cut to size.
fn time_of(work: &mut Work, units: u64) -> Duration {
    let batches = units.div_ceil(work.units.into());
    let mut watch = Watch(Duration::ZERO);
    for _ in 0..batches {
        (work.run)(&mut watch);
    }
    watch.0.mul_f64(units as f64 / (batches * u64::from(work.units)) as f64)
}

struct Watch(Duration);

impl Meter for Watch {
    fn measure(&mut self, part: &mut dyn FnMut()) {
        let start = cpu_time();
        part();
        self.0 += cpu_time() - start;
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
