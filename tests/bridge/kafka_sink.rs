//! The Kafka sink against a real Apache Kafka; librdkafka's mock cluster only where an error has to
//! be injected that a healthy broker does not give.

mod faults;
mod injected;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::message::Sender;
use bytes::Bytes;
use futures_util::future::join_all;
use hookferry::name::{EventType, SourceName};
use hookferry::sink::kafka::{Kafka, KafkaSettings, KafkaTailError, TopicShape, tail};
use hookferry::sink::{
    Finding, FollowedMessage, Message, Needs, PublishError, RefusalReason, Severity, Sink,
};
use jiff::Timestamp;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tokio::sync::mpsc;

const UPLOADED: &str = "sample.uploaded";

fn brokers() -> String {
    std::env::var("HOOKFERRY_TEST_KAFKA_BROKERS").expect(
        "the Kafka tests need a broker: run tests/run, or set HOOKFERRY_TEST_KAFKA_BROKERS to host:port",
    )
}

/// A source that no other test and no other run has, so that its topics are fresh.
fn unique_source() -> SourceName {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanos = Timestamp::now().as_nanosecond();
    let name = format!("k{nanos:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    SourceName::parse(&name).expect("a slug")
}

fn topic(source: &SourceName) -> String {
    format!("{source}.{UPLOADED}")
}

fn needs(source: &SourceName) -> Needs {
    Needs {
        sources: vec![(
            source.clone(),
            vec![EventType::parse(UPLOADED).expect("a type")],
        )],
    }
}

/// A message with this object, number and filler, made as the bridge makes it.
fn message(source: &SourceName, object: &str, number: u64, filler: usize) -> Message {
    let body = format!(
        r#"{{"api_version":"v1","event_type":"{UPLOADED}","object_type":"sample","triggered_at":"2026-03-02T09:15:42.{number:06}Z","object":{{"$uri":"/api/v1/samples/{object}","n":{number},"x":"{}"}}}}"#,
        "x".repeat(filler)
    );
    message_of(source, body.into())
}

fn message_of(name: &SourceName, body: Bytes) -> Message {
    let content_type = Some("application/json; charset=utf-8");
    Sender::new(name.as_str()).saying(content_type).body(body)
}

fn admin() -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers());
    config.create().expect("an admin client")
}

async fn create_topic(name: &str, partitions: i32, options: &[(&str, &str)]) {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let topic = options
        .iter()
        .fold(topic, |topic, (key, value)| topic.set(key, value));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    let results = admin()
        .create_topics([&topic], &options)
        .await
        .expect("the broker answers");
    results
        .into_iter()
        .for_each(|result| drop(result.expect("the topic is created")));
}

fn kafka(settings: KafkaSettings, source: &SourceName) -> Kafka {
    Kafka::new(settings, &needs(source)).expect("the settings are good")
}

/// A sink, and a fresh topic for it.
async fn kafka_with_topic(partitions: i32, options: &[(&str, &str)]) -> (Kafka, SourceName) {
    let source = unique_source();
    create_topic(&topic(&source), partitions, options).await;
    (kafka(KafkaSettings::new(&brokers()), &source), source)
}

/// The first `count` messages of a topic.
async fn read(topic: &str, count: usize) -> Vec<FollowedMessage> {
    read_at(&brokers(), topic, count).await
}

async fn read_at(brokers: &str, topic: &str, count: usize) -> Vec<FollowedMessage> {
    let (sender, mut seen) = mpsc::channel(16);
    let settings = KafkaSettings::new(brokers);
    let topic = topic.to_owned();
    let following = tokio::spawn(async move { tail(&settings, &topic, true, sender).await });
    let mut messages = Vec::with_capacity(count);
    while messages.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(20), seen.recv()).await;
        let got = messages.len();
        let next = next.unwrap_or_else(|_| panic!("{got} of {count} messages arrived"));
        messages.push(next.expect("the follower goes on"));
    }
    drop(seen);
    let ended = tokio::time::timeout(Duration::from_secs(10), following).await;
    ended
        .expect("the follower ends")
        .expect("no panic")
        .expect("no error");
    messages
}

/// Polls until the condition holds; the only way these tests wait.
async fn eventually<F, Fut>(within: Duration, what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The number in a body that [`message`] made.
fn number(seen: &FollowedMessage) -> u64 {
    let body: serde_json::Value = serde_json::from_slice(&seen.body).expect("JSON");
    body["object"]["n"].as_u64().expect("a number")
}

/// murmur2 as Apache Kafka's `Utils.murmur2` has it, seed 0x9747b28c.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ u32::try_from(data.len()).expect("short");
    let mut words = data.chunks_exact(4);
    for word in words.by_ref() {
        let mut k = u32::from_le_bytes(word.try_into().expect("four bytes"));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * index);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[test]
fn the_reference_partitioner_agrees_with_kafkas_own_test_vectors() {
    // From Apache Kafka's UtilsTest.testMurmur2.
    for (text, hash) in [
        ("21", -973_932_308_i32),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
    ] {
        assert_eq!(murmur2(text.as_bytes()), hash.cast_unsigned(), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_confirmed_is_there_unchanged() {
    let (kafka, source) = kafka_with_topic(3, &[]).await;
    let message = message(&source, "7428cca4a3a04a8e", 1, 10);
    let receipt = kafka.publish(&message).await.expect("confirmed");
    assert_eq!(receipt.position(), message.position());

    let seen = read(&topic(&source), 1).await.remove(0);
    assert_eq!(seen.body, message.body());
    assert_eq!(seen.key.as_deref(), Some("7428cca4a3a04a8e"));
    let mut expected: Vec<(String, String)> = message
        .cloud_event()
        .iter()
        .map(|(name, value)| (format!("ce_{name}"), value.to_string()))
        .collect();
    expected.push((
        "content-type".to_owned(),
        "application/json; charset=utf-8".to_owned(),
    ));
    let extensions = message.extensions();
    expected.extend(
        extensions
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_string())),
    );
    assert_eq!(seen.headers, expected);
    assert_eq!(
        seen.headers[1],
        ("ce_id".to_owned(), message.id().to_string())
    );
    kafka.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_body_is_no_tombstone() {
    let source = unique_source();
    let quarantine = format!("{source}.quarantine");
    create_topic(&quarantine, 1, &[]).await;
    let kafka = kafka(KafkaSettings::new(&brokers()), &source);
    kafka
        .publish(&message_of(&source, Bytes::new()))
        .await
        .expect("confirmed");

    use rdkafka::Message as _;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers())
        .set("group.id", "test");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&quarantine, 0, Offset::Beginning)
        .expect("assignable");
    consumer.assign(&list).expect("assigned");
    let record = consumer
        .poll(Duration::from_secs(20))
        .expect("a record")
        .expect("no error");
    assert_eq!(
        record.payload(),
        Some(&[][..]),
        "a null value would be a tombstone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_to_the_partition_that_java_clients_choose() {
    let partitions = 6;
    let (kafka, source) = kafka_with_topic(partitions, &[]).await;
    let keys: Vec<String> = (0..40)
        .map(|n| format!("{:016x}", n * 0x9e37_79b9_u64))
        .collect();
    let publishes = keys
        .iter()
        .map(|key| async { kafka.publish(&message(&source, key, 1, 0)).await });
    for outcome in join_all(publishes).await {
        outcome.expect("confirmed");
    }
    let mut used = HashSet::new();
    for seen in read(&topic(&source), keys.len()).await {
        let key = seen.key.expect("a key");
        let expected =
            (murmur2(key.as_bytes()) & 0x7fff_ffff) % u32::try_from(partitions).expect("few");
        let position = seen.position.expect("a position");
        assert_eq!(
            position.split(':').next(),
            Some(expected.to_string().as_str()),
            "{key}"
        );
        used.insert(expected);
    }
    assert!(used.len() > 2, "the keys are spread: {used:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_at_once_are_confirmed_in_order_per_key() {
    let (kafka, source) = kafka_with_topic(6, &[]).await;
    let (keys, each) = (200, 10);
    let publishes = (0..keys).map(|key| {
        let (kafka, source) = (&kafka, &source);
        async move {
            for n in 0..each {
                let message = message(source, &format!("object{key}"), n, 100);
                kafka.publish(&message).await.expect("confirmed");
            }
        }
    });
    join_all(publishes).await;
    let mut next: HashMap<String, u64> = HashMap::new();
    for seen in read(&topic(&source), keys * usize::try_from(each).expect("few")).await {
        let expected = next.entry(seen.key.clone().expect("a key")).or_default();
        assert_eq!(number(&seen), *expected, "{:?}", seen.key);
        *expected += 1;
    }
    assert!(next.len() == keys && next.values().all(|count| *count == each));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_warns_of_one_copy_and_names_what_is_missing() {
    let (kafka, source) = kafka_with_topic(2, &[]).await;
    let findings = kafka.check(&needs(&source)).await;
    let about = |topic: &str| {
        let mut about = findings
            .iter()
            .filter(|finding| finding.found.contains(topic));
        about
            .next()
            .unwrap_or_else(|| panic!("nothing about {topic}: {findings:?}"))
    };
    assert_eq!(findings[0].severity, Severity::Good);
    let copies = about(&topic(&source));
    assert_eq!(copies.severity, Severity::Warning, "{copies:?}");
    assert!(copies.found.contains("2 partitions, 1 copy"), "{copies:?}");
    let missing = about(&format!("{source}.other"));
    assert_eq!(missing.severity, Severity::Error);
    assert!(
        missing
            .remedy
            .contains("kafka-topics.sh --bootstrap-server"),
        "{missing:?}"
    );
    let again = kafka.check(&needs(&source)).await;
    assert!(
        again
            .iter()
            .any(|finding| finding.found.contains(".other is missing")),
        "asking made it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn following_sees_the_start_or_only_what_comes() {
    let (kafka, source) = kafka_with_topic(2, &[]).await;
    kafka
        .publish(&message(&source, "before", 0, 0))
        .await
        .expect("confirmed");
    assert_eq!(
        read(&topic(&source), 1).await[0].key.as_deref(),
        Some("before")
    );

    let (sender, mut seen) = mpsc::channel(16);
    let (settings, name) = (KafkaSettings::new(&brokers()), topic(&source));
    let following = tokio::spawn(async move { tail(&settings, &name, false, sender).await });
    // When the follower begins is not told: what is published before that is not for it.
    let first = loop {
        kafka
            .publish(&message(&source, "after", 1, 0))
            .await
            .expect("confirmed");
        if let Ok(first) = tokio::time::timeout(Duration::from_millis(200), seen.recv()).await {
            break first.expect("the follower goes on");
        }
    };
    assert_eq!(first.key.as_deref(), Some("after"));
    drop(seen);
    following.await.expect("no panic").expect("no error");

    let (sender, _seen) = mpsc::channel(1);
    let missing = tail(
        &KafkaSettings::new(&brokers()),
        "no.such.topic",
        true,
        sender,
    )
    .await;
    assert_eq!(
        missing,
        Err(KafkaTailError::Missing("no.such.topic".to_owned()))
    );
}
