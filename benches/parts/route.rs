//! Finding an event's lane and its sinks. The body does not matter: only names are looked at.

use std::collections::HashMap;

use criterion::{BatchSize, Criterion, Throughput};
use hookferry::event::{SinkIndex, SinkSet};
use hookferry::name::EventType;
use hookferry::route::{Route, Router};
use hookferry::source::ONE_CODEX;

use crate::delivery::{KIB, event, source};

/// A router as a small configuration makes it: one source with its documented event types, all of
/// which go to the first sink, and those of samples to the last as well.
pub fn router(sinks: SinkSet) -> Router {
    let source = source(1).name;
    let samples = EventType::parse("sample.uploaded").expect("documented");
    let [first, last] = [sinks.iter().next(), sinks.iter().last()].map(SinkSet::from_iter);
    let route = |event_types, sinks| Route {
        event_types,
        ..Route::new(source.clone(), sinks)
    };
    let known = ONE_CODEX.event_types.iter().cloned().collect();
    Router::new(
        vec![route(None, first), route(Some([samples].into()), last)],
        HashMap::from([(source.clone(), known)]),
    )
}

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    group.throughput(Throughput::Elements(1));
    let (source, router) = (
        source(1),
        router((0..2).filter_map(SinkIndex::new).collect()),
    );
    let event = event(&source, KIB);
    group.bench_function("two routes", |bencher| {
        let route = |event| router.route(event);
        bencher.iter_batched(|| event.clone(), route, BatchSize::SmallInput);
    });
    group.finish();
}
