//! What every sink asks of a message before it encodes it: its address by template, its id and key as
//! text, the CloudEvents attributes and the headers of our own.
//!
//! What RabbitMQ's and Kafka's clients make of these (`BasicProperties`, `OwnedHeaders`) is private to
//! the sinks and not in here. No sink touches the body before its client copies it, so its size does
//! not matter.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use hookferry::event::{Position, SinkIndex, SinkSet};
use hookferry::route::{Lane, Template};
use hookferry::sink::Message;

use crate::delivery::{KIB, event, source};

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message");
    group.throughput(Throughput::Elements(1));
    let message = message();
    let topic = template("{source}.{event_type}");
    let routing_key = template("{event_type}.{object_id}");
    group.bench_function("topic", |bencher| bencher.iter(|| message.name(&topic)));
    group.bench_function("routing key", |bencher| {
        bencher.iter(|| message.name(&routing_key));
    });
    group.bench_function("CloudEvents attributes", |bencher| {
        bencher.iter(|| black_box(message.cloud_event()).len());
    });
    group.bench_function("own headers", |bencher| {
        bencher.iter(|| black_box(message.extensions()).len());
    });
    group.bench_function("all of it", |bencher| {
        bencher.iter(|| {
            black_box(message.name(&topic));
            black_box((message.id().to_string(), message.key()));
            black_box((message.cloud_event(), message.extensions()));
        });
    });
    group.finish();
}

fn message() -> Message {
    let position = Position {
        sequence: 1,
        sinks: SinkSet::from_iter(SinkIndex::new(0)),
        bytes: 2048,
    };
    Message::new(position, Lane::Typed, Arc::new(event(&source(1), KIB)))
}

/// A template that is well-formed.
pub fn template(text: &str) -> Template {
    Template::parse(text).expect("well-formed")
}
