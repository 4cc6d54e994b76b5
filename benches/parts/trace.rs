//! The trace of a delivery: the one it came with, or a new one, as for a sender that knows nothing of
//! traces.

use criterion::{Criterion, Throughput};
use hookferry::trace::TraceContext;

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("trace");
    group.throughput(Throughput::Elements(1));
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let states = ["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"];
    group.bench_function("received", |bencher| {
        bencher.iter_with_large_drop(|| {
            TraceContext::received(Some(parent), states.into_iter()).expect("valid")
        });
    });
    group.bench_function("new", |bencher| {
        bencher.iter_with_large_drop(|| TraceContext::start(false));
    });
    group.finish();
}
