//! What a broker can do wrong, or be asked wrongly: real faults on a real broker.

use super::*;

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
    let mut settings = KafkaSettings::new(&address.to_string());
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
    let kafka = Arc::new(kafka(KafkaSettings::new("127.0.0.1:1"), &source));
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
async fn missing_topics_are_created_where_that_is_asked_for() {
    let source = unique_source();
    let mut settings = KafkaSettings::new(&brokers());
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
    let mut settings = KafkaSettings::new(&brokers());
    settings.topic = hookferry::route::Template::parse("..").expect("a template");
    let kafka = kafka(settings, &source);
    // Until the broker has said what is wrong with it, it may seem to be only missing.
    eventually(Duration::from_secs(20), "no topic is called ..", || async {
        let outcome = kafka.publish(&message(&source, "o", 0, 0)).await;
        let reason = RefusalReason::InvalidAddress;
        matches!(outcome, Err(PublishError::Refused { reason: told, .. }) if told == reason)
    })
    .await;
}
