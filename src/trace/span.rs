//! A span: one thing the bridge did, in somebody's trace (OpenTelemetry's data model).

use std::time::Instant;
#[cfg(feature = "otlp")]
use std::time::SystemTime;

use super::context::{SpanId, TraceContext};

/// The bridge's part in a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpanRole {
    /// It was asked.
    Server,
    /// It handed a message on.
    Producer,
}

/// What was done.
#[derive(Debug, Clone)]
pub struct SpanWork {
    /// Its name, from a closed set.
    pub name: String,
    /// Since when.
    pub started: Instant,
    /// What else is said of it: names from a closed set, and values.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it failed, where it did: a name from a closed set.
    pub error: Option<&'static str>,
}

/// Work that has ended, with its place in a trace.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "otlp"),
    allow(dead_code, reason = "nobody reads what is not exported")
)]
pub(super) struct Span {
    /// The trace, with this span as the parent of what follows.
    pub context: TraceContext,
    /// The span it belongs to; none for the first of a trace.
    pub parent: Option<SpanId>,
    pub role: SpanRole,
    pub work: SpanWork,
}

impl Span {
    #[cfg(feature = "otlp")]
    /// From when until when it was, on the clock of the day.
    pub fn times(&self) -> (SystemTime, SystemTime) {
        let now = SystemTime::now();
        let started = now.checked_sub(self.work.started.elapsed());
        (started.unwrap_or(now), now)
    }
}
