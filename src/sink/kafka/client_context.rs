//! What librdkafka calls back: the error callback, the log callback, the statistics callback, once a
//! second, and the delivery report callback. Its log lines tell of attempts and go to debug; changes
//! of state are ours to log.

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Message as _};

use super::client_error::closed_at_first_request;
use super::cluster_health::ClusterHealth;
use super::connection_health::ConnectionHealth;
use super::delivery_report::{DeliveryError, InFlightMessage, RecordPlace};
use super::error_code::code_of;
use super::sasl::{BearerToken, SaslCredentials};
use super::settings::KafkaSettings;
use super::statistics::{BrokerStatistics, Statistics};

/// The context of one producer: whether it is connected, and whether it is of use.
#[derive(Debug)]
pub(super) struct KafkaProducerContext {
    settings: Arc<KafkaSettings>,
    connections: Arc<ConnectionHealth>,
    connected: AtomicBool,
    broken: AtomicBool,
    /// How many connections each broker had seen when it was last up, since any was.
    connects: Mutex<HashMap<String, u64>>,
    cluster: Mutex<ClusterHealth>,
}

impl KafkaProducerContext {
    pub(super) fn new(settings: Arc<KafkaSettings>, connections: Arc<ConnectionHealth>) -> Self {
        Self {
            settings,
            connections,
            connected: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            connects: Mutex::default(),
            cluster: Mutex::default(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Whether this client can publish nothing any more.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Marks the client as broken: it will be replaced.
    pub(super) fn give_up(&self, reason: &str) {
        if !self.broken.swap(true, Ordering::Relaxed) {
            tracing::error!(reason, "the Kafka client is of no more use and is replaced");
        }
        self.connected.store(false, Ordering::Relaxed);
    }

    fn set_connected(&self, connected: bool) {
        // Read first: every delivery report comes here, and mostly nothing changes.
        if self.is_connected() == connected
            || self.connected.swap(connected, Ordering::Relaxed) == connected
        {
            return;
        }
        if connected {
            self.connections.note_connect();
            // The connections that led here are counted with that.
            self.connects().clear();
            tracing::info!(brokers = %self.settings.brokers, "connected to Kafka");
        } else {
            tracing::warn!(brokers = %self.settings.brokers, "no Kafka broker is connected");
        }
    }

    /// Takes over the state of the brokers' connections. One that connects anew while others stay
    /// connected is a reconnect as well.
    fn update_connections(&self, brokers: &HashMap<String, BrokerStatistics>) {
        self.set_connected(!self.is_broken() && brokers.values().any(BrokerStatistics::is_up));
        let mut connects = self.connects();
        for (name, broker) in brokers.iter().filter(|(_, broker)| broker.is_up()) {
            let before = connects.insert(name.clone(), broker.connects);
            if before.is_some_and(|before| broker.connects > before) {
                self.connections.count_reconnect();
            }
        }
    }

    /// The error of a message for this partition. Where it timed out, what the partition did in the
    /// second half of that time tells whose fault it was: the first half may still have been well. In
    /// less than three seconds the statistics, which come each second, may say nothing of anybody.
    fn delivery_error(&self, code: RDKafkaErrorCode, topic: &str, partition: i32) -> DeliveryError {
        let mut error = DeliveryError::from(code);
        if code == RDKafkaErrorCode::MessageTimedOut && self.is_connected() {
            let now = Instant::now();
            let lately = (self.settings.publish_timeout / 2).max(Duration::from_secs(3));
            let cluster = self.cluster();
            error.partition_fault = now
                .checked_sub(lately)
                .and_then(|since| cluster.partition_fault((topic, partition), (since, now)));
        }
        error
    }

    fn connects(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.connects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cluster(&self) -> MutexGuard<'_, ClusterHealth> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for KafkaProducerContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if let Some(reason) = closed_at_first_request(line) {
            let code = RDKafkaErrorCode::BrokerTransportFailure;
            self.connections.note_error(code, reason);
        }
        log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else {
            return;
        };
        self.update_connections(&statistics.brokers);
        self.cluster().update(statistics, Instant::now());
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match code_of(&error) {
            RDKafkaErrorCode::Fatal => self.give_up(reason),
            RDKafkaErrorCode::AllBrokersDown => self.set_connected(false),
            code => self.connections.note_error(code, reason),
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        oauth_token(&self.settings)
    }
}

impl ProducerContext for KafkaProducerContext {
    type DeliveryOpaque = Box<InFlightMessage>;

    fn delivery(&self, result: &DeliveryResult<'_>, message: Self::DeliveryOpaque) {
        let report = match result {
            Ok(message) => {
                self.set_connected(true);
                Ok(RecordPlace {
                    partition: message.partition(),
                    offset: message.offset(),
                })
            }
            Err((error, message)) => {
                let code = code_of(error);
                if code == RDKafkaErrorCode::Fatal {
                    self.give_up("a message failed with a fatal error");
                }
                Err(self.delivery_error(code, message.topic(), message.partition()))
            }
        };
        let InFlightMessage {
            report: publish,
            permit,
        } = *message;
        drop(permit);
        // An error here means that the publish was given up: nobody wants to know any more.
        let _ = publish.send(report);
    }
}

/// The context of an admin client or a consumer, which live shortly: their errors are returned to
/// whoever asks, so they are logged for debugging alone.
#[derive(Debug)]
pub(super) struct KafkaClientContext(pub(super) Arc<KafkaSettings>);

impl ClientContext for KafkaClientContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, _: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{reason}");
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        oauth_token(&self.0)
    }
}

impl ConsumerContext for KafkaClientContext {}

fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{line}");
        }
        _ => tracing::debug!(target: "librdkafka", facility, "{line}"),
    }
}

fn oauth_token(settings: &KafkaSettings) -> Result<OAuthToken, Box<dyn Error>> {
    match &settings.sasl {
        Some(SaslCredentials::OauthBearer { token }) => {
            let token = BearerToken::read(token)?;
            Ok(OAuthToken {
                token: token.text,
                principal_name: token.principal,
                lifetime_ms: token.expires_ms,
            })
        }
        _ => Err("no OAUTHBEARER token is configured".into()),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    use tokio::sync::oneshot;

    use super::*;
    use crate::sink::kafka::delivery_report::DeliveryReport;
    use crate::sink::kafka::queue_limit::QueueLimit;
    use crate::sink::kafka::settings::Batching;

    fn up(name: &str, connects: u64) -> (String, BrokerStatistics) {
        let text = format!(r#"{{"state":"UP","source":"learned","connects":{connects}}}"#);
        let broker = serde_json::from_str(&text).expect("a broker");
        (name.to_owned(), broker)
    }

    #[test]
    fn only_connections_after_the_first_are_reconnects() {
        let connections = Arc::new(ConnectionHealth::default());
        let context = || {
            KafkaProducerContext::new(
                Arc::new(KafkaSettings::new("b:9092")),
                Arc::clone(&connections),
            )
        };
        let first = context();
        first.update_connections(&HashMap::from([up("a", 1)]));
        first.update_connections(&HashMap::from([up("a", 1), up("b", 1)]));
        assert_eq!(connections.reconnects(), 0);
        first.update_connections(&HashMap::from([up("a", 2), up("b", 1)]));
        assert_eq!(connections.reconnects(), 1);
        context().update_connections(&HashMap::from([up("a", 1)]));
        assert_eq!(
            connections.reconnects(),
            2,
            "a client that replaced another"
        );
        first.update_connections(&HashMap::new());
        first.update_connections(&HashMap::from([up("c", 3)]));
        assert_eq!(connections.reconnects(), 3, "known by another name before");
        // The statistics come once a second: an outage may lie between two of them.
        first.set_connected(false);
        first.set_connected(true);
        first.update_connections(&HashMap::from([up("c", 4)]));
        assert_eq!(connections.reconnects(), 4, "seen by the deliveries alone");
    }

    /// A cluster in memory with two topics, and a client of it.
    struct Cluster {
        mock: MockCluster<'static, DefaultProducerContext>,
        client: ThreadedProducer<KafkaProducerContext>,
        queue_limit: QueueLimit,
    }

    impl Cluster {
        fn new() -> Self {
            let mock = MockCluster::new(3).expect("a cluster");
            for topic in ["ill", "well"] {
                mock.create_topic(topic, 2, 3).expect("created");
            }
            let mut settings = KafkaSettings::new(&mock.bootstrap_servers());
            settings.publish_timeout = Duration::from_secs(4);
            let context = KafkaProducerContext::new(Arc::new(settings.clone()), Arc::default());
            let config = settings.producer(Batching::Many);
            Self {
                mock,
                client: config.create_with_context(context).expect("a client"),
                queue_limit: QueueLimit::new(100, 1 << 20),
            }
        }

        async fn send(&self, topic: &str, number: u8) -> DeliveryReport {
            let (report, reported) = oneshot::channel();
            let permit = self.queue_limit.acquire(1).await;
            let key = number.to_string();
            let record =
                BaseRecord::with_opaque_to(topic, Box::new(InFlightMessage { report, permit }));
            let record = record.key(&key).payload("x");
            let sent = self.client.send(record).map_err(|(error, _)| error);
            sent.expect("the queue is not full");
            reported.await.expect("a report")
        }

        async fn send_all(&self, topic: &str) -> Vec<DeliveryReport> {
            join_all((0..20).map(|number| self.send(topic, number))).await
        }

        async fn are_blamed(&self, topic: &str, why: &str) {
            for report in self.send_all(topic).await {
                let undelivered = report.expect_err("nobody takes it");
                assert_eq!(undelivered.code, RDKafkaErrorCode::MessageTimedOut);
                let fault = undelivered.partition_fault.expect("the cluster answers");
                assert!(fault.contains(why), "{fault}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_topic_without_a_leader_is_to_blame_and_holds_up_no_other() {
        let cluster = Cluster::new();
        for partition in 0..2 {
            let set = cluster.mock.partition_leader("ill", partition, None);
            set.expect("a topic of ours");
        }
        let healthy = async {
            for _ in 0..5 {
                assert!(cluster.send_all("well").await.iter().all(Result::is_ok));
            }
        };
        tokio::join!(cluster.are_blamed("ill", "has no leader"), healthy);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_leader_that_answers_and_does_not_confirm_is_to_blame() {
        let cluster = Cluster::new();
        assert!(cluster.send_all("ill").await.iter().all(Result::is_ok));
        let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
        let errors = vec![error; 10_000];
        cluster.mock.request_errors(RDKafkaApiKey::Produce, &errors);
        cluster.are_blamed("ill", "too few replicas").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cluster_that_falls_silent_is_no_topics_fault() {
        let cluster = Cluster::new();
        assert!(cluster.send_all("ill").await.iter().all(Result::is_ok));
        for broker in 1..=3 {
            let hour = Duration::from_secs(3600);
            let set = cluster.mock.broker_round_trip_time(broker, hour);
            set.expect("a broker of ours");
        }
        for report in cluster.send_all("ill").await {
            let undelivered = report.expect_err("nobody answers");
            assert_eq!(undelivered.partition_fault, None);
        }
    }

    #[test]
    fn the_internal_broker_is_no_connection() {
        let context =
            KafkaProducerContext::new(Arc::new(KafkaSettings::new("b:9092")), Arc::default());
        context.stats_raw(br#"{"name":"x","brokers":{":0/internal":{"state":"UP","source":"internal","connects":0},"a":{"state":"DOWN","source":"configured","connects":3}}}"#);
        assert!(!context.is_connected());
        context
            .stats_raw(br#"{"brokers":{"a":{"state":"UP","source":"configured","connects":4}}}"#);
        assert!(context.is_connected());
    }
}
