//! What happened lately, in memory: each delivery with its answer, and each publish of its event. The
//! operators' page reads it; metrics count, and this tells which.
//!
//! It is kept in ring buffers of a fixed number of bytes, in which the newest record takes the place of
//! the oldest ones. A record is made once a request is answered and once a publish begins
//! or ends, so it costs an event a few hundred instructions, whether anybody looks or not. Nothing of
//! it is on the disk: what a restart loses here is nothing that the promise needs.
//!
//! Requests that prove nothing have a ring of their own, so that nobody can push out of memory what is
//! known of events.

mod delivery_record;
mod delivery_record_codec;
mod record;
mod record_fields;
mod record_ring;
mod recorder;
mod rejections;
mod sink_record;
mod unix_micros;

pub use delivery_record::{
    DeliveryNotes, DeliveryOutcome, DeliveryRecord, EventFacts, EventNotes, SignatureFacts,
};
pub use record::Record;
pub use recorder::{MAX_EVENT_BYTES, RecordedSpan, Recorder};
pub use rejections::{LastRejection, RejectionCount};
pub use sink_record::{SinkRecord, SinkStep};
pub use unix_micros::UnixMicros;
