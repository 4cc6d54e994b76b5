use super::*;
use crate::config::certificate::tests::{CLIENT, CLIENT_KEY, ENCRYPTED_KEY, OTHER_KEY, written};
use crate::config::section;

fn read(text: &str) -> (Option<RabbitMqSettings>, Vec<String>) {
    let mut problems = ConfigProblems::default();
    let table = text.parse().expect("TOML");
    let file: RabbitMqFile = section::read("sink.mq", table, &mut problems);
    let settings = file.settings("sink.mq", &mut problems);
    (settings, problems.iter().map(ToString::to_string).collect())
}

/// The key paths of the problems, in order.
fn wrong(text: &str) -> Vec<String> {
    let (settings, problems) = read(text);
    assert!(settings.is_none() || !problems.is_empty(), "{text}");
    problems
        .iter()
        .map(|problem| problem.split(": ").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_url_is_enough_and_the_rest_has_defaults() {
    let (settings, problems) = read("url = \"amqp://mq\"");
    let settings = settings.expect("complete");
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(settings.exchange.to_string(), "{source}");
    assert_eq!(settings.routing_key.to_string(), "{event_type}.{object_id}");
    assert_eq!(settings.publish_timeout, Duration::from_secs(10));
    assert_eq!(settings.max_message_bytes, 16_777_216);
    assert!(settings.declare && settings.queues.is_empty());
}

#[test]
fn all_problems_are_noted_at_once_each_with_its_key_path() {
    let paths = wrong(
        "exchange = \"{object_id}\"\nrouting_key = \"{lane}\"\n\
         password = { file = \"/does/not/exist\" }\nca_file = \"/does/not/exist\"\n\
         [[queue]]\nbinding = \"#\"\n",
    );
    for key in [
        "url",
        "password",
        "ca_file",
        "exchange",
        "routing_key",
        "queue[0].name",
    ] {
        let path = format!("sink.mq.{key}");
        assert_eq!(
            paths.iter().filter(|found| **found == path).count(),
            1,
            "{path}: {paths:?}"
        );
    }
    assert_eq!(paths.len(), 6, "{paths:?}");
}

#[test]
fn a_template_that_is_none_is_refused() {
    for text in ["{lane}", "a b", "{", ""] {
        let text = format!("url = \"amqp://mq\"\nrouting_key = \"{text}\"");
        assert_eq!(wrong(&text), ["sink.mq.routing_key"], "{text}");
    }
}

#[test]
fn no_guard_can_be_switched_off_by_a_value_that_is_too_little() {
    for (value, key) in [
        ("0s", "publish_timeout"),
        ("99ms", "publish_timeout"),
        ("0B", "max_message_size"),
        ("1023B", "max_message_size"),
        ("61m", "publish_timeout"),
    ] {
        let text = format!("url = \"amqp://mq\"\n{key} = \"{value}\"");
        assert_eq!(wrong(&text), [format!("sink.mq.{key}")], "{text}");
    }
}

#[test]
fn a_password_that_is_not_escaped_is_refused_with_the_hint_and_never_repeated() {
    for password in ["4711/AbC", "12#x", "1?x", "a/b", "#", "a@b/c"] {
        let (settings, problems) = read(&format!("url = \"amqp://bridge:{password}@mq:5672/v\""));
        assert!(settings.is_none(), "{password}");
        let [problem] = &problems[..] else {
            panic!("{password}: {problems:?}");
        };
        assert!(problem.starts_with("sink.mq.url: "), "{problem}");
        assert!(problem.contains("`password`") && problem.contains("%2F"));
        assert!(!problem.contains("4711") && !problem.contains("AbC"));
    }
}

#[test]
fn credentials_are_named_once_and_completely() {
    let key = "sink.mq.password";
    assert_eq!(wrong("url = \"amqp://bob@mq\""), [key]);
    assert_eq!(
        wrong("url = \"amqp://bob:x@mq\"\npassword = { env = \"PATH\" }"),
        [key]
    );
    assert_eq!(wrong("url = \"amqp://mq\"\npassword = {}"), [key]);
    let (settings, problems) = read("url = \"amqp://bob@mq\"\npassword = { env = \"PATH\" }");
    let printed = format!("{:?}", settings.expect("complete"));
    assert!(
        problems.is_empty() && printed.contains("amqp://bob@mq"),
        "{printed}"
    );
    let path = std::env::var("PATH").expect("set");
    assert!(!printed.contains(&path), "{printed}");
}

#[test]
fn certificates_want_tls_and_come_in_pairs() {
    let (certificate, key) = (written(CLIENT), written(CLIENT_KEY));
    let (file, key) = (certificate.path().display(), key.path().display());
    assert_eq!(
        wrong(&format!("url = \"amqp://mq\"\nca_file = \"{file}\"")),
        ["sink.mq.ca_file"]
    );
    assert_eq!(
        wrong(&format!(
            "url = \"amqps://mq\"\nclient_key_file = \"{key}\""
        )),
        ["sink.mq.client_certificate_file"]
    );
    let (settings, problems) = read(&identity(CLIENT_KEY).0);
    assert!(problems.is_empty(), "{problems:?}");
    let tls = settings.expect("complete").tls;
    let expiries: Vec<_> = tls
        .certificates()
        .map(|file| (file.key, file.expiry.as_second()))
        .collect();
    assert_eq!(expiries, [("client_certificate_file", 2_110_938_824)]);
    let printed = format!("{tls:?}");
    assert!(!printed.contains("PRIVATE KEY"), "{printed}");
}

/// A sink that shows this certificate with a key; the files go when they are dropped.
fn identity(key: &str) -> (String, [tempfile::NamedTempFile; 2]) {
    let files = [written(CLIENT), written(key)];
    let [certificate, key] = files.each_ref().map(|file| file.path().display());
    let text = format!(
        "url = \"amqps://mq?auth_mechanism=external\"\nclient_certificate_file = \"{certificate}\"\nclient_key_file = \"{key}\""
    );
    (text, files)
}

#[test]
fn a_key_that_does_not_fit_is_told_before_it_is_used() {
    for (key, word) in [
        (OTHER_KEY, "match"),
        (ENCRYPTED_KEY, "encrypted"),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "key",
        ),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n", "key"),
    ] {
        let (text, _files) = identity(key);
        let (settings, problems) = read(&text);
        assert!(settings.is_none(), "{key}");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with("sink.mq.client_key_file: "),
            "{problems:?}"
        );
        assert!(problems[0].to_lowercase().contains(word), "{problems:?}");
    }
}

#[test]
fn credentials_may_differ_and_all_else_may_not() {
    let settings = |text: &str| read(text).0.expect("complete");
    let first = settings("url = \"amqp://bob:one@mq\"");
    for text in ["amqp://bob:two@mq", "amqp://eve:one@mq"] {
        let other = settings(&format!("url = \"{text}\""));
        assert!(
            first != other && first.is_same_but_for_credentials(&other),
            "{text}"
        );
    }
    for text in [
        "amqp://bob:one@elsewhere\"",
        "amqp://bob:one@mq/events\"",
        "amqps://bob:one@mq\"",
        "amqp://bob:one@mq?auth_mechanism=amqplain\"",
        "amqp://bob:one@mq\"\npublish_timeout = \"3s\"",
        "amqp://bob:one@mq\"\nexchange = \"other\"",
        "amqp://bob:one@mq\"\n[[queue]]\nname = \"q\"",
    ] {
        let other = settings(&format!("url = \"{text}"));
        assert!(!first.is_same_but_for_credentials(&other), "{text}");
    }
    let (with, _files) = identity(CLIENT_KEY);
    let without = settings("url = \"amqps://mq?auth_mechanism=external\"");
    assert!(settings(&with).is_same_but_for_credentials(&without));
}

#[test]
fn an_unknown_key_is_an_error() {
    assert!(toml::from_str::<RabbitMqFile>("urls = \"amqp://mq\"").is_err());
    assert!(toml::from_str::<RabbitMqFile>("[[queue]]\nbindings = \"#\"").is_err());
}
