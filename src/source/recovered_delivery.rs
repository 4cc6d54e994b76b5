//! The proof that a delivery stands in the provider's own record. [`RecoveredDelivery::read`] is the only maker
//! of [`RecoveredDelivery`]: it demands an authenticated answer of the provider's API.

use bytes::Bytes;
use jiff::Timestamp;

use super::authentic::AuthenticDelivery;
use super::configured::Source;
use super::inbound::Inbound;
use super::provider_api::ApiResponse;
use crate::trace::TraceContext;

/// A delivery that the provider has told of itself: it stood in the answer to a request with the
/// source's key, over TLS whose certificate was verified. No signature comes with it.
#[derive(Debug)]
pub struct RecoveredDelivery {
    delivery: AuthenticDelivery,
}

impl RecoveredDelivery {
    /// Takes a delivery of JSON out of an answer.
    #[must_use]
    pub fn read(source: &Source, _proof: &ApiResponse, body: Bytes, now: Timestamp) -> Self {
        let inbound = Inbound {
            body,
            content_type: Some("application/json".to_owned()),
            trace: TraceContext::start(false),
        };
        Self {
            delivery: AuthenticDelivery::backfill(source, inbound, now),
        }
    }
}

impl From<RecoveredDelivery> for AuthenticDelivery {
    fn from(recovered: RecoveredDelivery) -> Self {
        recovered.delivery
    }
}
