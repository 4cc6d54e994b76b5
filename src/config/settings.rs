//! What the program runs on: parsed, complete, and checked against each other.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::file::LogFormat;
use super::ingress_tls::IngressTls;
use super::key_hashes::KeyHashes;
use super::problem::ConfigProblem;
use crate::admin::AccessRules;
use crate::backfill::RecoverySettings;
use crate::ingress::{AddressOrigin, EndpointSettings, IpNet};
use crate::name::{EventType, SinkName, SourceName};
use crate::pipeline::DispatcherSettings;
use crate::sink::kafka::KafkaSettings;
use crate::sink::store::StoreSettings;
use crate::sink::{BrokerTls, rabbitmq};
use crate::source::{FieldTemplate, RetriesName, Source};
use crate::spool::{Milestone, SpoolLocation, SpoolSettings};
use crate::trace::TraceSettings;

/// Everything.
#[derive(Debug)]
pub struct Settings {
    /// When a delivery is answered 200.
    pub milestone: Milestone,
    /// How long a delivery may wait for that.
    pub acknowledge_timeout: Duration,
    /// How long stopping may take.
    pub shutdown_timeout: Duration,
    /// How often to look for a changed configuration; never, where none.
    pub reload_interval: Option<Duration>,
    /// The public listener.
    pub ingress: IngressSettings,
    /// The operators' listener.
    pub admin: AdminSettings,
    /// Where the listener for scrapers and probes is, if there is one.
    pub metrics: Option<SocketAddr>,
    /// The spool.
    pub spool: SpoolSettings,
    /// The log.
    pub log: LogSettings,
    /// Where spans go, if anywhere.
    pub trace: Option<TraceSettings>,
    /// The sources.
    pub sources: Vec<SourceSettings>,
    /// The sinks.
    pub sinks: Vec<SinkSettings>,
    /// The routes.
    pub routes: Vec<RouteSettings>,
    /// What all of this was read from, key by key.
    pub key_hashes: KeyHashes,
    /// What in its secrets may be a mistake; see [`Settings::warnings`].
    pub doubts: Vec<ConfigProblem>,
}

impl Settings {
    /// The folders that the bridge writes to: the spool's and the store's.
    #[must_use]
    pub fn folders(&self) -> Vec<PathBuf> {
        let spool = match &self.spool.location {
            SpoolLocation::Folder(path) => Some(path),
            SpoolLocation::Memory => None,
        };
        let stores = self.sinks.iter().filter_map(|sink| match &sink.kind {
            SinkKind::Store(store) => Some(&store.path),
            _ => None,
        });
        spool.into_iter().chain(stores).cloned().collect()
    }
}

/// The public listener.
#[derive(Debug, Clone)]
pub struct IngressSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// How long a request's head may take.
    pub head_timeout: Duration,
    /// How long a request's body may take.
    pub body_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// Proxies whose word about a client's address counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether they begin each connection with a PROXY header, and nobody else may connect.
    pub proxy_protocol: bool,
    /// What connections are encrypted with, if they are.
    pub tls: Option<IngressTls>,
    /// Who may come, and how much.
    pub guard: GuardSettings,
}

/// The operators' listener.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may ask.
    pub rules: AccessRules,
}

/// Who may come, and how much.
#[derive(Debug, Clone)]
pub struct GuardSettings {
    /// From where; from everywhere, where none.
    pub allow: Option<Vec<IpNet>>,
    /// Where a client's address stands.
    pub origin: AddressOrigin,
    /// The most requests a second from one address.
    pub rate_limit_per_address: Option<NonZeroU32>,
    /// The most requests answered at once.
    pub max_in_flight: usize,
    /// The most bytes of memory that their bodies take together.
    pub max_body_bytes_in_flight: usize,
    /// Where a load balancer asks whether deliveries are taken.
    pub health_path: Option<String>,
}

/// The log.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged, in `tracing`'s filter syntax.
    pub filter: String,
}

/// A source.
#[derive(Debug)]
pub struct SourceSettings {
    /// Its name, provider, secrets and tolerance.
    pub source: Source,
    /// The event types with topics of their own.
    pub event_types: Vec<EventType>,
    /// How its endpoint treats requests.
    pub endpoint: EndpointSettings,
    /// How what it missed is fetched from the provider's record, if it is.
    pub recovery: Option<RecoverySettings>,
}

impl SourceSettings {
    /// Whether a delivery that no secret has signed is lost: its sender sends nothing again after the
    /// answer that it gets.
    #[must_use]
    pub fn loses_mismatches(&self) -> bool {
        match self.source.provider.facts.retries {
            RetriesName::NonSuccess => false,
            RetriesName::ServerErrors => !self.endpoint.retries_mismatch,
            RetriesName::Nothing => true,
        }
    }
}

/// A sink.
#[derive(Debug, Clone)]
pub struct SinkSettings {
    /// Its name.
    pub name: SinkName,
    /// How many publishes may be outstanding, and when a failed one is tried again.
    pub pace: DispatcherSettings,
    /// What it is.
    pub kind: SinkKind,
}

/// What a sink is.
#[derive(Debug, Clone)]
pub enum SinkKind {
    /// Apache Kafka.
    Kafka(Box<KafkaSettings>),
    /// RabbitMQ.
    RabbitMq(Box<rabbitmq::RabbitMqSettings>),
    /// The embedded store.
    Store(StoreSettings),
}

impl SinkKind {
    /// TLS to a broker, where there is some.
    #[must_use]
    pub fn tls(&self) -> Option<&BrokerTls> {
        match self {
            Self::Kafka(kafka) => kafka.tls.as_ref(),
            Self::RabbitMq(rabbit) => Some(&rabbit.tls),
            Self::Store(_) => None,
        }
    }
}

/// A route.
#[derive(Debug, Clone)]
pub struct RouteSettings {
    /// The source whose events take it.
    pub source: SourceName,
    /// The sinks they go to; none where they are dropped.
    pub sinks: Vec<SinkName>,
    /// Whether they are dropped, where no other route takes them to a sink.
    pub drop: bool,
    /// Only these event types.
    pub event_types: Option<HashSet<EventType>>,
    /// Only where all of these hold.
    pub when: Option<Vec<ConditionSettings>>,
}

impl RouteSettings {
    /// Whether it takes every event of its source.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        self.event_types.is_none() && self.when.is_none()
    }
}

/// What a route asks of an event besides its type.
#[derive(Debug, Clone)]
pub struct ConditionSettings {
    /// What is looked at.
    pub template: FieldTemplate,
    /// What it may give.
    pub texts: BTreeSet<String>,
}
