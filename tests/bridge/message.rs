//! Messages as the pipeline makes them: signed, verified, read and routed, through the public
//! functions only.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hookferry::event::{Event, Position, SinkIndex, SinkSet};
use hookferry::name::{EventType, SourceName};
use hookferry::route::{Route, Routed, Router};
use hookferry::sink::{Message, Needs};
use hookferry::source::{Inbound, ONE_CODEX, Secret, Source};
use hookferry::trace::TraceContext;
use jiff::Timestamp;

static SEQUENCE: AtomicU64 = AtomicU64::new(1);

/// A name that no other test, and no earlier run, has used.
pub fn unique(prefix: &str) -> String {
    let id = uuid::Uuid::from_u128(u128::from(rand::random::<u64>()));
    format!("{prefix}-{}", &id.simple().to_string()[16..])
}

/// A configured source with its route to one sink.
pub struct Sender {
    source: Source,
    secret: Secret,
    router: Router,
    sinks: SinkSet,
    content_type: Option<String>,
}

impl Sender {
    /// A source of that name, with the provider's documented event types.
    pub fn new(name: &str) -> Self {
        let name = SourceName::parse(name).expect("a slug");
        let secret = Secret::new("whsec_test_secret").expect("not empty");
        let sinks = SinkSet::default().with(SinkIndex::new(0).expect("in range"));
        let route = Route::new(name.clone(), sinks);
        let known = HashMap::from([(name.clone(), event_types().into_iter().collect())]);
        Self {
            source: Source::new(name, ONE_CODEX.clone(), vec![secret.clone()]),
            secret,
            router: Router::new(vec![route], known),
            sinks,
            content_type: Some("application/json".to_owned()),
        }
    }

    /// The same source, routed to these sinks.
    pub fn to(self, sinks: impl IntoIterator<Item = SinkIndex>) -> Self {
        let sinks: SinkSet = sinks.into_iter().collect();
        let route = Route::new(self.source.name.clone(), sinks);
        let known = HashMap::from([(
            self.source.name.clone(),
            event_types().into_iter().collect(),
        )]);
        let router = Router::new(vec![route], known);
        Self {
            router,
            sinks,
            ..self
        }
    }

    /// The same source, whose deliveries say this of their content.
    pub fn saying(self, content_type: Option<&str>) -> Self {
        let content_type = content_type.map(str::to_owned);
        Self {
            content_type,
            ..self
        }
    }

    /// What this source needs of a sink.
    pub fn needs(&self) -> Needs {
        Needs {
            sources: vec![(self.source.name.clone(), event_types())],
        }
    }

    /// A message about an object.
    pub fn event(&self, event_type: &str, object_id: &str) -> Message {
        self.body(body(event_type, object_id))
    }

    /// A message with exactly this body, whatever it is.
    pub fn body(&self, body: impl Into<Bytes>) -> Message {
        let routed = self.routed(body);
        let lane = routed.lane();
        let position = Position {
            sequence: SEQUENCE.fetch_add(1, Ordering::Relaxed),
            sinks: self.sinks,
            bytes: 0,
        };
        Message::new(position, lane, Arc::new(routed.into_event()))
    }

    /// An event on its way into the spool.
    pub fn routed(&self, body: impl Into<Bytes>) -> Routed {
        let (body, now) = (body.into(), Timestamp::now());
        let head = ONE_CODEX.signed_head(&self.secret, &body, now);
        let inbound = Inbound {
            body,
            content_type: self.content_type.clone(),
            trace: TraceContext::start(false),
        };
        let verified = self
            .source
            .read_signature(&head)
            .expect("well-formed")
            .verify(inbound, now, || i64::MIN)
            .expect("signed just now");
        let routing = self.router.route(Event::read(verified));
        routing.routed().expect("no route drops it")
    }
}

/// The body of a delivery, with white space and an escape that a parser would not give back.
pub fn body(event_type: &str, object_id: &str) -> String {
    let object_type = event_type.split('.').next().unwrap_or_default();
    format!(
        "{{ \"api_version\":\"v1\",  \"event_type\":\"{event_type}\",\"object_type\":\"{object_type}\",\
         \"triggered_at\":\"2026-03-02T09:15:42.184121-08:00\",\
         \"object\":{{\"$uri\":\"/api/v1/{object_type}s/{object_id}\",\"note\":\"gr\\u00fcn\"}}}}\n"
    )
}

fn event_types() -> Vec<EventType> {
    ONE_CODEX.event_types.clone()
}
