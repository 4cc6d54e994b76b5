//! The Kafka sink against a real Apache Kafka; librdkafka's mock cluster only where an error has to
//! be injected that a healthy broker does not give.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use hookferry::event::{Event, Position, SinkIndex, SinkSet};
use hookferry::name::{EventType, SourceName};
use hookferry::route::{Route, Router};
use hookferry::sink::kafka::{FollowError, Kafka, Settings, TopicShape, follow};
use hookferry::sink::{Finding, Message, Needs, PublishError, RefusalReason, Seen, Severity, Sink};
use hookferry::source::{Inbound, ONE_CODEX, Secret, Source};
use jiff::Timestamp;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
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
    let text = "whsec_kafka_sink";
    let source = Source {
        name: name.clone(),
        provider: &ONE_CODEX,
        uri: ONE_CODEX.uri.into(),
        secrets: vec![Secret::new(text).expect("not empty")],
        tolerance: Duration::from_secs(300),
    };
    let now = Timestamp::now();
    let header = ONE_CODEX
        .scheme
        .sign(&Secret::new(text).expect("not empty"), &body, now);
    let claim = source
        .read_signature([header.as_bytes()].into_iter())
        .expect("well-formed");
    let inbound = Inbound {
        body,
        content_type: Some("application/json; charset=utf-8".to_owned()),
        traceparent: None,
    };
    let event = Event::read(claim.verify(inbound, now).expect("our own signature"));
    let sinks = SinkSet::default().with(SinkIndex::new(0).expect("in range"));
    let route = Route {
        source: name.clone(),
        event_types: None,
        sinks,
    };
    let types = HashSet::from([EventType::parse(UPLOADED).expect("a type")]);
    let routed = Router::new(vec![route], HashMap::from([(name.clone(), types)])).route(event);
    let position = Position { sequence: 7, sinks };
    let lane = routed.lane();
    Message::new(position, lane, Arc::new(routed.into_event()))
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

fn kafka(settings: Settings, source: &SourceName) -> Kafka {
    Kafka::new(settings, &needs(source)).expect("the settings are good")
}

/// A sink, and a fresh topic for it.
async fn kafka_with_topic(partitions: i32, options: &[(&str, &str)]) -> (Kafka, SourceName) {
    let source = unique_source();
    create_topic(&topic(&source), partitions, options).await;
    (kafka(Settings::new(&brokers()), &source), source)
}

/// The first `count` messages of a topic.
async fn read(topic: &str, count: usize) -> Vec<Seen> {
    let (sender, mut seen) = mpsc::channel(16);
    let settings = Settings::new(&brokers());
    let topic = topic.to_owned();
    let following = tokio::spawn(async move { follow(&settings, &topic, true, sender).await });
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
fn number(seen: &Seen) -> u64 {
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
    assert_eq!(receipt.position().sequence, 7);

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
    let kafka = kafka(Settings::new(&brokers()), &source);
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

/// Sends every connection on to the broker while it is open; the advertised address is the broker's
/// own, so this stands for a first contact that fails.
async fn forward(listener: tokio::net::TcpListener, to: String) {
    while let Ok((mut near, _)) = listener.accept().await {
        let to = to.clone();
        tokio::spawn(async move {
            let mut far = tokio::net::TcpStream::connect(&to)
                .await
                .expect("the broker is there");
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_unavailable_until_it_is_there() {
    let source = unique_source();
    create_topic(&topic(&source), 1, &[]).await;
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = reserved.local_addr().expect("bound");
    drop(reserved);
    let mut settings = Settings::new(&address.to_string());
    settings.publish_timeout = Duration::from_secs(2);
    let kafka = kafka(settings, &source);

    let began = Instant::now();
    let error = kafka
        .publish(&message(&source, "o", 0, 0))
        .await
        .expect_err("nobody is there");
    assert!(
        matches!(&error, PublishError::Unavailable(text) if text.contains("refused")),
        "{error:?}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(!kafka.health().connected);
    let findings = kafka.check(&needs(&source)).await;
    assert!(
        findings
            .iter()
            .any(|f| f.severity == Severity::Error && !f.remedy.is_empty()),
        "{findings:?}"
    );

    let listener = tokio::net::TcpListener::bind(address)
        .await
        .expect("still free");
    tokio::spawn(forward(listener, brokers()));
    eventually(Duration::from_secs(15), "the publish works", || async {
        kafka.publish(&message(&source, "o", 1, 0)).await.is_ok()
    })
    .await;
    eventually(Duration::from_secs(5), "the health shows it", || async {
        kafka.health().connected
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_is_bounded_and_ends_what_is_outstanding() {
    let source = unique_source();
    let kafka = Arc::new(kafka(Settings::new("127.0.0.1:1"), &source));
    let outstanding = {
        let (kafka, message) = (Arc::clone(&kafka), message(&source, "o", 0, 0));
        tokio::spawn(async move { kafka.publish(&message).await })
    };
    tokio::task::yield_now().await;
    let began = Instant::now();
    kafka.close(Duration::from_secs(1)).await;
    let outcome = outstanding.await.expect("no panic");
    assert!(
        matches!(outcome, Err(PublishError::Unavailable(_))),
        "{outcome:?}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    let after = kafka.publish(&message(&source, "o", 1, 0)).await;
    assert!(
        matches!(after, Err(PublishError::Unavailable(_))),
        "{after:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_unroutable_and_disturbs_nobody() {
    let (kafka, present) = kafka_with_topic(1, &[]).await;
    let absent = unique_source();
    kafka
        .publish(&message(&present, "o", 0, 0))
        .await
        .expect("confirmed");

    let began = Instant::now();
    let (missing, other) = (message(&absent, "o", 0, 0), message(&present, "o", 1, 0));
    let (missing, other) = tokio::join!(kafka.publish(&missing), async {
        let outcome = kafka.publish(&other).await;
        (outcome, began.elapsed())
    });
    assert!(
        matches!(missing, Err(PublishError::Unroutable(_))),
        "{missing:?}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    other.0.expect("confirmed");
    assert!(other.1 < Duration::from_secs(1), "{:?}", other.1);

    create_topic(&topic(&absent), 1, &[]).await;
    eventually(Duration::from_secs(10), "the topic is found", || async {
        kafka.publish(&message(&absent, "o", 0, 0)).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_topics_are_created_where_that_is_asked_for() {
    let source = unique_source();
    let mut settings = Settings::new(&brokers());
    settings.create_topics = Some(TopicShape {
        partitions: 5,
        replication: 1,
        min_insync_replicas: 1,
    });
    let kafka = kafka(settings, &source);
    let found = |findings: &[Finding], topic: &str| {
        let state = format!("topic {topic}: 5 partitions, 1 copy, min.insync.replicas 1");
        findings
            .iter()
            .any(|finding| finding.found.starts_with(&state))
    };
    for topic in [
        topic(&source),
        format!("{source}.other"),
        format!("{source}.quarantine"),
    ] {
        eventually(Duration::from_secs(20), &topic, || async {
            found(&kafka.check(&needs(&source)).await, &topic)
        })
        .await;
    }
    let later = unique_source();
    eventually(
        Duration::from_secs(20),
        "a topic nobody foretold",
        || async { kafka.publish(&message(&later, "o", 0, 0)).await.is_ok() },
    )
    .await;
    assert!(found(&kafka.check(&needs(&later)).await, &topic(&later)));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_message_that_is_too_large_is_refused() {
    let (kafka, source) = kafka_with_topic(1, &[("max.message.bytes", "20000")]).await;
    let messages: Vec<Message> = (0..60)
        .map(|n| {
            message(
                &source,
                &format!("object{n}"),
                n,
                if n == 30 { 40_000 } else { 1_000 },
            )
        })
        .collect();
    let outcomes = join_all(messages.iter().map(|message| kafka.publish(message))).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(_) => assert_ne!(n, 30),
            Err(PublishError::Refused { reason, .. }) => {
                assert_eq!((n, reason), (30, RefusalReason::TooLarge));
            }
            Err(error) => panic!("message {n}: {error:?}"),
        }
    }
    let mut numbers: Vec<u64> = read(&topic(&source), 59).await.iter().map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..60).filter(|n| *n != 30).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_kafka_forbids_is_refused() {
    let source = unique_source();
    let mut settings = Settings::new(&brokers());
    settings.topics.typed = hookferry::route::Template::parse("..").expect("a template");
    let kafka = kafka(settings, &source);
    let error = kafka
        .publish(&message(&source, "o", 0, 0))
        .await
        .expect_err("no topic is called ..");
    assert!(
        matches!(
            error,
            PublishError::Refused {
                reason: RefusalReason::InvalidAddress,
                ..
            }
        ),
        "{error:?}"
    );
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
    let (settings, name) = (Settings::new(&brokers()), topic(&source));
    let following = tokio::spawn(async move { follow(&settings, &name, false, sender).await });
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
    let missing = follow(&Settings::new(&brokers()), "no.such.topic", true, sender).await;
    assert_eq!(
        missing,
        Err(FollowError::Missing("no.such.topic".to_owned()))
    );
}

/// A mock cluster with one topic for `source`, and a sink on it.
fn mock(source: &SourceName) -> (MockCluster<'static, DefaultProducerContext>, Kafka) {
    let cluster = MockCluster::new(3).expect("a mock cluster");
    cluster.create_topic(&topic(source), 2, 3).expect("created");
    let mut settings = Settings::new(&cluster.bootstrap_servers());
    settings.publish_timeout = Duration::from_secs(3);
    let kafka = kafka(settings, source);
    (cluster, kafka)
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_replicas_are_waited_for_and_then_unavailable() {
    let source = unique_source();
    let (cluster, kafka) = mock(&source);
    let too_few = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    cluster.request_errors(RDKafkaApiKey::Produce, &[too_few; 2]);
    kafka
        .publish(&message(&source, "o", 0, 0))
        .await
        .expect("the client's own retries pass it");

    cluster.request_errors(RDKafkaApiKey::Produce, &[too_few; 1000]);
    let began = Instant::now();
    let error = kafka
        .publish(&message(&source, "o", 1, 0))
        .await
        .expect_err("never enough");
    assert!(matches!(error, PublishError::Unavailable(_)), "{error:?}");
    assert!(
        began.elapsed() < Duration::from_secs(7),
        "{:?}",
        began.elapsed()
    );
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    eventually(Duration::from_secs(10), "it recovers", || async {
        kafka.publish(&message(&source, "o", 1, 0)).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_change_loses_nothing() {
    let source = unique_source();
    let (cluster, kafka) = mock(&source);
    for n in 0..20 {
        for partition in 0..2 {
            let leader = i32::try_from(n % 3).expect("few") + 1;
            cluster
                .partition_leader(&topic(&source), partition, Some(leader))
                .expect("moved");
        }
        kafka
            .publish(&message(&source, &format!("o{n}"), n, 0))
            .await
            .expect("confirmed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_the_right_to_write_is_unroutable_until_granted() {
    let source = unique_source();
    let (cluster, kafka) = mock(&source);
    kafka
        .publish(&message(&source, "o", 0, 0))
        .await
        .expect("confirmed");
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED],
    );
    let error = kafka
        .publish(&message(&source, "o", 1, 0))
        .await
        .expect_err("no right");
    assert!(matches!(error, PublishError::Unroutable(_)), "{error:?}");
    eventually(Duration::from_secs(10), "the right is noticed", || async {
        kafka.publish(&message(&source, "o", 1, 0)).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stopped_for_good_is_replaced() {
    let source = unique_source();
    let (cluster, kafka) = mock(&source);
    kafka
        .publish(&message(&source, "o", 0, 0))
        .await
        .expect("confirmed");
    // Nothing is outstanding before this one, so a gap in the sequence cannot be explained: fatal.
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER],
    );
    let error = kafka
        .publish(&message(&source, "o", 1, 0))
        .await
        .expect_err("fatal");
    assert!(matches!(error, PublishError::Unavailable(_)), "{error:?}");
    let before = kafka.health().reconnects;
    eventually(
        Duration::from_secs(10),
        "a new client publishes",
        || async { kafka.publish(&message(&source, "o", 1, 0)).await.is_ok() },
    )
    .await;
    eventually(
        Duration::from_secs(5),
        "it counts as a reconnect",
        || async { kafka.health().reconnects > before },
    )
    .await;
}
