//! The check of a sink's topics: is each there, how many replicas does it keep, and how many must be in
//! sync before it confirms.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client_config::start_client;
use super::client_context::KafkaClientContext;
use super::error_code::{code_of, is_missing};
use super::settings::{KafkaSettings, TopicShape};
use crate::sink::Finding;

/// How long the brokers may take to tell the topics' configuration.
const ANSWER_DEADLINE: Duration = Duration::from_secs(7);

/// What a missing topic is best created with where the configuration does not say.
const ADVISED: TopicShape = TopicShape {
    partitions: 6,
    replication: 3,
    min_insync_replicas: 2,
};

/// The partitions and replicas of a topic, from the cluster's metadata.
pub(super) struct TopicReplicas {
    topic: String,
    partitions: usize,
    /// The fewest replicas of a partition.
    replication: usize,
    leaderless: usize,
}

impl TopicReplicas {
    pub(super) fn of(topic: &MetadataTopic) -> Self {
        let partitions = topic.partitions();
        let copies = partitions
            .iter()
            .map(|partition| partition.replicas().len());
        Self {
            topic: topic.name().to_owned(),
            partitions: partitions.len(),
            replication: copies.min().unwrap_or(0),
            leaderless: partitions
                .iter()
                .filter(|partition| partition.leader() < 0)
                .count(),
        }
    }
}

/// The finding for a topic that is missing, or that a broker answers this code for.
pub(super) fn unavailable_topic(settings: &KafkaSettings, topic: &str, code: Code) -> Finding {
    match (settings.create_topics, is_missing(code)) {
        (Some(shape), true) => Finding::warning(
            format!("topic {topic} is missing"),
            format!(
                "`create_topics` makes it with {} partitions at the start, if the bridge has the right to",
                shape.partitions
            ),
        ),
        (None, true) => Finding::error(
            format!("topic {topic} is missing"),
            format!(
                "create it: kafka-topics.sh --bootstrap-server {} --create --topic {topic} \
                 --partitions {} --replication-factor {} --config min.insync.replicas={}; or set `create_topics`",
                settings.brokers,
                ADVISED.partitions,
                ADVISED.replication,
                ADVISED.min_insync_replicas
            ),
        ),
        (_, false) => Finding::error(
            format!("topic {topic}: {code}"),
            match code {
                Code::TopicAuthorizationFailed => {
                    format!("grant the bridge's user Describe and Write on topic {topic}")
                }
                Code::InvalidTopic => "change the template: Kafka allows no such name".to_owned(),
                _ => "bring the brokers back that hold it, then check again".to_owned(),
            },
        ),
    }
}

/// Whether what the topics confirm survives the loss of a broker.
pub(super) fn durability(settings: &Arc<KafkaSettings>, topics: &[TopicReplicas]) -> Vec<Finding> {
    let names: Vec<&str> = topics.iter().map(|topic| topic.topic.as_str()).collect();
    let mut findings = Vec::new();
    let min_insync = min_insync_replicas(settings, &names).unwrap_or_else(|error| {
        let code = code_of(&error);
        let found = format!("min.insync.replicas cannot be read: {code}");
        findings.push(match code {
            Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => Finding::warning(
                found,
                "grant the bridge's user DescribeConfigs on its topics to have it checked",
            ),
            _ => Finding::warning(found, "check again once the brokers answer"),
        });
        BTreeMap::new()
    });
    for topic in topics {
        let required = min_insync.get(&topic.topic).copied();
        findings.push(judge(settings, topic, required));
    }
    findings
}

/// One finding a topic: the worst there is to say about it.
fn judge(settings: &KafkaSettings, topic: &TopicReplicas, min_insync: Option<usize>) -> Finding {
    let name = &topic.topic;
    let state = format!(
        "topic {name}: {} partitions, {} {}, min.insync.replicas {}",
        topic.partitions,
        topic.replication,
        if topic.replication == 1 {
            "copy"
        } else {
            "copies"
        },
        min_insync.map_or_else(|| "unknown".to_owned(), |n| n.to_string())
    );
    match min_insync {
        _ if topic.leaderless > 0 => Finding::error(
            format!("{state}; {} without a leader", topic.leaderless),
            "bring the brokers back that hold its partitions",
        ),
        Some(required) if required > topic.replication => Finding::error(
            format!("{state}: no write can ever be confirmed"),
            "lower min.insync.replicas or raise the replication",
        ),
        _ if topic.replication < 2 => Finding::warning(
            format!("{state}: what is confirmed is lost with its one broker"),
            "raise the replication to 3 with kafka-reassign-partitions.sh, and min.insync.replicas to 2",
        ),
        Some(1) => Finding::warning(
            format!("{state}: one copy is enough to confirm, and can be lost with its broker"),
            format!(
                "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {name} \
                 --add-config min.insync.replicas=2",
                settings.brokers
            ),
        ),
        _ => Finding::good(state),
    }
}

fn min_insync_replicas(
    settings: &Arc<KafkaSettings>,
    topics: &[&str],
) -> Result<BTreeMap<String, usize>, KafkaError> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let context = KafkaClientContext(Arc::clone(settings));
    let client: AdminClient<KafkaClientContext> = start_client(&settings.admin(), context)?;
    let resources: Vec<ResourceSpecifier<'_>> = topics
        .iter()
        .map(|topic| ResourceSpecifier::Topic(topic))
        .collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER_DEADLINE));
    let described = tokio::runtime::Handle::current()
        .block_on(client.describe_configs(&resources, &options))?;
    let mut values = BTreeMap::new();
    for (topic, config) in topics.iter().zip(described) {
        let config = config.map_err(KafkaError::AdminOp)?;
        let value = config
            .get("min.insync.replicas")
            .and_then(|entry| entry.value.as_ref());
        if let Some(value) = value.and_then(|text| text.parse().ok()) {
            values.insert((*topic).to_owned(), value);
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Severity;

    fn severity(replication: usize, min_insync: Option<usize>) -> Severity {
        let topic = TopicReplicas {
            topic: "t".to_owned(),
            partitions: 6,
            replication,
            leaderless: 0,
        };
        judge(&KafkaSettings::new("b:9092"), &topic, min_insync).severity
    }

    #[test]
    fn one_copy_and_one_confirmation_are_warned_of() {
        assert_eq!(severity(3, Some(2)), Severity::Good);
        assert_eq!(severity(3, None), Severity::Good);
        assert_eq!(severity(3, Some(1)), Severity::Warning);
        assert_eq!(severity(1, Some(1)), Severity::Warning);
        assert_eq!(severity(1, Some(2)), Severity::Error);
    }
}
