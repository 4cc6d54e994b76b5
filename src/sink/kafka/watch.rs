//! What librdkafka tells us about itself: delivery reports, errors and, once a second, the state of
//! its connections. Its log lines are attempts and go to debug; changes of state are ours to log.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode;
use serde::Deserialize;
use tokio::sync::oneshot;

use super::login::{Login, Token};
use super::settings::Settings;
use super::verdict::code_of;
use crate::sink::Stage;

/// What a delivery report says.
pub(super) type Report = Result<(), RDKafkaErrorCode>;

/// What the client complains of. Two complaints of one kind are one piece of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Complaint {
    /// A connection could not be made, and this is how far it got.
    Unconnected(Stage),
    /// Anything else.
    Other(RDKafkaErrorCode),
}

impl Complaint {
    /// librdkafka says one thing with several codes, and tells the state of the connection only at
    /// the end of the text: "(after 12ms in state SSL_HANDSHAKE)".
    fn of(code: RDKafkaErrorCode, reason: &str) -> Self {
        let state = reason
            .rsplit_once(" in state ")
            .map_or("", |(_, rest)| rest);
        let within = |name: &str| state.starts_with(name);
        match code {
            RDKafkaErrorCode::Resolve => Self::Unconnected(Stage::Lookup),
            RDKafkaErrorCode::Authentication => Self::Unconnected(Stage::Login),
            RDKafkaErrorCode::SSL => Self::Unconnected(Stage::Tls),
            _ if within("SSL_HANDSHAKE") => Self::Unconnected(Stage::Tls),
            // With TLS 1.3 a broker refuses a client's certificate only when the client believes to
            // be through.
            _ if within("APIVERSION_QUERY") && is_over_tls(reason) => Self::Unconnected(Stage::Tls),
            _ if within("AUTH") => Self::Unconnected(Stage::Login),
            _ if within("CONNECT") || within("APIVERSION_QUERY") => {
                Self::Unconnected(Stage::Connect)
            }
            code => Self::Other(code),
        }
    }
}

/// What outlives a single client: the sink's story of its connections.
#[derive(Debug)]
pub(super) struct Record {
    ever_connected: AtomicBool,
    reconnects: AtomicU64,
    failures: Mutex<BTreeMap<Stage, u64>>,
    trouble: Mutex<Option<(Complaint, String)>>,
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
    pub(super) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().map(|(_, reason)| reason.clone())
    }

    /// Keeps the error; logs it when it is another one than before.
    fn note_trouble(&self, code: RDKafkaErrorCode, reason: &str) {
        let complaint = Complaint::of(code, reason);
        if let Complaint::Unconnected(stage) = complaint {
            let failures = self.failures.lock();
            let mut failures = failures.unwrap_or_else(PoisonError::into_inner);
            *failures.entry(stage).or_default() += 1;
        }
        let reason = plainly(reason);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble
            .as_ref()
            .is_none_or(|(known, _)| *known != complaint)
        {
            tracing::warn!(error = reason, "the Kafka client reports trouble");
        }
        *trouble = Some((complaint, reason));
    }

    fn forget_trouble(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// librdkafka begins with the broker: "sasl_ssl://kafka-1:9093/bootstrap: …".
fn is_over_tls(reason: &str) -> bool {
    let scheme = reason.split("://").next();
    matches!(scheme, Some("ssl" | "sasl_ssl"))
}

/// librdkafka hides why a certificate does not hold, and advises to look for the authority's whatever
/// the reason: an operator whose broker's certificate has expired would look in the wrong place.
fn plainly(reason: &str) -> String {
    match reason.split_once(": ") {
        Some((broker, rest)) if rest.contains("certificate verify failed") => format!(
            "{broker}: the broker's certificate does not hold: it has expired, is for another name, or no authority in `tls.ca_file` vouches for it"
        ),
        Some((broker, rest))
            if is_over_tls(reason) && rest.contains("in state APIVERSION_QUERY") =>
        {
            format!(
                "{broker}: the broker does not take the client certificate, or wants one: {rest}"
            )
        }
        _ => reason.to_owned(),
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
    /// The topics with a partition whose leader is away, or that has none.
    leaderless: Mutex<HashSet<String>>,
}

impl Watch {
    pub(super) fn new(settings: Arc<Settings>, record: Arc<Record>) -> Self {
        Self {
            record,
            settings,
            connected: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            seen: Mutex::default(),
            leaderless: Mutex::default(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Whether some of this topic had no leader that answers when the client last told.
    pub(super) fn is_without_leader(&self, topic: &str) -> bool {
        let leaderless = self.leaderless.lock();
        leaderless
            .unwrap_or_else(PoisonError::into_inner)
            .contains(topic)
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

    fn look_at_topics(&self, Statistics { brokers, topics }: Statistics) {
        let up = brokers.values().filter(|broker| broker.is_up());
        let up: HashSet<i32> = up.filter_map(|broker| broker.nodeid).collect();
        let without = topics.into_iter().filter(|(_, topic)| topic.lacks(&up));
        let without = without.map(|(name, _)| name).collect();
        let mut leaderless = self
            .leaderless
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *leaderless = without;
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of librdkafka's statistics that is read (`STATISTICS.md`, "brokers" and "topics").
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: HashMap<String, Broker>,
    #[serde(default)]
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Topic {
    #[serde(default)]
    partitions: HashMap<String, Partition>,
}

#[derive(Deserialize)]
struct Partition {
    partition: i32,
    leader: i32,
}

impl Topic {
    /// Whether a partition has none of these leaders. Partition -1 is where messages wait until theirs
    /// is known, and never has one.
    fn lacks(&self, leaders: &HashSet<i32>) -> bool {
        let mut partitions = self.partitions.values();
        partitions.any(|it| it.partition >= 0 && !leaders.contains(&it.leader))
    }
}

#[derive(Deserialize)]
struct Broker {
    state: String,
    source: String,
    connects: u64,
    nodeid: Option<i32>,
}

impl Broker {
    /// The client's own "internal" broker is always up and means nothing.
    fn is_up(&self) -> bool {
        self.state == "UP" && matches!(self.source.as_str(), "learned" | "configured")
    }
}

impl ClientContext for Watch {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else {
            return;
        };
        self.look_at(&statistics.brokers);
        self.look_at_topics(statistics);
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
    type DeliveryOpaque = Box<oneshot::Sender<Report>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let report = match result {
            Ok(_) => {
                self.set_connected(true);
                Ok(())
            }
            Err((error, _)) => Err(code_of(error)),
        };
        if report == Err(RDKafkaErrorCode::Fatal) {
            self.give_up("a message failed with a fatal error");
        }
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
    use super::*;

    fn up(name: &str, connects: u64) -> (String, Broker) {
        let broker = Broker {
            state: "UP".to_owned(),
            source: "learned".to_owned(),
            connects,
            nodeid: None,
        };
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
        let told = told.expect("some");
        assert!(
            told.starts_with("ssl://b:9092/bootstrap: the broker's certificate"),
            "{told}"
        );
        let connect = "b:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)";
        record.note_trouble(RDKafkaErrorCode::BrokerTransportFailure, connect);
        assert_eq!(record.trouble().as_deref(), Some(connect));
        let resolve = "b:9092/bootstrap: Failed to resolve 'b:9092': Name or service not known (after 1ms in state CONNECT)";
        record.note_trouble(RDKafkaErrorCode::Resolve, resolve);
        record.note_trouble(
            RDKafkaErrorCode::Authentication,
            "b: SASL authentication error (after 3ms in state AUTH_REQ)",
        );
        record.note_trouble(
            RDKafkaErrorCode::BrokerTransportFailure,
            "b: Disconnected (after 9ms in state UP)",
        );
        let unwelcome = "sasl_ssl://b:9093/bootstrap: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert number 42 (after 2ms in state APIVERSION_QUERY)";
        record.note_trouble(RDKafkaErrorCode::BrokerTransportFailure, unwelcome);
        let told = record.trouble().expect("some");
        assert!(
            told.contains("does not take the client certificate"),
            "{told}"
        );
        let version = "b:9092/bootstrap: Disconnected (after 2ms in state APIVERSION_QUERY)";
        record.note_trouble(RDKafkaErrorCode::BrokerTransportFailure, version);
        let counts: Vec<u64> = record.failures().into_values().collect();
        assert_eq!(counts, [1, 2, 3, 1], "lookup, connect, tls, login");
    }

    #[test]
    fn the_internal_broker_is_no_connection() {
        let watch = Watch::new(Arc::new(Settings::new("b:9092")), Arc::default());
        watch.stats_raw(br#"{"name":"x","brokers":{":0/internal":{"state":"UP","source":"internal","connects":0},"a":{"state":"DOWN","source":"configured","connects":3}}}"#);
        assert!(!watch.is_connected());
        watch.stats_raw(br#"{"brokers":{"a":{"state":"UP","source":"configured","connects":4}}}"#);
        assert!(watch.is_connected());
    }

    #[test]
    fn a_topic_is_without_a_leader_when_one_of_its_own_partitions_is() {
        let watch = Watch::new(Arc::new(Settings::new("b:9092")), Arc::default());
        let tell = |state: &str, leader: i32| {
            let statistics = format!(
                r#"{{"brokers":{{
                    "a":{{"state":"UP","source":"learned","connects":1,"nodeid":1}},
                    "b":{{"state":"{state}","source":"learned","connects":1,"nodeid":2}}
                }},"topics":{{
                    "well":{{"partitions":{{"0":{{"partition":0,"leader":1}},"-1":{{"partition":-1,"leader":-1}}}}}},
                    "other":{{"partitions":{{"0":{{"partition":0,"leader":1}},"1":{{"partition":1,"leader":{leader}}}}}}}
                }}}}"#
            );
            watch.stats_raw(statistics.as_bytes());
            assert!(!watch.is_without_leader("well") && !watch.is_without_leader("unheard of"));
            watch.is_without_leader("other")
        };
        assert!(!tell("UP", 2));
        assert!(tell("TRY_CONNECT", 2), "it is away");
        assert!(tell("UP", -1), "it has none");
        assert!(!tell("TRY_CONNECT", 1), "another one is elected");
    }
}
