//! How long each work takes: `cargo xtask bench micro`.

mod works;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
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
        let start = Instant::now();
        part();
        self.0 += start.elapsed();
    }
}
