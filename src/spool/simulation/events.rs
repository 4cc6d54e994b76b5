//! Events for the simulation: few objects with some events each, and each event in two versions of
//! its body, which have the same id. Of some events the second version is a backfilled copy.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;

use crate::event::{Event, EventId};
use crate::name::SourceName;
use crate::source::{Inbound, ONE_CODEX, Secret, Source};
use crate::spool::record::SpoolRecord;
use crate::trace::TraceContext;

/// The size of a segment in the simulation.
pub(super) const SEGMENT_BYTES: u64 = 48 << 10;
const OBJECTS: usize = 6;
pub(super) const EVENTS: usize = 120;

/// An event's number and the version of its body.
pub(in crate::spool) type EventKey = (usize, usize);

/// Event `number` belongs to object `number % OBJECTS`.
static POOL: LazyLock<Vec<[Arc<Event>; 2]>> = LazyLock::new(|| {
    let source = source();
    let event = |number, version| {
        let event = event(&source, number, version);
        Arc::new(if version == 1 && has_backfill(number) {
            backfilled(&event)
        } else {
            event
        })
    };
    (0..EVENTS)
        .map(|number| [event(number, 0), event(number, 1)])
        .collect()
});

static NUMBERS: LazyLock<HashMap<EventId, usize>> = LazyLock::new(|| {
    let numbers = POOL.iter().zip(0..);
    numbers
        .map(|([event, _], number)| (event.id(), number))
        .collect()
});

/// Whether the second version of an event is a backfilled copy.
pub(super) fn has_backfill(number: usize) -> bool {
    number % 5 == 4
}

/// Whether the record of one is the record of the other too.
pub(super) fn is_copy(one: EventKey, other: EventKey) -> bool {
    one == other || one.0 == other.0 && has_backfill(one.0)
}

/// The same event, as it is fetched from its provider's record.
pub(in crate::spool) fn backfilled(event: &Event) -> Event {
    let mut json = serde_json::to_value(event).expect("a document");
    json["origin"] = "backfill".into();
    let read: Event = serde_json::from_value(json).expect("an event");
    read.with_body(event.body().clone())
}

/// One version of an event.
pub(in crate::spool) fn event_of((number, version): EventKey) -> Arc<Event> {
    Arc::clone(&POOL[number][version])
}

/// Which event of the pool a record is; none where its bytes are another's.
pub(super) fn key_of(record: &SpoolRecord) -> Option<EventKey> {
    let number = *NUMBERS.get(&record.event().id())?;
    let body = record.event().body();
    let version = POOL[number].iter().position(|event| event.body() == body)?;
    Some((number, version))
}

fn secret() -> Secret {
    Secret::new("whsec_test_secret").expect("not empty")
}

fn source() -> Source {
    let name = SourceName::parse("onecodex").expect("a slug");
    Source::new(name, ONE_CODEX.clone(), vec![secret()])
}

fn event(source: &Source, number: usize, version: usize) -> Event {
    // Sizes from a sector or two to more than a block, so that batches have all shapes, and a few
    // that need a segment of their own.
    let size = match number % 40 {
        7 => usize::try_from(SEGMENT_BYTES).expect("small"),
        _ => [1, 300, 900, 5000][number % 4],
    };
    let filler = "x".repeat(size);
    let body = format!(
        "{{\"api_version\":\"v1\",\"event_type\":\"sample.uploaded\",\"object_type\":\"sample\",\
         \"triggered_at\":\"2026-03-02T09:{:02}:{:02}.184121Z\",\
         \"object\":{{\"$uri\":\"/api/v1/samples/o{}\"}},\"filler\":\"{filler}\",\"version\":{version}}}",
        number / 60,
        number % 60,
        number % OBJECTS,
    );
    let now: Timestamp = "2026-03-02T09:30:00Z".parse().expect("RFC 3339");
    let head = ONE_CODEX.signed_head(&secret(), body.as_bytes(), now);
    let inbound = Inbound {
        body: body.into(),
        content_type: None,
        trace: TraceContext::start(false),
    };
    let claim = source.read_signature(&head);
    let verified = claim
        .expect("well-formed")
        .verify(inbound, now, || i64::MIN);
    Event::read(verified.expect("signed just now"))
}
