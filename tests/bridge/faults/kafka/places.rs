//! What a healthy Kafka does not take: no such topic, no right to it, too large.

use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::KAFKA;
use crate::harness::way::{PASSWORD, USER, login, with_logins};
use crate::harness::{
    Bridge, Copies, Load, Node, Outlet, Report, Setup, Target, Verdict, Way, Wishes, event,
    kafka_brokers,
};

const DEADLINE: Duration = Duration::from_secs(20);

/// An administrator of a Kafka.
struct Administrator {
    client: AdminClient<DefaultClientContext>,
    options: AdminOptions,
    brokers: String,
}

impl Administrator {
    fn of(brokers: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        Self {
            client: config.create().expect("a client"),
            options: AdminOptions::new().operation_timeout(Some(DEADLINE)),
            brokers: brokers.to_owned(),
        }
    }

    async fn creates(&self, topic: &str, properties: &[(&str, &str)]) {
        let topic = NewTopic::new(topic, 3, TopicReplication::Fixed(1));
        let topic = properties
            .iter()
            .fold(topic, |topic, (name, value)| topic.set(name, value));
        let results = self.client.create_topics([&topic], &self.options).await;
        for result in results.expect("the broker answers") {
            result.expect("created");
        }
    }

    /// The topics that are there. Asking for all makes none.
    fn topics(&self) -> Vec<String> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        let asking: BaseConsumer = config.create().expect("a client");
        let metadata = asking
            .fetch_metadata(None, DEADLINE)
            .expect("the broker answers");
        metadata
            .topics()
            .iter()
            .map(|topic| topic.name().to_owned())
            .collect()
    }
}

/// Events of another type, whose topic is there, are not held up.
async fn others_go_on(bridge: &Bridge, source: &str) {
    let label = [("sink", "kafka"), ("event_type", "analysis.failed")];
    let before = bridge
        .metrics()
        .await
        .sum_or_zero("events_delivered_total", &label);
    for number in 0..20 {
        let body = event("analysis.failed", &format!("other{number}"));
        bridge.accepted(source, body).await;
    }
    bridge
        .counts("events_delivered_total", &label, before + 20.0)
        .await;
}

/// Events of one type have no place, those of another go on; then `mend` makes the place.
async fn wait_for_a_place(setup: &Setup, brokers: &str, mend: impl AsyncFnOnce(&str)) -> Verdict {
    let source = &setup.source;
    let topic = format!("{source}.sample.uploaded");
    let bridge = setup.start().await;
    let load = Load::start(&Target::new(bridge.ingress), source, 10, 10);
    bridge.shows("events_unroutable", &KAFKA, 10.0).await;
    others_go_on(&bridge, source).await;
    let unroutable = [("sink", "kafka"), ("result", "unroutable")];
    bridge
        .counts("publish_attempts_total", &unroutable, 20.0)
        .await;
    bridge.shows("sink_paused", &KAFKA, 0.0).await;
    mend(&topic).await;
    bridge.shows("events_unroutable", &KAFKA, 0.0).await;
    let journal = load.finish().await;
    let seen = Outlet::kafka(brokers)
        .has(&bridge, source, &journal.ids())
        .await;
    let seen: Vec<_> = seen
        .into_iter()
        .filter(|one| one.address == topic)
        .collect();
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::Once);
    bridge.drained().await;
    bridge.metrics().await.assert_balanced("kafka");
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn row_13_events_wait_for_a_topic_that_is_missing_and_nobody_makes_it() {
    let brokers = kafka_brokers();
    let administrator = Administrator::of(&brokers);
    let setup = Setup::store().and_kafka(&brokers, "");
    let there = format!("{}.analysis.failed", setup.source);
    administrator.creates(&there, &[]).await;
    let verdict = wait_for_a_place(&setup, &brokers, async |missing| {
        let topics = administrator.topics();
        assert!(topics.contains(&there), "{topics:?}");
        assert!(
            !topics.iter().any(|topic| topic == missing),
            "it was made by asking for it"
        );
        administrator.creates(missing, &[]).await;
    })
    .await;
    Report::row(13)
        .sink("kafka")
        .did("topic missing, and created at last")
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_13_events_wait_for_a_right_that_is_missing() {
    let way = Way::named("login");
    let mut wishes = way.opened(with_logins(Wishes::default(), way.name), "SASL_PLAINTEXT");
    wishes.properties.push_str("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nsuper.users=User:ANONYMOUS\n");
    let node = Node::kafka_with(&wishes).await;
    let setup = Setup::store();
    let password = setup.path("password");
    std::fs::write(&password, PASSWORD).expect("writable");
    let setup = setup.and_kafka(&way.address(), &login("SCRAM-SHA-256", &password));
    let administrator = Administrator::of(&node.brokers());
    for lane in ["analysis.failed", "sample.uploaded"] {
        let topic = format!("{}.{lane}", setup.source);
        administrator.creates(&topic, &[]).await;
    }
    grant(
        &node.brokers(),
        &format!("{}.analysis.failed", setup.source),
    );
    let verdict = wait_for_a_place(&setup, &node.brokers(), async |denied| {
        grant(&node.brokers(), denied);
    })
    .await;
    Report::row(13)
        .sink("kafka")
        .did("no right to a topic, and granted at last")
        .write(&verdict);
}

/// Lets the bridge's user write to a topic. The client in Rust has no such request; that of the
/// example consumers has.
fn grant(brokers: &str, topic: &str) {
    let script = "
import sys
from confluent_kafka.admin import *
acl = AclBinding(ResourceType.TOPIC, sys.argv[2], ResourcePatternType.LITERAL, 'User:' + sys.argv[3], '*', AclOperation.WRITE, AclPermissionType.ALLOW)
client = AdminClient({'bootstrap.servers': sys.argv[1]})
for outcome in client.create_acls([acl]).values():
    outcome.result()
";
    let python = std::env::var("HOOKFERRY_TEST_PYTHON").expect("run tests/run");
    let output = Command::new(python)
        .args(["-c", script, brokers, topic, USER])
        .output()
        .expect("python starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// The one event that does not fit is set aside, with its bytes; the others of its object go on.
#[tokio::test(flavor = "multi_thread")]
async fn row_14_what_is_too_large_for_the_topic_is_set_aside_alone() {
    let brokers = kafka_brokers();
    let setup = Setup::store().and_kafka(&brokers, "");
    let source = &setup.source;
    let administrator = Administrator::of(&brokers);
    let topic = format!("{source}.sample.uploaded");
    administrator
        .creates(&topic, &[("max.message.bytes", "4096")])
        .await;
    let bridge = setup.start().await;
    let load = Load::endless(&Target::new(bridge.ingress), source, 10);
    bridge.counts("events_delivered_total", &KAFKA, 100.0).await;
    let mut body = event("sample.uploaded", "object0").into_bytes();
    body.resize(8192, b' ');
    let large = bridge.accepted(source, body).await;
    let labels = [("sink", "kafka"), ("reason", "too_large")];
    bridge
        .shows("events_dead_lettered_total", &labels, 1.0)
        .await;
    load.reaches(load.answered() + 100).await;
    let journal = load.stop().await;
    let seen = Outlet::kafka(&brokers)
        .has(&bridge, source, &journal.ids())
        .await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::Once);
    assert!(seen.iter().all(|one| one.id != large));
    assert!(bridge.ask("/dead-letters").await.text().contains(&large));
    bridge.drained().await;
    bridge.metrics().await.assert_balanced("kafka");
    bridge.shows("spool_dead_letters", &[], 1.0).await;
    Report::row(14)
        .sink("kafka")
        .did("a topic with a limit of 4 KiB: the one larger event is a dead letter")
        .write(&verdict);
}
