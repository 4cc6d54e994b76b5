//! What the sink runs on, and the librdkafka properties that follow from it
//! (<https://github.com/confluentinc/librdkafka/blob/v2.12.1/CONFIGURATION.md>).

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use super::StartError;
use super::line::Batching;
use super::login::{Login, apply_tls};
use super::property::Properties;
use super::watch::Quiet;
use crate::route::Template;
use crate::sink::BrokerTls;

/// The largest request librdkafka may build. It is no limit on messages: that is the broker's to
/// say, and a lower one here would refuse what the broker would take. It stays below the size at
/// which a broker drops the connection without a word (`socket.request.max.bytes`, 100 MiB).
const MAX_REQUEST_BYTES: u32 = 100_000_000;

/// The most that librdkafka takes for its own limit on the bytes of queued messages.
const MOST_QUEUED_KBYTES: &str = "2147483647";

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

/// What a topic is created with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicShape {
    /// How many partitions.
    pub partitions: u16,
    /// How many copies of each.
    pub replication: u16,
    /// How many copies must be written before the broker confirms.
    pub min_insync_replicas: u16,
}

/// Why TLS cannot be spoken as it is configured, in librdkafka's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// The settings of a Kafka sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The brokers to start from, `host:port` joined by commas.
    pub brokers: String,
    /// The name the brokers' logs and quotas know the bridge by.
    pub client_id: String,
    /// The topics' names.
    pub topic: Template,
    /// How missing topics are created; never, where none.
    pub create_topics: Option<TopicShape>,
    /// The compression.
    pub compression: Compression,
    /// How long a message may wait for others to share its request.
    pub linger: Duration,
    /// How long a publish may take, librdkafka's own retries included.
    pub publish_timeout: Duration,
    /// The most messages the client holds.
    pub max_queued_messages: u32,
    /// The most bytes of bodies the client holds.
    pub max_queued_bytes: u64,
    /// Credentials.
    pub login: Option<Login>,
    /// TLS.
    pub tls: Option<BrokerTls>,
    /// librdkafka's own properties, which go last.
    pub properties: Properties,
}

impl Settings {
    /// The defaults for these brokers.
    #[must_use]
    pub fn new(brokers: &str) -> Self {
        Self {
            brokers: brokers.to_owned(),
            client_id: "hookferry".to_owned(),
            topic: Template::parse("{source}.{event_type}").expect("a literal that a test reads"),
            create_topics: None,
            compression: Compression::None,
            linger: Duration::from_millis(10),
            publish_timeout: Duration::from_secs(10),
            max_queued_messages: 20_000,
            max_queued_bytes: 128 * 1024 * 1024,
            login: None,
            tls: None,
            properties: Properties::default(),
        }
    }

    /// Whether only what a connection is made with differs: user, password or token, certificates.
    /// That can be taken over by a sink that runs. The way to log in, and whether there is TLS, is
    /// what the brokers' port expects, and no credential.
    #[must_use]
    pub fn is_same_but_for_credentials(&self, other: &Self) -> bool {
        let with_ours = Self {
            login: self.login.clone(),
            tls: self.tls.clone(),
            ..other.clone()
        };
        let mechanism = |settings: &Self| settings.login.as_ref().map(Login::mechanism);
        *self == with_ours
            && self.tls.is_some() == other.tls.is_some()
            && mechanism(self) == mechanism(other)
    }

    /// Whether librdkafka makes a producer of all settings together, by making one that connects to
    /// nobody: some values contradict each other only then.
    ///
    /// # Errors
    /// What it says against them.
    pub fn check(&self) -> Result<(), StartError> {
        for batching in [Batching::Many, Batching::Single] {
            let mut config = self.producer(batching);
            config.remove("bootstrap.servers");
            let settings = Arc::new(self.clone());
            let client: Result<AdminClient<Quiet>, _> = config.create_with_context(Quiet(settings));
            client.map_err(|error| StartError::of(&error))?;
        }
        Ok(())
    }

    /// Whether librdkafka can speak TLS as it is configured: by making a client, that connects to
    /// nobody.
    ///
    /// # Errors
    /// What it says against a file.
    pub fn check_tls(tls: &BrokerTls) -> Result<(), TlsError> {
        let mut config = ClientConfig::new();
        config.set("security.protocol", "ssl");
        apply_tls(tls, &mut config);
        let settings = Arc::new(Self::new(""));
        let client: Result<AdminClient<Quiet>, _> = config.create_with_context(Quiet(settings));
        match client {
            Ok(_) => Ok(()),
            Err(KafkaError::ClientCreation(reason)) => Err(TlsError(reason)),
            Err(error) => Err(TlsError(error.to_string())),
        }
    }

    /// The configuration of a producer.
    pub(super) fn producer(&self, batching: Batching) -> ClientConfig {
        let mut config = self.client();
        let publish_timeout = self.publish_timeout.as_millis();
        config
            // librdkafka's default is false; with it, its retries neither repeat nor reorder.
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // The partition the Java clients choose; librdkafka's default is another.
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", publish_timeout.to_string())
            // The broker gives up on its replicas first: its answer keeps the connection.
            .set("request.timeout.ms", (publish_timeout / 2).to_string())
            .set("linger.ms", self.linger.as_millis().to_string())
            .set("compression.type", self.compression.as_str())
            .set("message.max.bytes", MAX_REQUEST_BYTES.to_string())
            // A message waits for room before it is handed over: see `room`.
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", MOST_QUEUED_KBYTES)
            .set("statistics.interval.ms", "1000");
        self.properties.apply(&mut config);
        if batching == Batching::Single {
            config.set("batch.num.messages", "1").set("linger.ms", "0");
        }
        config
    }

    /// The configuration of a client that takes a certificate for any name and therefore does not log
    /// in: it finds out whether all but the name holds.
    pub(super) fn nameless(&self) -> ClientConfig {
        let mut config = Self {
            login: None,
            ..self.clone()
        }
        .producer(Batching::Many);
        config.set("ssl.endpoint.identification.algorithm", "none");
        config
    }

    /// The configuration of a client that asks or creates.
    pub(super) fn admin(&self) -> ClientConfig {
        let mut config = self.client();
        self.properties.apply(&mut config);
        config
    }

    /// The configuration of a consumer that leaves no trace: it assigns partitions to itself and
    /// commits nothing. The group's name is only there because librdkafka wants one.
    pub(super) fn follower(&self) -> ClientConfig {
        let mut config = self.admin();
        config
            .set("group.id", "hookferry-tail")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest");
        config
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            .set("allow.auto.create.topics", "false")
            // The default, 10 s, would add itself to every outage.
            .set("reconnect.backoff.max.ms", "1000")
            // How long a missing topic may still turn up before its messages fail, by default 30 s.
            // A topic in that state is asked for every second, so that one created later is found.
            .set("topic.metadata.propagation.max.ms", "1000")
            // A half-open connection is noticed within one publish; the default is a minute.
            .set(
                "socket.timeout.ms",
                self.publish_timeout
                    .as_millis()
                    .clamp(1_000, 60_000)
                    .to_string(),
            )
            .set("socket.connection.setup.timeout.ms", "5000")
            .set("socket.keepalive.enable", "true")
            // Brokers close idle connections, which is no news; but without these lines the client does
            // not tell of one that was closed because the port wants TLS.
            .set("log.connection.close", "true")
            // As high as those lines are; what is logged of them the filter says.
            .set_log_level(RDKafkaLogLevel::Info);
        self.secure(&mut config);
        config
    }

    fn secure(&self, config: &mut ClientConfig) {
        let protocol = match (&self.tls, &self.login) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            apply_tls(tls, config);
        }
        if let Some(login) = &self.login {
            login.apply(config);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_promise_is_in_every_producer() {
        let settings = Settings::new("b:9092");
        for batching in [Batching::Many, Batching::Single] {
            let config = settings.producer(batching);
            assert_eq!(config.get("enable.idempotence"), Some("true"));
            assert_eq!(config.get("acks"), Some("all"));
            assert_eq!(config.get("allow.auto.create.topics"), Some("false"));
            assert_eq!(config.get("partitioner"), Some("murmur2_random"));
            assert!(config.create_native_config().is_ok());
        }
    }

    #[test]
    fn the_protocol_follows_from_login_and_tls() {
        let mut settings = Settings::new("b:9092");
        let protocol = |settings: &Settings| {
            let config = settings.admin();
            config.get("security.protocol").map(str::to_owned)
        };
        assert_eq!(protocol(&settings).as_deref(), Some("plaintext"));
        settings.tls = Some(BrokerTls::default());
        assert_eq!(protocol(&settings).as_deref(), Some("ssl"));
    }
}
