//! The proof that a delivery stands in the provider's own record. [`RecoveredDelivery::read`] is the only
//! maker of [`RecoveredDelivery`]: it takes the delivery out of an authenticated answer of the provider's
//! API.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::value::RawValue;

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

/// Why a part of an answer is no delivery of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRecoverable {
    /// It stands elsewhere, or the answer is another source's.
    #[error("it is no part of an answer to this source")]
    Elsewhere,
    /// A delivery of JSON is one of the two.
    #[error("its payload is neither an object nor a string")]
    NoPayload,
}

impl RecoveredDelivery {
    /// Takes a delivery of JSON out of an answer. Of an object the answer's own bytes are kept; a string
    /// holds the delivery's.
    ///
    /// # Errors
    /// When the payload is no part of the answer, or of another shape.
    pub fn read(
        source: &Source,
        response: &ApiResponse,
        payload: &RawValue,
        now: Timestamp,
    ) -> Result<Self, NotRecoverable> {
        if !response.has(&source.name, payload.get()) {
            return Err(NotRecoverable::Elsewhere);
        }
        let raw = payload.get().as_bytes();
        let body = match raw.first() {
            Some(b'{') => Bytes::copy_from_slice(raw),
            Some(b'"') => {
                let text: Result<String, _> = serde_json::from_slice(raw);
                Bytes::from(text.map_err(|_| NotRecoverable::NoPayload)?)
            }
            _ => return Err(NotRecoverable::NoPayload),
        };
        let inbound = Inbound {
            body,
            content_type: Some("application/json".to_owned()),
            trace: TraceContext::start(false),
        };
        Ok(Self {
            delivery: AuthenticDelivery::backfill(source, inbound, now),
        })
    }

    /// The delivery.
    #[must_use]
    pub fn delivery(&self) -> &AuthenticDelivery {
        &self.delivery
    }
}

impl From<RecoveredDelivery> for AuthenticDelivery {
    fn from(recovered: RecoveredDelivery) -> Self {
        recovered.delivery
    }
}
