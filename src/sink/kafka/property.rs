//! librdkafka's own properties, as an operator may set them: all but those the promise stands on.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;

/// Properties passed to librdkafka last. Only the names print: a value may be a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

/// Why a property cannot be passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// It would break what the bridge promises.
    #[error("{why}")]
    Reserved {
        /// The reason, and the key to use instead where there is one.
        why: &'static str,
    },
    /// librdkafka does not know it, or not this value.
    #[error("{0}")]
    Invalid(String),
}

/// Names that must stay as they are, and why.
const RESERVED: &[(&[&str], &str)] = &[
    (
        &["bootstrap.servers", "metadata.broker.list"],
        "the brokers have a key of their own, `brokers`",
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
        &["message.timeout.ms", "delivery.timeout.ms"],
        "the time for a publish has a key of its own, `publish_timeout`",
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
];

impl Properties {
    /// Adds a property.
    ///
    /// # Errors
    /// When the bridge's promise depends on it, or librdkafka refuses it.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), PropertyError> {
        if let Some(why) = reserved(name) {
            return Err(PropertyError::Reserved { why });
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

    /// Sets them all.
    pub(super) fn apply(&self, config: &mut ClientConfig) {
        for (name, value) in &self.0 {
            config.set(name, value);
        }
    }
}

fn reserved(name: &str) -> Option<&'static str> {
    if name.starts_with("test.") {
        return Some("it replaces the brokers by ones in memory");
    }
    RESERVED
        .iter()
        .find(|(names, _)| names.contains(&name))
        .map(|(_, why)| *why)
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_promise_stands_on_cannot_be_changed() {
        for (names, why) in RESERVED {
            for name in *names {
                let error = Properties::default().insert(name, "0");
                assert_eq!(error, Err(PropertyError::Reserved { why }), "{name}");
            }
        }
        assert!(
            Properties::default()
                .insert("test.mock.num.brokers", "3")
                .is_err()
        );
    }

    #[test]
    fn what_librdkafka_does_not_know_is_refused_in_its_words() {
        let error = Properties::default().insert("no.such.thing", "1");
        let Err(PropertyError::Invalid(text)) = error else {
            panic!("{error:?}");
        };
        assert!(text.contains("no.such.thing"), "{text}");
        assert!(Properties::default().insert("batch.size", "many").is_err());
    }

    #[test]
    fn the_rest_passes_and_its_values_do_not_print() {
        let mut properties = Properties::default();
        assert_eq!(
            properties.insert("ssl.keystore.password", "hunter2"),
            Ok(())
        );
        let text = format!("{properties:?}");
        assert!(
            text.contains("ssl.keystore.password") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
