//! A record of any kind, and the parts that all kinds have.

use jiff::Timestamp;

use super::delivery_record::DeliveryRecord;
use super::record_fields::FieldReader;
use super::sink_record::SinkRecord;
use super::{delivery_record_codec, sink_record};

/// What a record is of.
pub(super) const DELIVERY: u8 = 0;
pub(super) const SINK: u8 = 1;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record<'a> {
    /// A delivery.
    Delivery(DeliveryRecord<'a>),
    /// What happened to an event at a sink.
    Sink(SinkRecord<'a>),
}

impl<'a> Record<'a> {
    /// Reads one; none where the bytes are something else.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let from = &mut FieldReader(rest);
        match *kind {
            DELIVERY => delivery_record_codec::decode(from).map(Self::Delivery),
            SINK => sink_record::decode(from).map(Self::Sink),
            _ => None,
        }
    }

    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Delivery(delivery) => delivery.received_at(),
            Self::Sink(record) => record.at,
        }
    }
}
