//! What came with a request besides its head.

use bytes::Bytes;

use crate::trace::TraceContext;

/// What came with the request besides its head; it travels with the event unchanged.
#[derive(Debug)]
pub struct Inbound {
    /// The body, as received.
    pub body: Bytes,
    /// The `Content-Type`, where there was one.
    pub content_type: Option<String>,
    /// The trace it belongs to.
    pub trace: TraceContext,
}
