//! What is remembered of one event: its delivery, a publish that begins, and its confirm. The ring is
//! full, so each record takes the place of older ones.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use criterion::{Criterion, Throughput};
use hookferry::event::{Event, SinkIndex};
use hookferry::history::{
    DeliveryNotes, DeliveryOutcome, DeliveryRecord, EventNotes, Recorder, SignatureFacts,
    UnixMicros,
};
use hookferry::sink::Destination;
use hookferry::source::EventOrigin;
use jiff::Timestamp;

use crate::delivery::{KIB, event, source};

/// More events than the ring holds.
const EVENTS: usize = 60_000;

fn record(recorder: &Recorder, sink: SinkIndex, event: &Event, destination: &Destination) {
    let took = Duration::from_micros(810);
    let mut notes = DeliveryNotes {
        signature: Some(SignatureFacts {
            verified_at: Timestamp::now(),
            age_seconds: Some(1),
            secret: 0,
        }),
        event: None,
    };
    let noted = notes.event.insert(EventNotes::of(event));
    noted.sinks = [sink].into_iter().collect();
    noted.is_spooled = true;
    recorder.delivery(&DeliveryRecord {
        answered_at: UnixMicros::now(),
        took,
        source: event.source().as_str(),
        origin: EventOrigin::Webhook,
        address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        outcome: DeliveryOutcome::Accepted,
        status: 200,
        reason: None,
        request_id: None,
        signature: notes.signature,
        event: notes.event.as_ref().map(EventNotes::facts),
    });
    recorder.published(sink, [event.id()].into_iter());
    let confirm = (event.id(), took, destination);
    recorder.confirmed(sink, [confirm].into_iter());
}

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("history");
    group.throughput(Throughput::Elements(1));
    let event = event(&source(1), KIB);
    let sink = SinkIndex::new(0).expect("in range");
    let destination = Destination::Kafka {
        topic: "onecodex.sample.uploaded".to_owned(),
        partition: 3,
        offset: 1_000_000,
    };
    let recorder = Recorder::default();
    for _ in 0..EVENTS {
        record(&recorder, sink, &event, &destination);
    }
    group.bench_function("one sink", |bencher| {
        bencher.iter(|| record(&recorder, sink, &event, &destination));
    });
    group.finish();
}
