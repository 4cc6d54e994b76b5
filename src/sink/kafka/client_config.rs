//! librdkafka's configuration properties, as they follow from the sink's settings
//! (<https://github.com/confluentinc/librdkafka/blob/v2.12.1/CONFIGURATION.md>), and whether it
//! accepts them.

use std::sync::Arc;

use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaType;

use super::client_context::KafkaClientContext;
use super::settings::{Batching, KafkaSettings};
use crate::sink::BrokerTls;
use crate::threads;

/// The name in the brokers' logs and quotas: of several bridges, address and user tell which.
const CLIENT_ID: &str = "hookferry";

/// The largest request librdkafka may build. It is no limit on messages: that is the broker's to
/// say, and a lower one here would refuse what the broker would take. It stays below the size at
/// which a broker drops the connection without a word (`socket.request.max.bytes`, 100 MiB).
const MAX_REQUEST_BYTES: u32 = 100_000_000;

/// The threads of a client besides one for each broker it is told of: librdkafka's main one, that of its
/// internal broker, and the one that rdkafka polls on.
const THREADS: usize = 3;

/// The most that librdkafka takes for its own limit on the bytes of queued messages.
const MOST_QUEUED_KBYTES: &str = "2147483647";

/// Why librdkafka makes no client of the settings, in its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the Kafka client cannot start: {0}")]
pub struct KafkaStartError(String);

impl From<KafkaError> for KafkaStartError {
    fn from(error: KafkaError) -> Self {
        Self(match error {
            KafkaError::ClientCreation(reason) => reason,
            error => error.to_string(),
        })
    }
}

impl KafkaSettings {
    /// Whether librdkafka accepts all settings together, by making a client that connects to nobody:
    /// some values contradict each other only then.
    ///
    /// # Errors
    /// What it says against them.
    pub fn check(&self) -> Result<(), KafkaStartError> {
        for batching in [Batching::Many, Batching::Single] {
            let mut config = self.producer(batching);
            config.remove("bootstrap.servers");
            create_client(&config, self.clone())?;
        }
        Ok(())
    }

    /// Whether librdkafka accepts the certificates and keys, by making a client that connects to
    /// nobody.
    ///
    /// # Errors
    /// What it says against a file.
    pub fn check_tls(tls: &BrokerTls) -> Result<(), KafkaStartError> {
        let mut config = ClientConfig::new();
        config.set("security.protocol", "ssl");
        apply_tls(tls, &mut config);
        create_client(&config, Self::new(""))
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
            // `queue_limit` bounds the queue: librdkafka's own limits would refuse where we wait.
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", MOST_QUEUED_KBYTES)
            .set("statistics.interval.ms", "1000");
        self.properties.apply(&mut config);
        if batching == Batching::Single {
            config.set("batch.num.messages", "1").set("linger.ms", "0");
        }
        config
    }

    /// The configuration of a client that does not verify the name in a broker's certificate, and
    /// therefore does not log in: it finds out whether the certificate is valid but for its name.
    pub(super) fn without_name_verification(&self) -> ClientConfig {
        let mut config = Self {
            sasl: None,
            ..self.clone()
        }
        .producer(Batching::Many);
        config.set("ssl.endpoint.identification.algorithm", "none");
        config
    }

    /// The configuration of an admin client.
    pub(super) fn admin(&self) -> ClientConfig {
        let mut config = self.client();
        self.properties.apply(&mut config);
        config
    }

    /// The configuration of a consumer without side effects: it assigns partitions to itself and
    /// commits nothing. librdkafka wants a group's name all the same.
    pub(super) fn consumer(&self) -> ClientConfig {
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
            .set("client.id", CLIENT_ID)
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
            // A connection that the broker closed because the port wants TLS is reported in these log
            // lines alone, at this level.
            .set("log.connection.close", "true")
            .set_log_level(RDKafkaLogLevel::Info);
        self.secure(&mut config);
        config
    }

    fn secure(&self, config: &mut ClientConfig) {
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            apply_tls(tls, config);
        }
        if let Some(credentials) = &self.sasl {
            credentials.apply(config);
        }
    }
}

/// Makes a client that nothing polls: to end a thread that polls would take a tenth of a second, at each
/// start of the bridge.
fn create_client(config: &ClientConfig, settings: KafkaSettings) -> Result<(), KafkaStartError> {
    threads_for(config)?;
    let context = KafkaClientContext(Arc::new(settings));
    let native = config.create_native_config()?;
    Client::new(config, native, RDKafkaType::RD_KAFKA_PRODUCER, context)?;
    Ok(())
}

/// Makes a client, where there may be its threads: for want of the last one, rdkafka panics.
pub(super) fn start_client<C, T>(config: &ClientConfig, context: C) -> Result<T, KafkaError>
where
    C: ClientContext,
    T: FromClientConfigAndContext<C>,
{
    threads_for(config)?;
    config.create_with_context(context)
}

/// Whether there may be a client's threads.
fn threads_for(config: &ClientConfig) -> Result<(), KafkaError> {
    let brokers = config.get("bootstrap.servers").unwrap_or_default();
    let brokers = brokers.split(',').filter(|broker| !broker.is_empty());
    threads::can_be_made(THREADS + brokers.count())
        .map_err(|error| KafkaError::ClientCreation(error.to_string()))
}

/// Passes on what the PEM files held.
fn apply_tls(tls: &BrokerTls, config: &mut ClientConfig) {
    match &tls.authorities {
        Some(authorities) => {
            config.set("ssl.ca.pem", &authorities.pem);
        }
        None if names_authorities(|variable| std::env::var_os(variable).is_some()) => {}
        None => {
            config.set("ssl.ca.location", "probe");
        }
    }
    let Some(identity) = &tls.identity else {
        return;
    };
    config
        .set("ssl.certificate.pem", &identity.certificate.pem)
        .set("ssl.key.pem", &identity.key.pem);
    if let Some(password) = &identity.key.password {
        config.set("ssl.key.password", password);
    }
}

/// Whether the environment says where the system's authorities are, which OpenSSL follows. Where it
/// does not, librdkafka probes the usual places: this OpenSSL was built with the client, and its own
/// default folder exists nowhere.
fn names_authorities(is_set: impl Fn(&str) -> bool) -> bool {
    ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().any(is_set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_promise_is_in_every_producer() {
        let settings = KafkaSettings::new("b:9092");
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
        let mut settings = KafkaSettings::new("b:9092");
        let protocol = |settings: &KafkaSettings| {
            let config = settings.admin();
            config.get("security.protocol").map(str::to_owned)
        };
        assert_eq!(protocol(&settings).as_deref(), Some("plaintext"));
        settings.tls = Some(BrokerTls::default());
        assert_eq!(protocol(&settings).as_deref(), Some("ssl"));
    }

    #[test]
    fn the_environments_authorities_go_before_those_of_the_system() {
        assert!(!names_authorities(|_| false));
        for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
            assert!(names_authorities(|name| name == variable));
        }
        // It must be one that librdkafka knows.
        let mut config = ClientConfig::new();
        config.set("security.protocol", "ssl");
        apply_tls(&BrokerTls::default(), &mut config);
        assert!(config.create_native_config().is_ok());
    }
}
