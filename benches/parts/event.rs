//! Reading an event out of a proven delivery: the strict walk over the whole document, the fields
//! that name it, and its id.

use criterion::{BatchSize, Criterion, Throughput};
use hookferry::event::{Content, Event};

use crate::delivery::{SIZES, body, event, source, verified};

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    let source = source(1);
    for (bytes, size) in SIZES {
        let understood = matches!(event(&source, bytes).content(), Content::Understood(_));
        assert!(understood, "these bodies are events");
        let body = body(bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(size, |bencher| {
            let delivery = || verified(&source, body.clone());
            bencher.iter_batched(delivery, Event::read, BatchSize::SmallInput);
        });
    }
    group.finish();
}
