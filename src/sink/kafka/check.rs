//! The cluster with an operator's eyes: does it answer, is every topic there, how many copies does
//! it keep, and how many must be written before it confirms.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::error::KafkaError;
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::producer::Producer;
use super::settings::{Settings, TopicShape};
use super::trouble::Trouble;
use super::verdict::{code_of, is_missing};
use super::watch::{Quiet, Record, Watch};
use crate::name::{EventType, SourceName};
use crate::sink::{Finding, Needs, Severity};

/// Longer than a connection may take, so that the client has told what is the matter with it.
const ANSWER_DEADLINE: Duration = Duration::from_secs(7);
/// The same for the brokers that lead something, all of them at once.
const LEADER_DEADLINE: Duration = ANSWER_DEADLINE;
/// A handshake to a broker that has just answered one.
const NAMELESS_DEADLINE: Duration = Duration::from_secs(3);
/// How long after a question without an answer the client may say why.
const COMPLAINT_DEADLINE: Duration = Duration::from_secs(1);

/// What a missing topic is best created with where the configuration does not say.
const ADVISED: TopicShape = TopicShape {
    partitions: 6,
    replication: 3,
    min_insync_replicas: 2,
};

/// The topics that the sources' events can go to, as far as the templates tell.
pub(super) fn topic_names(settings: &Settings, needs: &Needs) -> Vec<String> {
    let of = |(source, types): &(SourceName, Vec<EventType>)| settings.topic.names(source, types);
    let mut names: Vec<String> = needs.sources.iter().filter_map(of).flatten().collect();
    names.sort();
    names.dedup();
    names
}

/// Pairs of topics whose names differ only in `.` and `_`, of which Kafka has one at most: it makes
/// the names of its metrics alike.
#[must_use]
pub fn colliding_topics(settings: &Settings, needs: &Needs) -> Vec<(String, String)> {
    collisions(&topic_names(settings, needs))
}

fn collisions(topics: &[String]) -> Vec<(String, String)> {
    let mut first: HashMap<String, &String> = HashMap::new();
    let mut pairs = Vec::new();
    for topic in topics {
        match first.entry(topic.replace('.', "_")) {
            Entry::Vacant(free) => drop(free.insert(topic)),
            Entry::Occupied(taken) => pairs.push(((*taken.get()).clone(), topic.clone())),
        }
    }
    pairs
}

/// Tells the operator of names that Kafka takes for the same.
pub(super) fn warn_of_collisions(topics: &[String]) {
    for (one, other) in collisions(topics) {
        tracing::warn!(%one, %other, "the names of two topics differ only in \".\" and \"_\": Kafka creates one of them at most; change the template of one");
    }
}

/// That the cluster does not answer, and what the client says of it.
pub(super) fn unreachable(settings: &Settings, why: &str, trouble: Option<&Trouble>) -> Finding {
    let (why, remedy) = match trouble {
        Some(trouble) => (trouble.reason.as_str(), trouble.remedy()),
        None => (
            why,
            "check that `brokers` names reachable brokers with the right port, and that `tls` \
             and `sasl` are what that port expects",
        ),
    };
    Finding {
        severity: Severity::Error,
        found: format!("no answer from Kafka at {}: {why}", settings.brokers),
        remedy: remedy.to_owned(),
    }
}

/// A look at the cluster, by a client as the one that publishes.
pub(super) struct Examination {
    pub producer: Arc<Producer>,
    pub settings: Arc<Settings>,
    /// What the client complains of.
    pub record: Arc<Record>,
}

impl Examination {
    /// Looks at the cluster, at each needed topic, and at the brokers that lead them. Blocks until
    /// answered or out of time.
    pub(super) fn examine(&self, needs: &Needs) -> Vec<Finding> {
        let settings = &self.settings;
        let topics = topic_names(settings, needs);
        let mut findings = Vec::new();
        let (mut present, mut leaders) = (Vec::new(), Leaders::new());
        for topic in &topics {
            let metadata = match self.metadata(Some(topic)) {
                Ok(metadata) => metadata,
                Err(finding) => {
                    findings.push(finding);
                    return findings;
                }
            };
            if findings.is_empty() {
                findings.push(reachable(settings, &metadata));
            }
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            match found.map(|found| (found, found.error())) {
                Some((found, None)) => {
                    present.push(Copies::of(found));
                    note_leaders(&metadata, found, &mut leaders);
                }
                Some((_, Some(error))) => findings.push(absent(settings, topic, error.into())),
                None => findings.push(absent(settings, topic, Code::UnknownTopicOrPartition)),
            }
        }
        if topics.is_empty() {
            findings.push(match self.metadata(None) {
                Ok(metadata) => reachable(settings, &metadata),
                Err(finding) => finding,
            });
        }
        findings.extend(self.unreached(&leaders));
        findings.extend(self.stopped());
        findings.extend(durability(settings, &present));
        findings
    }

    fn metadata(&self, topic: Option<&str>) -> Result<Metadata, Finding> {
        let client = self.producer.client();
        client
            .fetch_metadata(topic, ANSWER_DEADLINE)
            .map_err(|error| {
                let trouble = self.complaint().map(|trouble| self.narrowed(trouble));
                unreachable(&self.settings, &error.to_string(), trouble.as_ref())
            })
    }

    /// What the client complains of, which may come a moment after it has no answer.
    fn complaint(&self) -> Option<Trouble> {
        let deadline = Instant::now() + COMPLAINT_DEADLINE;
        loop {
            let trouble = self.record.trouble();
            if trouble.is_some() || Instant::now() >= deadline {
                return trouble;
            }
            std::thread::sleep(COMPLAINT_DEADLINE / 50);
        }
    }

    /// Finds out what a certificate is not believed for, which the client does not tell.
    fn narrowed(&self, trouble: Trouble) -> Trouble {
        if !trouble.is_of_certificate() {
            return trouble;
        }
        let record = Arc::new(Record::default());
        let watch = Watch::new(Arc::clone(&self.settings), Arc::clone(&record));
        let Ok(client) = Producer::start(&self.settings.nameless(), watch, &self.settings) else {
            return trouble;
        };
        let is_answered = client
            .client()
            .fetch_metadata(None, NAMELESS_DEADLINE)
            .is_ok();
        match record.trouble() {
            Some(still) if still.is_of_certificate() => trouble.narrowed(false),
            // Without a login it may not be answered.
            Some(other) if is_answered || other.is_of_login() => trouble.narrowed(true),
            None if is_answered => trouble.narrowed(true),
            // It has not come that far, and says nothing.
            _ => trouble,
        }
    }

    /// The brokers that cannot be reached at the addresses that the cluster gives for them: nothing
    /// could be published to what they lead.
    fn unreached(&self, leaders: &Leaders) -> Vec<Finding> {
        let ask = |(id, leader): (&i32, &Leader)| {
            let client = self.producer.client();
            let asked = client.fetch_watermarks(&leader.topic, leader.partition, LEADER_DEADLINE);
            asked
                .err()
                .map(|error| self.unreached_leader(*id, leader, &error))
        };
        std::thread::scope(|scope| {
            let asked: Vec<_> = leaders
                .iter()
                .map(|leader| scope.spawn(move || ask(leader)))
                .collect();
            let findings = asked.into_iter().filter_map(|asked| asked.join().ok());
            findings.flatten().collect()
        })
    }

    fn unreached_leader(&self, id: i32, leader: &Leader, error: &KafkaError) -> Finding {
        let Leader {
            address,
            topic,
            partition,
        } = leader;
        let code = code_of(error);
        if code == Code::TopicAuthorizationFailed {
            return absent(&self.settings, topic, code);
        }
        let trouble = self.record.trouble();
        let trouble = trouble.filter(|trouble| trouble.reason.contains(address.as_str()));
        let (why, remedy) = match trouble.map(|trouble| self.narrowed(trouble)) {
            Some(trouble) => (trouble.reason.clone(), trouble.remedy().to_owned()),
            None => (
                error.to_string(),
                format!(
                    "have this machine reach {address}, or correct `advertised.listeners` of the broker"
                ),
            ),
        };
        Finding {
            severity: Severity::Error,
            found: format!(
                "broker {id}, which leads partition {partition} of topic {topic}, gives its address as {address}, and does not answer there: {why}"
            ),
            remedy,
        }
    }

    /// That the client has stopped for good, as for a missing right of idempotent producers.
    fn stopped(&self) -> Option<Finding> {
        let (code, why) = self.producer.client().fatal_error()?;
        let remedy = if code == Code::ClusterAuthorizationFailed {
            "grant the bridge's user IdempotentWrite on the cluster"
        } else {
            "look into the brokers' log"
        };
        Some(Finding {
            severity: Severity::Error,
            found: format!("the client cannot publish: {why}"),
            remedy: remedy.to_owned(),
        })
    }
}

/// Each broker that leads something, by its number, with one partition that it leads.
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
            remedy: match code {
                Code::TopicAuthorizationFailed => {
                    format!("grant the bridge's user Describe and Write on topic {topic}")
                }
                Code::InvalidTopic => "change the template: Kafka allows no such name".to_owned(),
                _ => "bring the brokers back that hold it, then check again".to_owned(),
            },
        },
    }
}

fn durability(settings: &Arc<Settings>, topics: &[Copies]) -> Vec<Finding> {
    let names: Vec<&str> = topics.iter().map(|topic| topic.topic.as_str()).collect();
    let mut findings = Vec::new();
    let min_insync = min_insync_replicas(settings, &names).unwrap_or_else(|error| {
        let code = code_of(&error);
        let remedy = match code {
            Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
                "grant the bridge's user DescribeConfigs on its topics to have it checked"
            }
            _ => "check again once the brokers answer",
        };
        findings.push(Finding {
            severity: Severity::Warning,
            found: format!("min.insync.replicas cannot be read: {code}"),
            remedy: remedy.to_owned(),
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
    fn names_that_kafka_takes_for_the_same_are_found() {
        let topics = ["a.b_c", "a.b.c", "a.b", "a_b", "other"].map(str::to_owned);
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        let expected = [pair("a.b_c", "a.b.c"), pair("a.b", "a_b")];
        assert_eq!(collisions(&topics), expected);
        assert_eq!(collisions(&topics[2..3]), []);
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
        settings.topic = Template::parse("{event_type}.{object_id}").expect("a template");
        assert_eq!(topic_names(&settings, &needs), [""; 0]);
    }
}
