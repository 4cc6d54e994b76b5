//! Events: an authentic delivery, read for its id and its type, its bytes untouched.
//!
//! [`Event::read`] takes an [`AuthenticDelivery`](crate::source::AuthenticDelivery) and cannot fail: what it
//! cannot understand becomes a quarantined event with the reason, because an authentic delivery is
//! never dropped.

mod content;
// A file has the name of its main type.
#[allow(clippy::module_inception)]
mod event;
mod fields;
mod id;
mod ordering_key;
mod position;
mod quarantine;
mod unsigned;

pub use content::{Content, Understood};
pub use event::{Event, EventDecodeError, EventPreview};
pub use id::EventId;
pub use ordering_key::OrderingKey;
pub use position::{Position, SinkIndex, SinkSet};
pub use quarantine::{Quarantine, QuarantineReason};
pub use unsigned::{UnsignedField, UnsignedFields};

pub use crate::source::EventOrigin;
