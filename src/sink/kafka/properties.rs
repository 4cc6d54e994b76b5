//! librdkafka's configuration properties that an operator may set: those that tune. What the promise
//! depends on, what has a key of its own and what would undo one is refused.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;

/// Properties of librdkafka that the operator has set; they are passed to it last. Only the names
/// print.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientProperties(BTreeMap<String, String>);

/// Why a property cannot be passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// The same is said by a key of the sink, which this would undo.
    #[error("it has a key of its own, `{key}`")]
    Keyed {
        /// The key.
        key: &'static str,
    },
    /// It would break what the bridge promises.
    #[error("{why}")]
    Reserved {
        /// The reason.
        why: &'static str,
    },
    /// It is none of those that tune.
    #[error("it is none of the properties that may be set")]
    Unlisted,
    /// librdkafka does not know this value.
    #[error("{0}")]
    Invalid(String),
}

/// The names that may be set: they tune, and undo no key. `debug` is for looking closer.
const TUNING: &[&str] = &[
    "api.version.request.timeout.ms",
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "broker.address.ttl",
    "client.dns.lookup",
    "compression.level",
    "connections.max.idle.ms",
    "debug",
    "enable.metrics.push",
    "log.connection.close",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.copy.max.bytes",
    "message.send.max.retries",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "queue.buffering.backpressure.threshold",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
];

/// Names that have a key of their own, with it.
const KEYED: &[(&str, &str)] = &[
    ("bootstrap.servers", "brokers"),
    ("metadata.broker.list", "brokers"),
    ("compression.codec", "compression"),
    ("compression.type", "compression"),
    ("linger.ms", "linger"),
    ("queue.buffering.max.ms", "linger"),
    ("message.timeout.ms", "publish_timeout"),
    ("delivery.timeout.ms", "publish_timeout"),
    ("security.protocol", "tls` or `sasl"),
    ("ssl.ca.location", "tls.ca_file"),
    ("ssl.ca.pem", "tls.ca_file"),
    ("ssl.certificate.location", "tls.client_certificate_file"),
    ("ssl.certificate.pem", "tls.client_certificate_file"),
    ("ssl.key.location", "tls.client_key_file"),
    ("ssl.key.pem", "tls.client_key_file"),
    ("ssl.key.password", "tls.client_key_password"),
    ("sasl.mechanism", "sasl.mechanism"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("sasl.username", "sasl.username"),
    ("sasl.password", "sasl.password"),
];

/// Names that must stay as they are, and why.
const RESERVED: &[(&[&str], &str)] = &[
    (&["client.id"], "it is always \"hookferry\""),
    (
        &["queue.buffering.max.messages", "queue.buffering.max.kbytes"],
        "the sink bounds the queue itself, and waits where librdkafka would refuse",
    ),
    (
        &["enable.idempotence"],
        "without it a retry could put events twice or out of order onto a partition",
    ),
    (
        &["acks", "request.required.acks"],
        "with less than `all`, an event that was confirmed could be lost with one broker",
    ),
    (
        &["allow.auto.create.topics"],
        "a topic made by accident has the wrong partitions and replication; see `create_topics`",
    ),
    (
        &["delivery.report.only.error"],
        "a success that is not reported is never confirmed",
    ),
    (
        &["queuing.strategy"],
        "events of one object must be sent in their order",
    ),
    (
        &["partitioner"],
        "another one would move objects to other partitions than the Java clients choose",
    ),
    (
        &["transactional.id"],
        "the sink publishes without transactions",
    ),
    (
        &["statistics.interval.ms"],
        "the sink's health is read from the statistics, once a second",
    ),
    (
        &["enable.gapless.guarantee"],
        "one refused message would stop the client",
    ),
    (
        &["message.max.bytes"],
        "how large a message may be is the broker's to say: `max.message.bytes` of the topic",
    ),
    (
        &[
            "enable.ssl.certificate.verification",
            "ssl.endpoint.identification.algorithm",
        ],
        "who shows another certificate than the broker's must not get events; `tls.ca_file` names whom to trust",
    ),
    (
        &["plugin.library.paths"],
        "the bridge runs nobody else's code",
    ),
];

impl ClientProperties {
    /// Every name that may be set, for messages to people.
    pub const NAMES: &'static [&'static str] = TUNING;

    /// Adds a property. librdkafka is shown only those that may be set: some act by being set.
    ///
    /// # Errors
    /// When it may not be set, or librdkafka refuses its value.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), PropertyError> {
        if !TUNING.contains(&name) {
            return Err(refusal(name));
        }
        let mut config = ClientConfig::new();
        config.set(name, value);
        match config.create_native_config() {
            Ok(_) => {
                self.0.insert(name.to_owned(), value.to_owned());
                Ok(())
            }
            Err(KafkaError::ClientConfig(_, description, ..)) => {
                Err(PropertyError::Invalid(description))
            }
            Err(error) => Err(PropertyError::Invalid(error.to_string())),
        }
    }

    /// The names of those that are set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Sets them all.
    pub(super) fn apply(&self, config: &mut ClientConfig) {
        for (name, value) in &self.0 {
            config.set(name, value);
        }
    }
}

/// Why a name that is not for tuning is not passed on.
fn refusal(name: &str) -> PropertyError {
    let keyed = KEYED.iter().find(|(known, _)| *known == name);
    let reserved = RESERVED.iter().find(|(names, _)| names.contains(&name));
    match (keyed, reserved) {
        (Some((_, key)), _) => PropertyError::Keyed { key },
        (None, Some((_, why))) => PropertyError::Reserved { why },
        (None, None) if name.starts_with("sasl.") || name.starts_with("ssl.") => {
            PropertyError::Reserved {
                why: "logins and TLS are set by the keys `sasl` and `tls` alone, which do not have this",
            }
        }
        (None, None) => PropertyError::Unlisted,
    }
}

impl fmt::Debug for ClientProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str) -> PropertyError {
        let mut properties = ClientProperties::default();
        let error = properties.insert(name, "0").expect_err(name);
        assert_eq!(properties, ClientProperties::default());
        error
    }

    #[test]
    fn what_the_promise_stands_on_cannot_be_changed() {
        for (names, why) in RESERVED {
            for name in *names {
                assert_eq!(refused(name), PropertyError::Reserved { why }, "{name}");
            }
        }
    }

    #[test]
    fn what_has_a_key_of_its_own_is_refused_with_the_key() {
        for (name, key) in KEYED {
            assert_eq!(refused(name), PropertyError::Keyed { key }, "{name}");
        }
        for name in [
            "sasl.oauthbearer.method",
            "sasl.kerberos.kinit.cmd",
            "ssl.keystore.location",
            "ssl.cipher.suites",
        ] {
            let refused = refused(name);
            assert!(matches!(refused, PropertyError::Reserved { .. }), "{name}");
            assert!(refused.to_string().contains("`tls`"), "{name}");
        }
    }

    #[test]
    fn what_does_not_tune_is_refused() {
        for name in ["no.such.thing", "test.mock.num.brokers", "interceptors", ""] {
            assert_eq!(refused(name), PropertyError::Unlisted, "{name}");
        }
    }

    /// A misspelt name in the list could never be set.
    #[test]
    fn librdkafka_knows_every_name_that_may_be_set() {
        for name in TUNING {
            let set = ClientProperties::default().insert(name, "?");
            if let Err(PropertyError::Invalid(text)) = set {
                assert!(!text.contains("No such"), "{text}");
            }
        }
    }

    #[test]
    fn a_value_that_librdkafka_does_not_know_is_refused_in_its_words() {
        let error = ClientProperties::default().insert("batch.size", "many");
        let Err(PropertyError::Invalid(text)) = error else {
            panic!("{error:?}");
        };
        assert!(text.contains("batch.size"), "{text}");
    }

    #[test]
    fn the_rest_passes_and_its_values_do_not_print() {
        let mut properties = ClientProperties::default();
        assert_eq!(properties.insert("batch.size", "65537"), Ok(()));
        let text = format!("{properties:?}");
        assert!(
            text.contains("batch.size") && !text.contains("65537"),
            "{text}"
        );
    }
}
