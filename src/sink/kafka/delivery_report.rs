//! The delivery report of a message: confirmed, or why not.

use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::oneshot;

use super::queue_limit::QueuePermit;

/// What a delivery report says.
pub(super) type DeliveryReport = Result<RecordPlace, DeliveryError>;

/// Where a delivered record is in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordPlace {
    pub partition: i32,
    pub offset: i64,
}

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeliveryError {
    /// What the client or the broker said.
    pub code: RDKafkaErrorCode,
    /// What is wrong with its partition, where the message timed out for that alone.
    pub partition_fault: Option<String>,
}

impl From<RDKafkaErrorCode> for DeliveryError {
    fn from(code: RDKafkaErrorCode) -> Self {
        Self {
            code,
            partition_fault: None,
        }
    }
}

/// What a message carries through librdkafka until its report: the publish that waits for it, and its
/// place in the queue.
pub(super) struct InFlightMessage {
    pub report: oneshot::Sender<DeliveryReport>,
    pub permit: QueuePermit,
}
