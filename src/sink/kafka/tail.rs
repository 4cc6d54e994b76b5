//! A consumer that tails a topic for a person who watches it. It assigns the partitions to itself, so
//! it joins no consumer group and commits no offsets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::mpsc::Sender;

use super::client_config::start_client;
use super::client_context::KafkaClientContext;
use super::error_code::{code_of, is_missing};
use super::settings::KafkaSettings;
use crate::sink::FollowedMessage;

const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// How long one try to reach the cluster takes; between two, the client may fetch a bearer token.
const TRY: Duration = Duration::from_secs(2);
/// How soon a receiver that went away is noticed.
const POLL: Duration = Duration::from_millis(200);

/// Why a topic cannot be tailed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaTailError {
    /// There is no such topic.
    #[error("there is no topic {0}")]
    Missing(String),
    /// Kafka does not answer.
    #[error("no answer from Kafka at {brokers}: {detail}")]
    Unreachable {
        /// The brokers asked.
        brokers: String,
        /// What the client said.
        detail: String,
    },
    /// Kafka refuses.
    #[error("{0}")]
    Refused(String),
}

/// Sends each message of `topic` to `seen`, those already there first if `from_start`. Ends when
/// the receiver is dropped. Partitions that are added meanwhile are not read.
///
/// # Errors
/// When the topic is missing, Kafka does not answer within ten seconds, or refuses.
pub async fn tail(
    settings: &KafkaSettings,
    topic: &str,
    from_start: bool,
    seen: Sender<FollowedMessage>,
) -> Result<(), KafkaTailError> {
    let settings = Arc::new(settings.clone());
    let topic = topic.to_owned();
    let tailing = tokio::task::spawn_blocking(move || {
        let consumer = open(&settings, &topic, from_start)?;
        read(&consumer, &seen)
    });
    match tailing.await {
        Ok(outcome) => outcome,
        Err(error) => Err(KafkaTailError::Refused(error.to_string())),
    }
}

type TailConsumer = BaseConsumer<KafkaClientContext>;

fn open(
    settings: &Arc<KafkaSettings>,
    topic: &str,
    from_start: bool,
) -> Result<TailConsumer, KafkaTailError> {
    let context = KafkaClientContext(Arc::clone(settings));
    let consumer: TailConsumer = start_client(&settings.consumer(), context).map_err(refused)?;
    let partitions = partitions(&consumer, settings, topic)?;
    let mut assignment = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        let (low, high) = consumer
            .fetch_watermarks(topic, partition, ANSWER_DEADLINE)
            .map_err(|error| unreachable(settings, &error))?;
        // Fixed numbers: what is published from now on is seen, however late the fetch begins.
        let offset = Offset::Offset(if from_start { low } else { high });
        assignment
            .add_partition_offset(topic, partition, offset)
            .map_err(refused)?;
    }
    consumer.assign(&assignment).map_err(refused)?;
    Ok(consumer)
}

fn partitions(
    consumer: &TailConsumer,
    settings: &KafkaSettings,
    topic: &str,
) -> Result<Vec<i32>, KafkaTailError> {
    let began = Instant::now();
    let metadata = loop {
        // Nothing is assigned yet: this only serves the client's own events.
        let _ = consumer.poll(Duration::ZERO);
        match consumer.fetch_metadata(Some(topic), TRY) {
            Ok(metadata) => break metadata,
            Err(error) if began.elapsed() > ANSWER_DEADLINE => {
                return Err(unreachable(settings, &error));
            }
            Err(_) => {}
        }
    };
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let missing = || KafkaTailError::Missing(topic.to_owned());
    let found = found.ok_or_else(missing)?;
    match found.error().map(Code::from) {
        None => Ok(found
            .partitions()
            .iter()
            .map(|partition| partition.id())
            .collect()),
        Some(code) if is_missing(code) => Err(missing()),
        Some(code) => Err(KafkaTailError::Refused(format!("topic {topic}: {code}"))),
    }
}

fn read(consumer: &TailConsumer, seen: &Sender<FollowedMessage>) -> Result<(), KafkaTailError> {
    while !seen.is_closed() {
        match consumer.poll(POLL) {
            None => {}
            // An error means that the receiver is gone, which the loop's condition sees.
            Some(Ok(message)) => drop(seen.blocking_send(view(&message))),
            Some(Err(error)) if is_transient(&error) => {
                tracing::debug!(%error, "the consumer waits for Kafka");
            }
            Some(Err(error)) => return Err(refused(error)),
        }
    }
    Ok(())
}

/// Whether waiting may help: an outage may end; a right or a topic that is gone stays so.
fn is_transient(error: &KafkaError) -> bool {
    !matches!(
        code_of(error),
        Code::TopicAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::Fatal
    )
}

fn view(message: &BorrowedMessage<'_>) -> FollowedMessage {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().map(|headers| {
        headers
            .iter()
            .map(|header| {
                (
                    header.key.to_owned(),
                    header.value.map(text).unwrap_or_default(),
                )
            })
            .collect()
    });
    FollowedMessage {
        address: message.topic().to_owned(),
        position: Some(format!("{}:{}", message.partition(), message.offset())),
        key: message.key().map(text),
        headers: headers.unwrap_or_default(),
        body: bytes::Bytes::copy_from_slice(message.payload().unwrap_or_default()),
    }
}

fn unreachable(settings: &KafkaSettings, error: &KafkaError) -> KafkaTailError {
    KafkaTailError::Unreachable {
        brokers: settings.brokers.clone(),
        detail: error.to_string(),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is an argument of map_err"
)]
fn refused(error: KafkaError) -> KafkaTailError {
    KafkaTailError::Refused(error.to_string())
}
