use super::*;
use crate::config::certificate::tests::{
    CLIENT, CLIENT_KEY, ENCRYPTED_KEY, OTHER_KEY, PASSWORD, UNTIL_2027, written,
};

fn read(toml: &str) -> (Option<KafkaSettings>, ConfigProblems) {
    let mut problems = ConfigProblems::default();
    let file: KafkaFile = toml::from_str(toml).expect("it has the section's shape");
    let settings = file.settings("sink.kafka", &mut problems);
    (settings, problems)
}

fn paths(toml: &str) -> Vec<String> {
    let (settings, problems) = read(toml);
    assert!(settings.is_none() && !problems.is_empty(), "{toml}");
    for problem in problems.iter() {
        assert!(
            !problem.found.is_empty() && !problem.remedy.is_empty(),
            "{problem}"
        );
    }
    problems
        .iter()
        .map(|problem| problem.path.clone())
        .collect()
}

#[test]
fn brokers_are_enough() {
    let (settings, problems) = read("brokers = 'a:9092, b:9093'");
    assert!(problems.is_empty(), "{problems}");
    let settings = settings.expect("no problems");
    assert_eq!(settings.publish_timeout, Duration::from_secs(10));
    assert_eq!(settings.topic.to_string(), "{source}.{event_type}");
    assert_eq!(settings.create_topics, None);
}

#[test]
fn every_key_reaches_the_settings() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "hunter2\n").expect("writable");
    let path = file.path().display();
    let authorities = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(authorities.path(), UNTIL_2027).expect("written");
    let ca = authorities.path().display();
    let (settings, problems) = read(&format!(
        r#"
        brokers = "[::1]:9092"
        topic = "t.{{event_type}}"
        compression = "zstd"
        linger = "20ms"
        publish_timeout = "30s"
        create_topics = {{ partitions = 12, replication = 1 }}
        sasl = {{ mechanism = "SCRAM-SHA-512", username = "me", password = {{ file = "{path}" }} }}
        tls = {{ ca_file = "{ca}" }}
        properties = {{ "batch.size" = "65537" }}
        "#
    ));
    assert!(problems.is_empty(), "{problems}");
    let settings = settings.expect("no problems");
    let files = settings.tls.as_ref().expect("given").certificates();
    let expiries: Vec<_> = files
        .map(|file| (file.key, file.expiry.as_second()))
        .collect();
    assert_eq!(expiries, [("ca_file", 1_827_104_313)]);
    assert_eq!(settings.topic.to_string(), "t.{event_type}");
    assert_eq!(settings.compression, Compression::Zstd);
    assert_eq!(settings.linger, Duration::from_millis(20));
    assert_eq!(settings.publish_timeout, Duration::from_secs(30));
    let shape = settings.create_topics.expect("given");
    assert_eq!(
        (
            shape.partitions,
            shape.replication,
            shape.min_insync_replicas
        ),
        (12, 1, 1)
    );
    let Some(SaslCredentials::Password { password, .. }) = &settings.sasl else {
        panic!("{:?}", settings.sasl);
    };
    assert_eq!(password.0, "hunter2");
    let printed = format!("{settings:?}");
    assert!(printed.contains("batch.size"), "{printed}");
    assert!(
        !printed.contains("hunter2") && !printed.contains("65537"),
        "{printed}"
    );
}

#[test]
fn every_problem_has_its_key_path() {
    let wrong = [
        ("", "brokers"),
        ("brokers = ''", "brokers"),
        ("brokers = 'kafka'", "brokers"),
        ("brokers = 'a:9092,b'", "brokers"),
        ("brokers = 'a:0'", "brokers"),
        ("brokers = 'a:1'\ntopic = '{type}'", "topic"),
        ("brokers = 'a:1'\ntopic = ''", "topic"),
        ("brokers = 'a:1'\ntopic = 'a b'", "topic"),
        ("brokers = 'a:1'\ncompression = 'lzma'", "compression"),
        ("brokers = 'a:1'\nlinger = '2s'", "linger"),
        (
            "brokers = 'a:1'\npublish_timeout = '10ms'\nlinger = '0s'",
            "publish_timeout",
        ),
        ("brokers = 'a:1'\npublish_timeout = '1h'", "publish_timeout"),
        (
            "brokers = 'a:1'\npublish_timeout = '1s'\nlinger = '1s'",
            "publish_timeout",
        ),
        (
            "brokers = 'a:1'\ncreate_topics = { partitions = 0 }",
            "create_topics.partitions",
        ),
        (
            "brokers = 'a:1'\ncreate_topics = { replication = 2, min_insync_replicas = 3 }",
            "create_topics.min_insync_replicas",
        ),
        ("brokers = 'a:1'\nsasl = {}", "sasl.mechanism"),
        (
            "brokers = 'a:1'\nsasl = { mechanism = 'GSSAPI' }",
            "sasl.mechanism",
        ),
        (
            "brokers = 'a:1'\nsasl = { mechanism = 'PLAIN', username = 'me' }",
            "sasl.password",
        ),
        (
            "brokers = 'a:1'\nsasl = { mechanism = 'PLAIN', username = 'me', password = { file = '/no/such' } }",
            "sasl.password",
        ),
        (
            "brokers = 'a:1'\nsasl = { mechanism = 'OAUTHBEARER' }",
            "sasl.token",
        ),
        (
            "brokers = 'a:1'\ntls = { ca_file = '/no/such' }",
            "tls.ca_file",
        ),
        (
            "brokers = 'a:1'\ntls = { client_key_password = {} }",
            "tls.client_key_password",
        ),
    ];
    for (toml, key) in wrong {
        assert_eq!(paths(toml), [format!("sink.kafka.{key}")], "{toml}");
    }
}

#[test]
fn properties_that_undo_a_key_or_contradict_the_promise_are_refused() {
    let wrong = [
        (
            "brokers = 'a:1'\nproperties = { 'acks' = '1' }",
            "properties.\"acks\"",
        ),
        (
            "brokers = 'a:1'\nproperties = { 'enable.idempotence' = 'false' }",
            "properties.\"enable.idempotence\"",
        ),
        (
            "brokers = 'a:1'\nproperties = { 'allow.auto.create.topics' = 'true' }",
            "properties.\"allow.auto.create.topics\"",
        ),
        (
            "brokers = 'a:1'\nproperties = { 'no.such' = '1' }",
            "properties.\"no.such\"",
        ),
        (
            "brokers = 'a:1'\ntls = {}\nproperties = { 'security.protocol' = 'plaintext' }",
            "properties.\"security.protocol\"",
        ),
        (
            "brokers = 'a:1'\nproperties = { 'max.in.flight' = '10' }",
            "properties.\"max.in.flight\"",
        ),
        (
            "brokers = 'a:1'\nproperties = { 'max.in.flight.requests.per.connection' = '6' }",
            "properties.\"max.in.flight.requests.per.connection\"",
        ),
        (
            "brokers = 'a:1'\nproperties = { 'retries' = '0' }",
            "properties.\"retries\"",
        ),
        (
            "brokers = 'a:1'\nproperties = { 'linger.ms' = '60000' }",
            "properties.\"linger.ms\"",
        ),
    ];
    for (toml, key) in wrong {
        assert_eq!(paths(toml), [format!("sink.kafka.{key}")], "{toml}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let toml = "compression = 'x'\ntopic = '{x}'\nsasl = { mechanism = 'PLAIN' }\nproperties = { acks = '0' }";
    let expected = [
        "brokers",
        "topic",
        "compression",
        "sasl.username",
        "sasl.password",
        "properties.\"acks\"",
    ];
    assert_eq!(paths(toml), expected.map(|key| format!("sink.kafka.{key}")));
}

#[test]
fn unknown_keys_are_refused() {
    let error = toml::from_str::<KafkaFile>("broker = 'a:1'").expect_err("no such key");
    assert!(error.to_string().contains("broker"), "{error}");
}

/// A sink that shows this certificate with a key, and a password where it has one.
fn identity(key: &str, password: Option<&str>) -> Result<BrokerTls, Vec<String>> {
    let (certificate, key) = (written(CLIENT), written(key));
    let secret = written(password.unwrap_or_default());
    let password = match password {
        Some(_) => format!(", client_key_password = {{ file = {:?} }}", secret.path()),
        None => String::new(),
    };
    let (settings, problems) = read(&format!(
        "brokers = 'a:1'\ntls = {{ client_certificate_file = {:?}, client_key_file = {:?}{password} }}",
        certificate.path(),
        key.path()
    ));
    match settings {
        Some(settings) => Ok(settings.tls.expect("given")),
        None => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn a_client_key_that_does_not_fit_is_told_before_it_is_used() {
    let good = identity(CLIENT_KEY, None).expect("a pair");
    assert_eq!(good.certificates().count(), 1);
    assert!(!format!("{good:?}").contains("PRIVATE"), "{good:?}");
    identity(ENCRYPTED_KEY, Some(PASSWORD)).expect("the right password");
    let broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (key, password, at) in [
        (OTHER_KEY, None, "client_key_file"),
        (broken, None, "client_key_file"),
        (ENCRYPTED_KEY, None, "client_key_password"),
        (ENCRYPTED_KEY, Some("guessed"), "client_key_file"),
    ] {
        let problems = identity(key, password).expect_err("of no use");
        assert_eq!(problems.len(), 1, "{problems:?}");
        let path = format!("sink.kafka.tls.{at}: ");
        assert!(problems[0].starts_with(&path), "{problems:?}");
        assert!(!problems[0].contains("guessed"), "{problems:?}");
    }
}

#[test]
fn credentials_may_differ_and_all_else_may_not() {
    let (one, two) = (written("one"), written("two"));
    let keys = |file: &tempfile::NamedTempFile, more: &str| {
        let text = format!(
            "brokers = 'a:1'\nsasl = {{ mechanism = 'PLAIN', username = 'me', password = {{ file = {:?} }} }}\n{more}",
            file.path()
        );
        read(&text).0.expect("no problems")
    };
    let first = keys(&one, "");
    assert_eq!(first, keys(&one, ""));
    let other = keys(&two, "");
    assert!(first != other && first.is_same_but_for_credentials(&other));
    for more in ["topic = 'x'", "linger = '1ms'", "tls = {}"] {
        assert!(
            !first.is_same_but_for_credentials(&keys(&two, more)),
            "{more}"
        );
    }
    let none = read("brokers = 'a:1'").0.expect("no problems");
    assert!(!first.is_same_but_for_credentials(&none));
}
