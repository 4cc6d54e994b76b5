//! The settings of a Kafka sink: brokers, topics, timeouts, credentials, TLS. What librdkafka is told
//! of them stands in `client_config`.

use std::time::Duration;

use super::properties::ClientProperties;
use super::sasl::SaslCredentials;
use crate::route::Template;
use crate::sink::BrokerTls;

/// How messages are compressed on the wire and on the broker's disk. Consumers see the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all: the default, because every consumer of every language reads it; several clients
    /// need a further library for lz4, snappy or zstd.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd.
    Zstd,
}

impl Compression {
    /// Every compression, for messages to people.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The name, as librdkafka and the configuration write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// What a missing topic is created with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicShape {
    /// How many partitions.
    pub partitions: u16,
    /// How many replicas of each.
    pub replication: u16,
    /// How many replicas must be in sync before the broker confirms.
    pub min_insync_replicas: u16,
}

/// How many messages one produce request may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Batching {
    /// As many as wait.
    Many,
    /// One.
    Single,
}

/// The settings of a Kafka sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// The bootstrap servers, `host:port` joined by commas.
    pub brokers: String,
    /// The template of the topics' names.
    pub topic: Template,
    /// How missing topics are created; never, where none.
    pub create_topics: Option<TopicShape>,
    /// How messages are compressed.
    pub compression: Compression,
    /// How long a message may wait for others to share its request.
    pub linger: Duration,
    /// How long a publish may take, librdkafka's own retries included.
    pub publish_timeout: Duration,
    /// SASL credentials.
    pub sasl: Option<SaslCredentials>,
    /// TLS.
    pub tls: Option<BrokerTls>,
    /// librdkafka's own properties, which go last.
    pub properties: ClientProperties,
}

impl KafkaSettings {
    /// The defaults for these brokers.
    #[must_use]
    pub fn new(brokers: &str) -> Self {
        Self {
            brokers: brokers.to_owned(),
            topic: Template::parse("{source}.{event_type}").expect("a literal that a test reads"),
            create_topics: None,
            compression: Compression::None,
            linger: Duration::from_millis(10),
            publish_timeout: Duration::from_secs(10),
            sasl: None,
            tls: None,
            properties: ClientProperties::default(),
        }
    }

    /// Whether only credentials differ: user, password or token, certificates. A running sink can
    /// take those over. The SASL mechanism, and whether there is TLS, belong to the brokers' listener.
    #[must_use]
    pub fn is_same_but_for_credentials(&self, other: &Self) -> bool {
        let with_ours = Self {
            sasl: self.sasl.clone(),
            tls: self.tls.clone(),
            ..other.clone()
        };
        let mechanism = |settings: &Self| settings.sasl.as_ref().map(SaslCredentials::mechanism);
        *self == with_ours
            && self.tls.is_some() == other.tls.is_some()
            && mechanism(self) == mechanism(other)
    }
}
