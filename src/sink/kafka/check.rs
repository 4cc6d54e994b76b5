//! The cluster with an operator's eyes: does it answer, is every topic there, how many copies does
//! it keep, and how many must be written before it confirms.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::error::KafkaError;
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::producer::Producer;
use super::settings::{Settings, TopicShape};
use super::verdict::is_missing;
use super::watch::Quiet;
use crate::name::EventType;
use crate::sink::{Finding, Needs, Severity};

const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// What a missing topic is best created with where the configuration does not say.
const ADVISED: TopicShape = TopicShape {
    partitions: 6,
    replication: 3,
    min_insync_replicas: 2,
};

/// The topics that the sources' events can go to, as far as the templates tell.
pub(super) fn topic_names(settings: &Settings, needs: &Needs) -> Vec<String> {
    // An unlisted event type can be anything: a name that depends on it cannot be foretold.
    let any = ["a", "b"].map(|text| EventType::parse(text).expect("a letter is an event type"));
    let quarantine = EventType::parse("quarantine").expect("a word is an event type");
    let mut names = Vec::new();
    for (source, event_types) in &needs.sources {
        let topics = &settings.topics;
        names.extend(topics.typed.names(source, event_types).unwrap_or_default());
        let other = topics.other.names(source, &any).unwrap_or_default();
        names.extend(
            other
                .into_iter()
                .take(1)
                .filter(|_| is_constant(&topics.other)),
        );
        let quarantined = std::slice::from_ref(&quarantine);
        names.extend(
            topics
                .quarantine
                .names(source, quarantined)
                .unwrap_or_default(),
        );
    }
    names.sort();
    names.dedup();
    names
}

fn is_constant(template: &crate::route::Template) -> bool {
    !template.to_string().contains("{event_type}")
}

/// That the cluster does not answer.
pub(super) fn unreachable(settings: &Settings, why: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        found: format!("no answer from Kafka at {}: {why}", settings.brokers),
        remedy: "check that `brokers` names reachable brokers with the right port, and that `tls` \
                 and `sasl` are what that port expects"
            .to_owned(),
    }
}

/// Looks at the cluster and at each needed topic. Blocks until answered or out of time.
pub(super) fn examine(
    producer: &Producer,
    settings: &Arc<Settings>,
    needs: &Needs,
) -> Vec<Finding> {
    let topics = topic_names(settings, needs);
    let mut findings = Vec::new();
    let mut present = Vec::new();
    for topic in &topics {
        let metadata = match producer
            .client()
            .fetch_metadata(Some(topic), ANSWER_DEADLINE)
        {
            Ok(metadata) => metadata,
            Err(error) => {
                findings.push(unreachable(settings, &error.to_string()));
                return findings;
            }
        };
        if findings.is_empty() {
            findings.push(reachable(settings, &metadata));
        }
        match metadata.topics().iter().find(|found| found.name() == topic) {
            Some(found) => match found.error() {
                None => present.push(Copies::of(found)),
                Some(error) => findings.push(absent(settings, topic, error.into())),
            },
            None => findings.push(absent(settings, topic, Code::UnknownTopicOrPartition)),
        }
    }
    if topics.is_empty() {
        findings.push(
            match producer.client().fetch_metadata(None, ANSWER_DEADLINE) {
                Ok(metadata) => reachable(settings, &metadata),
                Err(error) => unreachable(settings, &error.to_string()),
            },
        );
    }
    findings.extend(durability(settings, &present));
    findings
}

fn reachable(settings: &Settings, metadata: &Metadata) -> Finding {
    good(format!(
        "Kafka at {} answers; brokers in the cluster: {}",
        settings.brokers,
        metadata.brokers().len()
    ))
}

/// A topic as the metadata shows it.
struct Copies {
    topic: String,
    partitions: usize,
    /// The fewest copies of a partition.
    replication: usize,
    leaderless: usize,
}

impl Copies {
    fn of(topic: &MetadataTopic) -> Self {
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

fn absent(settings: &Settings, topic: &str, code: Code) -> Finding {
    match (settings.create_topics, is_missing(code)) {
        (Some(shape), true) => Finding {
            severity: Severity::Warning,
            found: format!("topic {topic} is missing"),
            remedy: format!(
                "`create_topics` makes it with {} partitions at the start, if the bridge has the right to",
                shape.partitions
            ),
        },
        (None, true) => Finding {
            severity: Severity::Error,
            found: format!("topic {topic} is missing"),
            remedy: format!(
                "create it: kafka-topics.sh --bootstrap-server {} --create --topic {topic} \
                 --partitions {} --replication-factor {} --config min.insync.replicas={}; or set `create_topics`",
                settings.brokers,
                ADVISED.partitions,
                ADVISED.replication,
                ADVISED.min_insync_replicas
            ),
        },
        (_, false) => Finding {
            severity: Severity::Error,
            found: format!("topic {topic}: {code}"),
            remedy: format!("grant the bridge's user Describe and Write on topic {topic}"),
        },
    }
}

fn durability(settings: &Arc<Settings>, topics: &[Copies]) -> Vec<Finding> {
    let names: Vec<&str> = topics.iter().map(|topic| topic.topic.as_str()).collect();
    let mut findings = Vec::new();
    let min_insync = min_insync_replicas(settings, &names).unwrap_or_else(|error| {
        findings.push(Finding {
            severity: Severity::Warning,
            found: format!("min.insync.replicas cannot be read: {error}"),
            remedy: "grant the bridge's user DescribeConfigs on its topics to have it checked"
                .to_owned(),
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
fn judge(settings: &Settings, topic: &Copies, min_insync: Option<usize>) -> Finding {
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
    let lower = format!(
        "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {name} \
         --add-config min.insync.replicas=2",
        settings.brokers
    );
    let (severity, found, remedy) = match min_insync {
        _ if topic.leaderless > 0 => (
            Severity::Error,
            format!("{state}; {} without a leader", topic.leaderless),
            "bring the brokers back that hold its partitions".to_owned(),
        ),
        Some(required) if required > topic.replication => (
            Severity::Error,
            format!("{state}: no write can ever be confirmed"),
            "lower min.insync.replicas or raise the replication".to_owned(),
        ),
        _ if topic.replication < 2 => (
            Severity::Warning,
            format!("{state}: what is confirmed is lost with its one broker"),
            "raise the replication to 3 with kafka-reassign-partitions.sh, and min.insync.replicas to 2".to_owned(),
        ),
        Some(1) => (
            Severity::Warning,
            format!("{state}: one copy is enough to confirm, and can be lost with its broker"),
            lower,
        ),
        _ => return good(state),
    };
    Finding {
        severity,
        found,
        remedy,
    }
}

fn good(found: String) -> Finding {
    Finding {
        severity: Severity::Good,
        found,
        remedy: String::new(),
    }
}

fn min_insync_replicas(
    settings: &Arc<Settings>,
    topics: &[&str],
) -> Result<BTreeMap<String, usize>, KafkaError> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let client: AdminClient<Quiet> = settings
        .admin()
        .create_with_context(Quiet(Arc::clone(settings)))?;
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
    use crate::name::SourceName;
    use crate::route::Template;

    fn severity(replication: usize, min_insync: Option<usize>) -> Severity {
        let topic = Copies {
            topic: "t".to_owned(),
            partitions: 6,
            replication,
            leaderless: 0,
        };
        judge(&Settings::new("b:9092"), &topic, min_insync).severity
    }

    #[test]
    fn one_copy_and_one_confirmation_are_warned_of() {
        assert_eq!(severity(3, Some(2)), Severity::Good);
        assert_eq!(severity(3, None), Severity::Good);
        assert_eq!(severity(3, Some(1)), Severity::Warning);
        assert_eq!(severity(1, Some(1)), Severity::Warning);
        assert_eq!(severity(1, Some(2)), Severity::Error);
    }

    #[test]
    fn needed_topics_are_those_that_can_be_foretold() {
        let source = SourceName::parse("onecodex").expect("a slug");
        let types = vec![EventType::parse("sample.uploaded").expect("a type")];
        let needs = Needs {
            sources: vec![(source, types)],
        };
        let mut settings = Settings::new("b:9092");
        let names = [
            "onecodex.other",
            "onecodex.quarantine",
            "onecodex.sample.uploaded",
        ];
        assert_eq!(topic_names(&settings, &needs), names);
        settings.topics.other = Template::parse("other.{event_type}").expect("a template");
        assert_eq!(topic_names(&settings, &needs), names[1..]);
    }
}
