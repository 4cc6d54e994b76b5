//! The tracer: lets deliveries into their traces, and sends what was done to the collector, if there
//! is one.

use std::sync::Arc;
use std::time::Duration;

use super::context::{TraceContext, TraceParent};
use super::export::{ExportError, Exporter};
use super::settings::TraceSettings;
use super::span::{Span, SpanRole, SpanWork};
use crate::metrics::Metrics;

/// The tracer; clones share one exporter.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<Recorder>>);

#[derive(Debug)]
struct Recorder {
    exporter: Exporter,
    sample_ratio: f64,
}

/// A delivery that is in a trace.
#[derive(Debug)]
#[must_use = "a span that is not ended is not exported"]
pub struct Entered {
    /// What travels on with its event.
    pub context: TraceContext,
    /// Where it came from, if it is recorded.
    recorded: Option<Option<TraceContext>>,
}

impl Tracer {
    /// A tracer that exports, if there are settings for that.
    ///
    /// # Errors
    /// When this build cannot export, or the exporter cannot be made.
    pub fn start(
        settings: Option<&TraceSettings>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, ExportError> {
        let recorder = |settings: &TraceSettings| {
            Exporter::start(settings, Arc::clone(metrics)).map(|exporter| {
                Arc::new(Recorder {
                    exporter,
                    sample_ratio: settings.sample_ratio,
                })
            })
        };
        settings.map(recorder).transpose().map(Self)
    }

    /// Lets a delivery into the trace it came with, or into a new one. Where spans are recorded, what
    /// follows belongs to the span of this delivery; where not, to what it came with.
    pub fn enter(&self, received: Option<TraceContext>) -> Entered {
        let Some(recorder) = &self.0 else {
            let context = received.unwrap_or_else(|| TraceContext::start(false));
            return Entered {
                context,
                recorded: None,
            };
        };
        match received {
            Some(received) if received.parent.is_sampled() => Entered {
                context: received.span(),
                recorded: Some(Some(received)),
            },
            Some(received) => Entered {
                context: received,
                recorded: None,
            },
            None => {
                let context = TraceContext::start(rand::random::<f64>() < recorder.sample_ratio);
                let recorded = context.parent.is_sampled().then_some(None);
                Entered { context, recorded }
            }
        }
    }

    /// The delivery has its answer. What was done is only put together if it is recorded.
    pub fn received(&self, entered: Entered, work: impl FnOnce() -> SpanWork) {
        let (Some(recorder), Some(from)) = (&self.0, entered.recorded) else {
            return;
        };
        recorder.exporter.take(Span {
            context: entered.context,
            parent: from.map(|from| from.parent.span_id()),
            role: SpanRole::Server,
            work: work(),
        });
    }

    /// A publish of an event that travels with `parent` has ended; as above.
    pub fn published(&self, parent: &TraceParent, work: impl FnOnce() -> SpanWork) {
        let Some(recorder) = self.0.as_ref().filter(|_| parent.is_sampled()) else {
            return;
        };
        let context = TraceContext {
            parent: parent.clone(),
            state: None,
        };
        recorder.exporter.take(Span {
            context: context.span(),
            parent: Some(parent.span_id()),
            role: SpanRole::Producer,
            work: work(),
        });
    }

    /// Sends what is still here, for at most so long. It blocks.
    pub fn close(&self, timeout: Duration) {
        if let Some(recorder) = &self.0 {
            recorder.exporter.close(timeout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_export_what_came_travels_on() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let received = TraceContext::received(Some(text), ["a=1"].into_iter());
        let entered = Tracer::default().enter(received.clone());
        assert_eq!(Some(entered.context), received);
        let entered = Tracer::default().enter(None);
        assert!(!entered.context.parent.is_sampled());
    }
}
