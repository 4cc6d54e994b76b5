//! The check of a Kafka cluster for an operator: does it answer, is every topic there and durable, and
//! can each partition leader be reached.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client_context::KafkaProducerContext;
use super::client_error::ClientError;
use super::connection_health::ConnectionHealth;
use super::error_code::code_of;
use super::producer::Producer;
use super::settings::KafkaSettings;
use super::topic_check::{TopicReplicas, durability, unavailable_topic};
use super::topic_names::topic_names;
use crate::sink::{Finding, Needs};

/// Longer than a connection may take, so that the client has told what is wrong with it. All partition
/// leaders together have as long.
const ANSWER_DEADLINE: Duration = Duration::from_secs(7);
/// For a handshake with a broker that has just answered one.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(3);
/// How long after an unanswered request the error callback may say why.
const ERROR_DEADLINE: Duration = Duration::from_secs(1);

/// The finding for a cluster that does not answer: what the client said of it, or else `why`.
pub(super) fn unreachable(
    settings: &KafkaSettings,
    why: &str,
    last_error: Option<&ClientError>,
) -> Finding {
    let (why, remedy) = match last_error {
        Some(error) => (error.reason.as_str(), error.remedy()),
        None => (
            why,
            "check that `brokers` names reachable brokers with the right port, and that `tls` \
             and `sasl` are what that port expects",
        ),
    };
    Finding::error(
        format!("no answer from Kafka at {}: {why}", settings.brokers),
        remedy,
    )
}

/// A check of the cluster through the producer in use.
pub(super) struct ClusterCheck {
    pub producer: Arc<Producer>,
    pub settings: Arc<KafkaSettings>,
    pub connections: Arc<ConnectionHealth>,
}

impl ClusterCheck {
    /// Checks the cluster, each needed topic, and the brokers that lead their partitions. Blocks until
    /// answered or out of time.
    pub(super) fn run(&self, needs: &Needs) -> Vec<Finding> {
        let topics = topic_names(&self.settings, needs);
        let mut findings = Vec::new();
        let (mut present, mut leaders) = (Vec::new(), Leaders::new());
        if topics.is_empty() {
            findings.push(match self.metadata(None) {
                Ok(metadata) => self.answers(&metadata),
                Err(finding) => finding,
            });
        }
        for topic in &topics {
            let metadata = match self.metadata(Some(topic)) {
                Ok(metadata) => metadata,
                Err(finding) => {
                    findings.push(finding);
                    return findings;
                }
            };
            if findings.is_empty() {
                findings.push(self.answers(&metadata));
            }
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let missing = Code::UnknownTopicOrPartition;
            match found.map(|found| (found, found.error())) {
                Some((found, None)) => {
                    present.push(TopicReplicas::of(found));
                    note_leaders(&metadata, found, &mut leaders);
                }
                Some((_, Some(error))) => {
                    findings.push(unavailable_topic(&self.settings, topic, error.into()));
                }
                None => findings.push(unavailable_topic(&self.settings, topic, missing)),
            }
        }
        findings.extend(self.unreachable_leaders(&leaders));
        findings.extend(self.fatal_error());
        findings.extend(durability(&self.settings, &present));
        findings
    }

    fn answers(&self, metadata: &Metadata) -> Finding {
        Finding::good(format!(
            "Kafka at {} answers; brokers in the cluster: {}",
            self.settings.brokers,
            metadata.brokers().len()
        ))
    }

    fn metadata(&self, topic: Option<&str>) -> Result<Metadata, Finding> {
        let client = self.producer.client();
        client
            .fetch_metadata(topic, ANSWER_DEADLINE)
            .map_err(|error| {
                let last_error = self.await_error().map(|error| self.narrowed(error));
                unreachable(&self.settings, &error.to_string(), last_error.as_ref())
            })
    }

    /// The client's last error, for which the error callback may come a moment after a request was not
    /// answered.
    fn await_error(&self) -> Option<ClientError> {
        let deadline = Instant::now() + ERROR_DEADLINE;
        loop {
            let error = self.connections.last_error();
            if error.is_some() || Instant::now() >= deadline {
                return error;
            }
            thread::sleep(ERROR_DEADLINE / 50);
        }
    }

    /// Finds out why a broker's certificate is not accepted, which librdkafka does not tell: by a client
    /// that does not verify the name in it.
    fn narrowed(&self, error: ClientError) -> ClientError {
        if !error.is_broker_certificate() {
            return error;
        }
        let connections = Arc::new(ConnectionHealth::default());
        let context =
            KafkaProducerContext::new(Arc::clone(&self.settings), Arc::clone(&connections));
        let config = self.settings.without_name_verification();
        let Ok(client) = Producer::start(&config, context, &self.settings) else {
            return error;
        };
        let metadata = client.client().fetch_metadata(None, HANDSHAKE_DEADLINE);
        let is_answered = metadata.is_ok();
        match connections.last_error() {
            Some(still) if still.is_broker_certificate() => error.narrowed(false),
            // Without a login it may not be answered.
            Some(other) if is_answered || other.is_login() => error.narrowed(true),
            None if is_answered => error.narrowed(true),
            // It has not come that far, and says nothing.
            _ => error,
        }
    }

    /// The brokers that cannot be reached at the addresses that the cluster gives for them: nothing
    /// could be published to the partitions that they lead. All are asked at once.
    fn unreachable_leaders(&self, leaders: &Leaders) -> Vec<Finding> {
        thread::scope(|scope| {
            let asked: Vec<_> = leaders
                .iter()
                .map(|(id, leader)| {
                    let ask = move || self.unreachable_leader(*id, leader);
                    // Where the system refuses a thread, as under a limit on tasks, `spawn` would panic.
                    thread::Builder::new()
                        .spawn_scoped(scope, ask)
                        .map_err(|error| unasked_leader(*id, &error))
                })
                .collect();
            let findings = asked.into_iter().filter_map(|asked| match asked {
                Ok(asked) => asked.join().ok().flatten(),
                Err(finding) => Some(finding),
            });
            findings.collect()
        })
    }

    fn unreachable_leader(&self, id: i32, leader: &Leader) -> Option<Finding> {
        let Leader {
            address,
            topic,
            partition,
        } = leader;
        let client = self.producer.client();
        let error = client
            .fetch_watermarks(topic, *partition, ANSWER_DEADLINE)
            .err()?;
        let code = code_of(&error);
        if code == Code::TopicAuthorizationFailed {
            return Some(unavailable_topic(&self.settings, topic, code));
        }
        let last_error = self.connections.last_error();
        let last_error = last_error.filter(|last| last.reason.contains(address.as_str()));
        let (why, remedy) = match last_error.map(|error| self.narrowed(error)) {
            Some(error) => (error.reason.clone(), error.remedy().to_owned()),
            None => (
                error.to_string(),
                format!(
                    "have this machine reach {address}, or correct `advertised.listeners` of the broker"
                ),
            ),
        };
        Some(Finding::error(
            format!(
                "broker {id}, which leads partition {partition} of topic {topic}, gives its address as {address}, and does not answer there: {why}"
            ),
            remedy,
        ))
    }

    /// That the producer has stopped for good, as for a missing right of idempotent producers.
    fn fatal_error(&self) -> Option<Finding> {
        let (code, why) = self.producer.client().fatal_error()?;
        let remedy = if code == Code::ClusterAuthorizationFailed {
            "grant the bridge's user IdempotentWrite on the cluster"
        } else {
            "look into the brokers' log"
        };
        Some(Finding::error(
            format!("the client cannot publish: {why}"),
            remedy,
        ))
    }
}

/// Each broker that leads a partition, by its number, with one partition that it leads.
type Leaders = BTreeMap<i32, Leader>;

struct Leader {
    address: String,
    topic: String,
    partition: i32,
}

fn note_leaders(metadata: &Metadata, topic: &MetadataTopic, leaders: &mut Leaders) {
    for partition in topic.partitions() {
        let mut brokers = metadata.brokers().iter();
        let Some(broker) = brokers.find(|broker| broker.id() == partition.leader()) else {
            continue;
        };
        leaders.entry(broker.id()).or_insert_with(|| Leader {
            address: format!("{}:{}", broker.host(), broker.port()),
            topic: topic.name().to_owned(),
            partition: partition.id(),
        });
    }
}

fn unasked_leader(id: i32, error: &std::io::Error) -> Finding {
    Finding::error(
        format!("broker {id} was not asked: no thread could be started: {error}"),
        "raise the limit on processes and threads (`ulimit -u`, `pids.max`, TasksMax=), then check again",
    )
}
