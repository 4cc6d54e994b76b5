//! What an error code of Kafka or librdkafka means for a message: try later, hold the topic back, or
//! set it aside.
//! The codes are those of the protocol (<https://kafka.apache.org/protocol#protocol_error_codes>)
//! and librdkafka's local ones, which are negative.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::sink::{PublishError, RefusalReason};

/// The reaction to a failed delivery. `last_error` is the client's: behind a message that timed out
/// stands an error of a connection.
pub(super) fn publish_error(code: Code, topic: &str, last_error: Option<&str>) -> PublishError {
    let refused = |reason| PublishError::Refused {
        reason,
        detail: format!("topic {topic}: {code}"),
    };
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            refused(RefusalReason::TooLarge)
        }
        Code::InvalidTopic => refused(RefusalReason::InvalidAddress),
        // Nearly always it is the time that is refused, and then that of every message.
        Code::InvalidRecord | Code::InvalidTimestamp => PublishError::Unroutable(format!(
            "topic {topic}: {code}; a broker refuses records whose time is too far from its own: compare the clock of this machine with the brokers', and look at the topic's message.timestamp.before.max.ms and message.timestamp.after.max.ms"
        )),
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownTopicId
        | Code::UnknownPartition
        | Code::TopicAuthorizationFailed
        | Code::UnsupportedForMessageFormat
        | Code::PolicyViolation => PublishError::Unroutable(format!("topic {topic}: {code}")),
        _ => PublishError::Unavailable(match last_error {
            Some(error) => format!("topic {topic}: {code}; last trouble: {error}"),
            None => format!("topic {topic}: {code}"),
        }),
    }
}

/// Whether the broker says that there is no such topic.
pub(super) fn is_missing(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownTopicId
    )
}

/// Whether the broker may have refused the batch for another message: sent alone, this one gets an
/// answer of its own.
pub(super) fn is_of_batch(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::MessageBatchTooLarge
            | Code::InvalidDifferentRecord
    )
}

/// The code behind an error; `Fail` where it has none.
pub(super) fn code_of(error: &KafkaError) -> Code {
    match error {
        KafkaError::AdminOp(code) => *code,
        error => error.rdkafka_error_code().unwrap_or(Code::Fail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(code: Code) -> &'static str {
        match publish_error(code, "t", None) {
            PublishError::Unavailable(_) => "unavailable",
            PublishError::Unroutable(_) => "unroutable",
            PublishError::Refused { reason, .. } => reason.as_str(),
        }
    }

    #[test]
    fn codes_are_named_by_the_reaction() {
        for code in [
            Code::MessageTimedOut,
            Code::BrokerTransportFailure,
            Code::AllBrokersDown,
            Code::QueueFull,
            Code::Fatal,
            Code::PurgeQueue,
            Code::PurgeInflight,
            Code::NotEnoughReplicas,
            Code::NotEnoughReplicasAfterAppend,
            Code::NotLeaderForPartition,
            Code::LeaderNotAvailable,
            Code::RequestTimedOut,
            Code::KafkaStorageError,
            Code::OutOfOrderSequenceNumber,
            Code::InvalidProducerEpoch,
            Code::ClusterAuthorizationFailed,
            Code::SaslAuthenticationFailed,
            Code::ThrottlingQuotaExceeded,
            Code::InvalidMessage,
        ] {
            assert_eq!(kind(code), "unavailable", "{code:?}");
        }
        for code in [
            Code::UnknownTopic,
            Code::UnknownTopicOrPartition,
            Code::UnknownPartition,
            Code::TopicAuthorizationFailed,
            Code::PolicyViolation,
            Code::InvalidRecord,
            Code::InvalidTimestamp,
            Code::UnsupportedForMessageFormat,
        ] {
            assert_eq!(kind(code), "unroutable", "{code:?}");
        }
        assert_eq!(kind(Code::MessageSizeTooLarge), "too_large");
        assert_eq!(kind(Code::InvalidTopic), "invalid_address");
    }

    #[test]
    fn a_time_that_is_not_taken_leads_to_the_clocks() {
        for code in [Code::InvalidRecord, Code::InvalidTimestamp] {
            let error = publish_error(code, "t", None);
            assert!(
                error.to_string().contains("the clock of this machine"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_trouble_behind_a_timeout_is_told() {
        let error = publish_error(
            Code::MessageTimedOut,
            "t",
            Some("a:9092: connection refused"),
        );
        assert!(error.to_string().contains("connection refused"), "{error}");
    }
}
