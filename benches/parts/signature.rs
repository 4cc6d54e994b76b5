//! Reading the signature header, and proving a delivery with it.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use hookferry::source::{MAX_SECRETS, MAX_SIGNATURES};
use hookferry::trace::TraceContext;
use jiff::Timestamp;

use crate::delivery::{KIB, SIZES, body, claim, inbound, signature, source};

/// What a sender may bring and a source may have: the usual, and the most of both.
const LOADS: [(usize, usize, &str); 2] = [
    (1, 1, "one secret"),
    (
        MAX_SECRETS,
        MAX_SIGNATURES,
        "four secrets, eight signatures",
    ),
];

pub fn bench(criterion: &mut Criterion) {
    header(criterion);
    verify(criterion);
}

fn header(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header");
    group.throughput(Throughput::Elements(1));
    let source = source(1);
    for (signatures, name) in [(1, "one signature"), (MAX_SIGNATURES, "eight signatures")] {
        let header = signature(&source, &body(KIB), signatures);
        group.bench_function(name, |bencher| {
            bencher.iter_with_large_drop(|| claim(&source, &header));
        });
    }
    group.finish();
}

/// The claim and the copy of what came with the request are made outside of what is timed.
fn verify(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verify");
    for (secrets, signatures, name) in LOADS {
        let source = source(secrets);
        for (bytes, size) in SIZES {
            let body = body(bytes);
            let header = signature(&source, &body, signatures);
            let (trace, now) = (TraceContext::start(false), Timestamp::now());
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter_batched(
                    || {
                        let inbound = inbound(body.clone(), trace.clone());
                        (claim(&source, &header), inbound)
                    },
                    |(claim, inbound)| {
                        claim
                            .verify(inbound, now, || i64::MIN)
                            .expect("signed just now")
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}
