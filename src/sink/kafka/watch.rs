//! What librdkafka tells us about itself: delivery reports, errors and, once a second, the state of
//! its connections. Its log lines are attempts and go to debug; changes of state are ours to log.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Message as _};
use tokio::sync::oneshot;

use super::login::{Login, Token};
use super::progress::Progress;
use super::room::Room;
use super::settings::Settings;
use super::statistics::{Broker, Statistics};
use super::trouble::{Complaint, Trouble, is_over_tls};
use super::verdict::code_of;
use crate::sink::Stage;

/// What a delivery report says.
pub(super) type Report = Result<(), Undelivered>;

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Undelivered {
    /// What the client or the broker said.
    pub code: RDKafkaErrorCode,
    /// What its partition did, where the message timed out for that alone: see [`Progress`].
    pub blame: Option<String>,
}

impl From<RDKafkaErrorCode> for Undelivered {
    fn from(code: RDKafkaErrorCode) -> Self {
        Self { code, blame: None }
    }
}

/// What a message carries through the client: who waits for its report, and the room that it takes
/// until then.
pub(super) struct Waiting {
    pub report: oneshot::Sender<Report>,
    pub room: Room,
}

/// What outlives a single client: the sink's story of its connections.
#[derive(Debug)]
pub(super) struct Record {
    ever_connected: AtomicBool,
    reconnects: AtomicU64,
    failures: Mutex<BTreeMap<Stage, u64>>,
    trouble: Mutex<Option<Trouble>>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            ever_connected: AtomicBool::default(),
            reconnects: AtomicU64::default(),
            failures: Mutex::new(Stage::ALL.map(|stage| (stage, 0)).into()),
            trouble: Mutex::default(),
        }
    }
}

impl Record {
    /// How often a connection was made anew.
    pub(super) fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// How often the client said that one could not be made, by stage. It says the same of one
    /// broker twice in 30 s at most.
    pub(super) fn failures(&self) -> BTreeMap<Stage, u64> {
        let failures = self.failures.lock();
        failures.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last error the client spoke of, if it has not delivered anything since.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the error; logs it when it is another one than before.
    fn note_trouble(&self, code: RDKafkaErrorCode, reason: &str) {
        let news = Trouble::of(code, reason);
        if let Complaint::Unconnected(stage) = news.complaint {
            let failures = self.failures.lock();
            let mut failures = failures.unwrap_or_else(PoisonError::into_inner);
            *failures.entry(stage).or_default() += 1;
        }
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble
            .as_ref()
            .is_none_or(|known| known.complaint != news.complaint)
        {
            tracing::warn!(error = news.reason, "the Kafka client reports trouble");
        }
        *trouble = Some(news);
    }

    fn forget_trouble(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The ear of one client.
#[derive(Debug)]
pub(super) struct Watch {
    record: Arc<Record>,
    settings: Arc<Settings>,
    connected: AtomicBool,
    broken: AtomicBool,
    /// How many connections each broker had seen when it was last up, since any was.
    seen: Mutex<HashMap<String, u64>>,
    progress: Mutex<Progress>,
}

impl Watch {
    pub(super) fn new(settings: Arc<Settings>, record: Arc<Record>) -> Self {
        Self {
            record,
            settings,
            connected: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            seen: Mutex::default(),
            progress: Mutex::default(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Whether this client is of no use any more.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Gives the client up: it will be replaced.
    pub(super) fn give_up(&self, reason: &str) {
        if !self.broken.swap(true, Ordering::Relaxed) {
            tracing::error!(reason, "the Kafka client is of no more use and is replaced");
        }
        self.connected.store(false, Ordering::Relaxed);
    }

    fn set_connected(&self, connected: bool) {
        if self.is_connected() == connected
            || self.connected.swap(connected, Ordering::Relaxed) == connected
        {
            return;
        }
        if connected {
            self.record.forget_trouble();
            // The first one of the sink's life is no reconnect; the first one of a client that
            // replaced another is.
            if self.record.ever_connected.swap(true, Ordering::Relaxed) {
                self.record.reconnects.fetch_add(1, Ordering::Relaxed);
            }
            // Whatever led here is counted with that.
            self.seen().clear();
            tracing::info!(brokers = %self.settings.brokers, "connected to Kafka");
        } else {
            tracing::warn!(brokers = %self.settings.brokers, "no Kafka broker is connected");
        }
    }

    /// Takes over what the client says of its brokers. One that connects anew while others stay
    /// connected is a reconnect as well.
    fn look_at(&self, brokers: &HashMap<String, Broker>) {
        self.set_connected(!self.is_broken() && brokers.values().any(Broker::is_up));
        let mut seen = self.seen();
        for (name, broker) in brokers.iter().filter(|(_, broker)| broker.is_up()) {
            let before = seen.insert(name.clone(), broker.connects);
            if before.is_some_and(|before| broker.connects > before) {
                self.record.reconnects.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What is to be told of a message for this partition that failed.
    fn undelivered(&self, code: RDKafkaErrorCode, topic: &str, partition: i32) -> Undelivered {
        let mut undelivered = Undelivered::from(code);
        if code == RDKafkaErrorCode::MessageTimedOut && self.is_connected() {
            // What was well in its first half may have been the end of what went before. In less than
            // three seconds the statistics, which come each second, may say nothing of anybody.
            let now = Instant::now();
            let lately = (self.settings.publish_timeout / 2).max(Duration::from_secs(3));
            let since = now.checked_sub(lately);
            let progress = self.progress.lock();
            let progress = progress.unwrap_or_else(PoisonError::into_inner);
            let blame = since.and_then(|since| progress.blame((topic, partition), (since, now)));
            undelivered.blame = blame;
        }
        undelivered
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Watch {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if let Some(reason) = closed_for_want_of_tls(line) {
            let code = RDKafkaErrorCode::BrokerTransportFailure;
            self.record.note_trouble(code, reason);
        }
        log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else {
            return;
        };
        self.look_at(&statistics.brokers);
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.follow(statistics, Instant::now());
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match code_of(&error) {
            RDKafkaErrorCode::Fatal => self.give_up(reason),
            RDKafkaErrorCode::AllBrokersDown => self.set_connected(false),
            code => self.record.note_trouble(code, reason),
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        oauth_token(&self.settings)
    }
}

impl ProducerContext for Watch {
    type DeliveryOpaque = Box<Waiting>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let report = match result {
            Ok(_) => {
                self.set_connected(true);
                Ok(())
            }
            Err((error, message)) => {
                let (topic, partition) = (message.topic(), message.partition());
                Err(self.undelivered(code_of(error), topic, partition))
            }
        };
        if let Err(undelivered) = &report
            && undelivered.code == RDKafkaErrorCode::Fatal
        {
            self.give_up("a message failed with a fatal error");
        }
        let Waiting {
            report: waiting,
            room,
        } = *waiting;
        drop(room);
        // An error here means that the publish was given up: nobody wants to know any more.
        let _ = waiting.send(report);
    }
}

/// The ear of a short-lived client: for an administrator's request or a follower.
#[derive(Debug)]
pub(super) struct Quiet(pub(super) Arc<Settings>);

impl ClientContext for Quiet {
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

impl rdkafka::consumer::ConsumerContext for Quiet {}

/// What a line tells of a connection that the broker closed because it expected TLS, beginning with
/// the broker: the client's thread stands before it. No error is reported for it.
fn closed_for_want_of_tls(line: &str) -> Option<&str> {
    let reason = line.split_once("]: ").map_or(line, |(_, reason)| reason);
    let is_closed = reason.contains("Disconnected") && reason.contains("in state APIVERSION_QUERY");
    (is_closed && !is_over_tls(reason)).then_some(reason)
}

fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{line}");
        }
        _ => tracing::debug!(target: "librdkafka", facility, "{line}"),
    }
}

fn oauth_token(settings: &Settings) -> Result<OAuthToken, Box<dyn Error>> {
    match &settings.login {
        Some(Login::OauthBearer { token }) => {
            let token = Token::read(token)?;
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
    use std::time::Duration;

    use futures_util::future::join_all;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;
    use crate::sink::kafka::line::Batching;
    use crate::sink::kafka::room::Queue;

    fn up(name: &str, connects: u64) -> (String, Broker) {
        let text = format!(r#"{{"state":"UP","source":"learned","connects":{connects}}}"#);
        let broker = serde_json::from_str(&text).expect("a broker");
        (name.to_owned(), broker)
    }

    #[test]
    fn only_connections_after_the_first_are_reconnects() {
        let record = Arc::new(Record::default());
        let watch = || Watch::new(Arc::new(Settings::new("b:9092")), Arc::clone(&record));
        let first = watch();
        first.look_at(&HashMap::from([up("a", 1)]));
        first.look_at(&HashMap::from([up("a", 1), up("b", 1)]));
        assert_eq!(record.reconnects(), 0);
        first.look_at(&HashMap::from([up("a", 2), up("b", 1)]));
        assert_eq!(record.reconnects(), 1);
        watch().look_at(&HashMap::from([up("a", 1)]));
        assert_eq!(record.reconnects(), 2, "a client that replaced another");
        first.look_at(&HashMap::new());
        first.look_at(&HashMap::from([up("c", 3)]));
        assert_eq!(record.reconnects(), 3, "known by another name before");
        // The statistics come once a second: an outage may lie between two of them.
        first.set_connected(false);
        first.set_connected(true);
        first.look_at(&HashMap::from([up("c", 4)]));
        assert_eq!(record.reconnects(), 4, "seen by the deliveries alone");
    }

    #[test]
    fn a_connection_that_fails_is_counted_by_its_stage_and_is_news_once() {
        let record = Record::default();
        let refused = "ssl://b:9092/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: verify that ssl.ca.location is correctly configured (after 4ms in state SSL_HANDSHAKE)";
        let again = "ssl://b:9092/bootstrap: error:0A000086:SSL routines::certificate verify failed (after 12ms in state SSL_HANDSHAKE)";
        record.note_trouble(RDKafkaErrorCode::SSL, refused);
        let told = record.trouble();
        record.note_trouble(RDKafkaErrorCode::BrokerTransportFailure, again);
        assert_eq!(record.trouble(), told, "one thing, said in two ways");
        let connect = "b:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)";
        record.note_trouble(RDKafkaErrorCode::BrokerTransportFailure, connect);
        let told = record.trouble().expect("some");
        assert_eq!(told.reason, connect);
        record.note_trouble(
            RDKafkaErrorCode::BrokerTransportFailure,
            "b: Disconnected (after 9ms in state UP)",
        );
        let counts: Vec<u64> = record.failures().into_values().collect();
        assert_eq!(counts, [0, 1, 2, 0], "lookup, connect, tls, login");
    }

    /// A cluster in memory with two topics, and a client of it.
    struct Cluster {
        mock: MockCluster<'static, DefaultProducerContext>,
        client: ThreadedProducer<Watch>,
        queue: Queue,
    }

    impl Cluster {
        fn new() -> Self {
            let mock = MockCluster::new(3).expect("a cluster");
            for topic in ["ill", "well"] {
                mock.create_topic(topic, 2, 3).expect("created");
            }
            let mut settings = Settings::new(&mock.bootstrap_servers());
            settings.publish_timeout = Duration::from_secs(4);
            let watch = Watch::new(Arc::new(settings.clone()), Arc::default());
            let config = settings.producer(Batching::Many);
            Self {
                mock,
                client: config.create_with_context(watch).expect("a client"),
                queue: Queue::of(100, 1 << 20),
            }
        }

        async fn send(&self, topic: &str, number: u8) -> Report {
            let (report, waiting) = oneshot::channel();
            let room = self.queue.room(1).await;
            let key = number.to_string();
            let record = BaseRecord::with_opaque_to(topic, Box::new(Waiting { report, room }));
            let record = record.key(&key).payload("x");
            let sent = self.client.send(record).map_err(|(error, _)| error);
            sent.expect("there is room");
            waiting.await.expect("a report")
        }

        async fn send_all(&self, topic: &str) -> Vec<Report> {
            join_all((0..20).map(|number| self.send(topic, number))).await
        }

        async fn are_blamed(&self, topic: &str, why: &str) {
            for report in self.send_all(topic).await {
                let undelivered = report.expect_err("nobody takes it");
                assert_eq!(undelivered.code, RDKafkaErrorCode::MessageTimedOut);
                let blame = undelivered.blame.expect("the cluster answers");
                assert!(blame.contains(why), "{blame}");
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
            assert_eq!(undelivered.blame, None);
        }
    }

    #[test]
    fn the_internal_broker_is_no_connection() {
        let watch = Watch::new(Arc::new(Settings::new("b:9092")), Arc::default());
        watch.stats_raw(br#"{"name":"x","brokers":{":0/internal":{"state":"UP","source":"internal","connects":0},"a":{"state":"DOWN","source":"configured","connects":3}}}"#);
        assert!(!watch.is_connected());
        watch.stats_raw(br#"{"brokers":{"a":{"state":"UP","source":"configured","connects":4}}}"#);
        assert!(watch.is_connected());
    }
}
