//! Traces: which one a delivery belongs to, and what the bridge adds to it.
//!
//! The W3C trace context ([`TraceContext`]) comes in with a delivery and travels on with its
//! messages. By itself the bridge only passes it through, or starts one, so that a consumer's
//! spans and a sender's meet. Built with the feature `otlp` and told of a collector, it adds spans
//! of its own: one for a delivery that was proven, and one for each publish of its event. Nothing
//! waits for the collector, and what it cannot take in time is dropped and counted.

mod context;
#[cfg(feature = "otlp")]
mod export;
#[cfg(not(feature = "otlp"))]
#[path = "no_export.rs"]
mod export;
mod settings;
mod span;
mod tracer;

pub use context::{TraceContext, TraceParent, TraceState};
pub use export::ExportError;
pub use settings::TraceSettings;
pub use span::SpanWork;
pub use tracer::{Entered, Tracer};

/// Whether this build can export spans.
pub const CAN_EXPORT: bool = cfg!(feature = "otlp");
