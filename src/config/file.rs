//! What the file says: plain data that mirrors the TOML, every key optional. The doc comments are
//! the descriptions of the JSON Schema.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema};
use serde::Deserialize;

use super::kafka::KafkaFile;
use super::rabbitmq::RabbitMqFile;
use super::spool::LEAST_SPOOL_BYTES;
use super::store::StoreFile;
use super::trace::TraceFile;
use super::value::{SecretReference, Size, Span};

/// When a delivery is answered 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledge {
    /// Once the event is on the disk, whatever the broker does.
    Spooled,
    /// Once the broker has confirmed it.
    Delivered,
}

/// What happens to an event that was accepted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DuplicatesFile {
    /// Answered 200, not published again.
    Suppress,
    /// Published again, with the same id.
    Forward,
}

/// The keys above all tables.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopFile {
    /// When a delivery is answered 200: "spooled" (default: the event is on the disk) or "delivered" (the broker has confirmed it).
    pub acknowledge: Option<Acknowledge>,
    /// How long a delivery may wait for that before it is answered 503, at least "100ms" (default "10s").
    pub acknowledge_timeout: Option<Span<100>>,
    /// What happens to an event that was accepted before: "suppress" (default) or "forward".
    pub duplicates: Option<DuplicatesFile>,
    /// How long after its own time an event is remembered, at least "1s" (default "24h").
    pub duplicate_window: Option<Span<1000>>,
    /// How long stopping may take, at least "1s" (default "10s").
    pub shutdown_timeout: Option<Span<1000>>,
    /// How often to look whether this file, or one that it names, has changed; what two looks in a row have found is taken over as at a SIGHUP. At least "1s" (default: never).
    pub reload_interval: Option<Span<1000>>,
}

/// Where a client's address stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OriginFile {
    /// In the connection.
    Peer,
    /// In the header `Forwarded` (RFC 7239).
    Forwarded,
    /// In the header `X-Forwarded-For`.
    XForwardedFor,
}

/// The public listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IngressFile {
    /// Where webhooks are received (default "0.0.0.0:8080").
    pub listen: Option<SocketAddr>,
    /// The largest body taken, at least "1KiB" (default "1MiB").
    pub max_body: Option<Size<1024>>,
    /// How long a request's head may take, at least "100ms" (default "5s").
    pub head_timeout: Option<Span<100>>,
    /// How long a request's body may take, at least "100ms" (default "10s").
    pub body_timeout: Option<Span<100>>,
    /// How long an idle connection is kept, at least "100ms" (default "75s").
    pub keep_alive: Option<Span<100>>,
    /// The most connections at once (default 10000).
    pub max_connections: Option<usize>,
    /// Threads that receive (default: one per processor).
    pub workers: Option<usize>,
    /// The most requests answered at once (default 4096); beyond it they are answered 503.
    pub max_in_flight: Option<usize>,
    /// The most memory that the bodies of requests take together (default "256MiB"), as they arrive; beyond it requests are answered 503.
    pub max_body_memory: Option<Size>,
    /// A path at which GET answers a load balancer 200 while deliveries are taken, and 503 while not (default: none).
    pub health_path: Option<String>,
    /// The most requests a second from one client address, or from the /64 network of an IPv6 address (from a /48, 64 times as many); beyond it they are answered 429 (default: no limit).
    pub rate_limit_per_address: Option<u32>,
    /// The networks and addresses that requests are taken from; others are answered 403 (default: all).
    pub allow: Option<Vec<String>>,
    /// Where a client's address stands: "peer" (default: in the connection), or "forwarded" or "x_forwarded_for": in that header, where a trusted proxy has written it.
    pub client_address: Option<OriginFile>,
    /// The networks and addresses of the proxies whose word about a client's address counts, in a header or by the PROXY protocol.
    pub trusted_proxies: Option<Vec<String>>,
    /// Whether every connection comes from a trusted proxy and begins with a PROXY header, version 1 or 2 (default false).
    pub proxy_protocol: Option<bool>,
    /// TLS (default: none, plain HTTP).
    pub tls: Option<IngressTlsFile>,
}

/// TLS on the public listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IngressTlsFile {
    /// A PEM file: the certificate of this bridge, and after it those that vouch for it.
    pub certificate_file: Option<PathBuf>,
    /// A PEM file: its private key, not encrypted. It may be the same file.
    pub key_file: Option<PathBuf>,
    /// A PEM file: the authorities that vouch for senders.
    pub client_ca_file: Option<PathBuf>,
    /// Whether senders must show a certificate: "required" (default, where `client_ca_file` is named) or "optional".
    pub client_certificates: Option<ClientCertificates>,
}

/// Whether senders must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// Whoever shows none is turned away.
    Required,
    /// Who shows none is served; who shows one that nobody vouches for is turned away.
    Optional,
}

/// The operators' listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminFile {
    /// Where metrics, health, topics and the spool are served (default "127.0.0.1:8081"). Any other address than loopback needs a token.
    pub listen: Option<SocketAddr>,
    /// The token that every request must show, as `Authorization: Bearer …`: at least 16 characters (default: none, on loopback alone).
    pub token: Option<SecretReference>,
    /// The names and addresses that the listener is asked by, besides those of the loopback and the address that a connection came to (default: none).
    pub hosts: Option<Vec<String>>,
}

/// The listener for scrapers and probes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricsFile {
    /// Where `/metrics`, `/livez` and `/readyz` are served, and nothing else, without a token (default: only where admin.listen is).
    pub listen: Option<SocketAddr>,
}

/// The spool's place and bounds.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpoolFile {
    /// The folder (default "/var/lib/hookferry/spool"). It is made where it is missing; the folder around it must be there, and writable.
    pub path: Option<PathBuf>,
    /// Whether it is kept in memory instead, which needs `acknowledge = "delivered"` and no path (default false).
    pub in_memory: Option<bool>,
    /// The most events and dead letters it holds (default 1000000); beyond it deliveries are answered 503.
    pub max_events: Option<u64>,
    /// The most bytes its files may have, those of dead letters and what is kept after damage included; at least "8MiB" (default "4GiB"). Beyond it deliveries are answered 503.
    pub max_size: Option<Size<LEAST_SPOOL_BYTES>>,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    /// "text" (default) or "json".
    pub format: Option<LogFormat>,
    /// A level, or a filter such as "info,hookferry::sink=debug" (default "info"). A plain level is the bridge's own; libraries log warnings and errors unless they are named.
    pub filter: Option<String>,
}

/// A source of webhooks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// The provider: "onecodex".
    pub provider: Option<String>,
    /// The secrets its deliveries may be signed with, 1 to 4; several during a rotation.
    pub secrets: Option<Vec<SecretReference>>,
    /// How far a signature's timestamp may be from now, on both sides; at least "1s" (default "300s"). Where the spool is a folder and duplicates are suppressed, a delivery may be later than that, for as long as its event would be remembered: `duplicate_window`.
    pub tolerance: Option<Span<1000>>,
    /// Whether messages carry the signature header as received (default true). Whoever reads them can send the delivery again with it.
    pub forward_signature: Option<bool>,
    /// The event types with topics of their own (default: those the provider documents); all others go to the catch-all.
    pub event_types: Option<Vec<String>>,
    /// The CloudEvents `source` of its events (default: the provider's address).
    pub uri: Option<String>,
    /// The most deliveries a second; beyond it they are answered 429 (default: no limit).
    pub rate_limit: Option<u32>,
}

/// The keys every sink has besides its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkFile {
    /// "kafka", "rabbitmq" or "store".
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The most publishes outstanding (default 1024).
    pub max_in_flight: Option<usize>,
    /// The delay after a first failure (default "100ms"); it doubles from there.
    pub retry_delay: Option<Span>,
    /// The longest delay between two tries (default "10s").
    pub retry_delay_max: Option<Span>,
}

/// A route.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteFile {
    /// The source whose events take it.
    pub source: Option<String>,
    /// The sinks they go to.
    pub sinks: Option<Vec<String>>,
    /// Only these event types (default: all, and quarantined deliveries).
    pub event_types: Option<Vec<String>>,
}

/// The whole file, for the JSON Schema.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Hookferry configuration")]
#[allow(
    dead_code,
    reason = "only its schema is used: the parts are read one by one"
)]
pub(super) struct WholeFile {
    #[serde(flatten)]
    top: TopFile,
    /// The public listener.
    ingress: Option<IngressFile>,
    /// The operators' listener.
    admin: Option<AdminFile>,
    /// The listener for scrapers and probes.
    metrics: Option<MetricsFile>,
    /// The spool: a table, or "memory", which is short for `in_memory = true`.
    spool: Option<SpoolPlace>,
    /// The log.
    log: Option<LogFile>,
    /// The export of traces.
    trace: Option<TraceFile>,
    /// The sources, by name.
    source: BTreeMap<String, SourceFile>,
    /// The sinks, by name.
    sink: BTreeMap<String, AnySinkFile>,
    /// The routes.
    route: Vec<RouteFile>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "as above")]
enum SpoolPlace {
    Table(SpoolFile),
    Memory(Memory),
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "as above")]
enum Memory {
    Memory,
}

#[derive(JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[schemars(transform = add_common_keys)]
#[allow(dead_code, reason = "as above")]
enum AnySinkFile {
    Kafka(KafkaFile),
    RabbitMq(RabbitMqFile),
    Store(StoreFile),
}

/// Every sink has [`SinkFile`]'s keys too; `type` is the tag already.
fn add_common_keys(schema: &mut Schema) {
    let common = schemars::schema_for!(SinkFile);
    let keys = common.get("properties").and_then(|value| value.as_object());
    let kinds = schema.ensure_object().get_mut("oneOf");
    let kinds = kinds.and_then(|value| value.as_array_mut());
    for kind in kinds.into_iter().flatten() {
        let Some(properties) = kind.get_mut("properties").and_then(|of| of.as_object_mut()) else {
            continue;
        };
        for (key, value) in keys.into_iter().flatten().filter(|(key, _)| *key != "type") {
            properties.insert(key.clone(), value.clone());
        }
    }
}
