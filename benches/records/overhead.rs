//! What does measuring cost?

use criterion::Criterion;
use tickwire::clock;

pub(crate) fn measure(c: &mut Criterion) {
    let mut group = c.benchmark_group("overhead");
    group.bench_function("empty loop", |b| b.iter(|| ()));
    group.bench_function("clock, monotonic", |b| b.iter(clock::monotonic_ns));
    group.bench_function("clock, time of day", |b| b.iter(clock::now_ns));
    group.finish();
}
