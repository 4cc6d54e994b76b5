//! What the file says: plain data that mirrors the TOML, every key optional. The doc comments are
//! the descriptions of the JSON Schema.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::value::{ByteSize, SecretReference, TimeSpan};
use crate::source::AnswerForm;

/// When a delivery is answered 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledge {
    /// Once the event is on the disk, whatever the broker does.
    Spooled,
    /// Once every sink has confirmed it.
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
    /// When a delivery is answered 200. Default: `"spooled"`.
    pub acknowledge: Option<Acknowledge>,
    /// How long a delivery may wait for that before it is answered 503. Default: `"10s"`.
    pub acknowledge_timeout: Option<TimeSpan<100>>,
    /// What happens to an event that was accepted before. Default: `"suppress"`.
    pub duplicates: Option<DuplicatesFile>,
    /// How long after its own time (`triggered_at`) an event's id is remembered. Default: `"24h"`.
    pub duplicate_window: Option<TimeSpan<1000>>,
    /// How long stopping may take. Default: `"10s"`.
    pub shutdown_timeout: Option<TimeSpan<1000>>,
    /// How often to look whether this file, or one that it names, has changed; what two looks in a
    /// row have found is taken over as at a `SIGHUP`. For where files change and nobody sends a
    /// signal, such as mounted secrets. Default: never, only at `SIGHUP`.
    pub reload_interval: Option<TimeSpan<1000>>,
}

/// Where a client's address stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OriginFile {
    /// In the connection.
    Peer,
    /// In the header `Forwarded` (RFC 7239), where a trusted proxy has written it.
    Forwarded,
    /// In the header `X-Forwarded-For`, where a trusted proxy has written it.
    XForwardedFor,
}

/// The public listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IngressFile {
    /// The address webhooks are received at. Default: `"0.0.0.0:8080"`.
    pub listen: Option<SocketAddr>,
    /// The largest body accepted, at most `"64MiB"`; larger ones are answered 413. Default:
    /// `"1MiB"`.
    pub max_body: Option<ByteSize<1024>>,
    /// How long a request's head may take, from its first byte on. Default: `"5s"`.
    pub head_timeout: Option<TimeSpan<100>>,
    /// How long a request's body may take. Default: `"10s"`.
    pub body_timeout: Option<TimeSpan<100>>,
    /// How long an idle connection is kept, also before its first request. Default: `"75s"`.
    pub keep_alive: Option<TimeSpan<100>>,
    /// The most requests answered at once; beyond it they are answered 503. Default: `4096`.
    pub max_in_flight: Option<usize>,
    /// The most memory that the bodies of requests take together, as they arrive; beyond it
    /// requests are answered 503. An eighth of it is for bodies of at most 64 KiB alone. At least
    /// the largest `max_body`, those of sources included. Default: `"256MiB"`.
    pub max_body_memory: Option<ByteSize>,
    /// A path, such as `"/healthz"`, at which `GET` and `HEAD` answer a load balancer 200 while
    /// deliveries are taken and 503 while not, as `/readyz` does for operators. Neither `allow` nor
    /// a rate limit holds there. Default: none.
    pub health_path: Option<String>,
    /// The most requests a second from one client address, or from one /64 network of IPv6 (and 64
    /// times as many from one /48); as many may come at once. Beyond it they are answered 429.
    /// Default: no limit.
    pub rate_limit_per_address: Option<u32>,
    /// The networks (`"10.0.0.0/8"`, `"2001:db8::/32"`) and addresses that requests are taken from;
    /// others are answered 403. Default: everybody.
    pub allow: Option<Vec<String>>,
    /// Where a client's address stands. Default: `"peer"`.
    pub client_address: Option<OriginFile>,
    /// The networks and addresses of the proxies whose word about a client's address counts, in a
    /// header or by the PROXY protocol. Default: none.
    pub trusted_proxies: Option<Vec<String>>,
    /// Whether only trusted proxies may connect, each connection beginning with a PROXY header
    /// (version 1 or 2) that names the client. Default: `false`.
    pub proxy_protocol: Option<bool>,
    /// TLS. Default: none, plain HTTP.
    pub tls: Option<IngressTlsFile>,
}

/// TLS on the public listener; without this table it speaks plain HTTP. A reload takes over renewed
/// files.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IngressTlsFile {
    /// PEM: the bridge's certificate, and after it those that vouch for it. Required.
    pub certificate_file: Option<PathBuf>,
    /// PEM: the certificate's private key, not encrypted: RSA (2048 to 8192 bits), ECDSA (P-256, P-384) or
    /// Ed25519. It may be the same file. Required.
    pub key_file: Option<PathBuf>,
    /// PEM: the authorities that vouch for senders; without it nobody is asked for a certificate.
    /// Default: none.
    pub client_ca_file: Option<PathBuf>,
    /// Whether senders must show a certificate; only with `client_ca_file`. Default: `"required"`.
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
    /// The address at which the operators' page, metrics, health, topics and the spool are served. Any
    /// other than loopback needs a `token`. Default: `"127.0.0.1:8081"`.
    pub listen: Option<SocketAddr>,
    /// The token that every request must show, as `Authorization: Bearer …`: at least 16
    /// characters, such as `openssl rand -hex 32` makes. Whether one is asked for is settled at the
    /// start. Default: none, on loopback alone.
    pub token: Option<SecretReference>,
    /// The names and addresses that the listener is asked by, without port, besides those of the
    /// loopback and the address that a connection came to. Under any other name it answers 421, so
    /// that no page of another site can read it by letting its own name lead here. Default: none.
    pub hosts: Option<Vec<String>>,
}

/// A listener for scrapers and probes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricsFile {
    /// The address at which `/metrics`, `/livez` and `/readyz` are served, and nothing else,
    /// without a token and by whatever name; the operators' listener has them all the same.
    /// Default: none.
    pub listen: Option<SocketAddr>,
}

/// The least size of a spool in bytes: four segments of 1 MiB, which is the smallest there is, and as
/// much again for spare ones, dead letters, and what is kept after damage.
const LEAST_SPOOL_BYTES: u64 = 8 << 20;

/// The spool: where accepted events wait for their sinks. `spool = "memory"`, above all tables, is
/// short for this table with `path = "memory"`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpoolFile {
    /// The folder, for the spool alone. It is made where it is missing; the folder around it must
    /// exist, be writable, and outlive the program. `"memory"` is no folder: the spool ends with the
    /// program, which goes only with `acknowledge = "delivered"`. Default:
    /// `"/var/lib/hookferry/spool"`.
    pub path: Option<PathBuf>,
    /// The most events and dead letters it holds; beyond it deliveries are answered 503. Default:
    /// `1000000`.
    pub max_events: Option<u64>,
    /// The most bytes its files may have, those of dead letters and damaged ones included; at least
    /// four segments and two deliveries of the largest `max_body`. Beyond it deliveries are answered
    /// 503. Default: `"4GiB"`.
    pub max_size: Option<ByteSize<LEAST_SPOOL_BYTES>>,
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

/// The log, to standard error. Nothing waits for it: where nobody reads it, lines are dropped and
/// counted (`log_lines_dropped_total`), and once somebody does, a line says how many.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    /// How lines are written. Default: `"text"`.
    pub format: Option<LogFormat>,
    /// A level, or a filter such as `"info,hookferry::sink=debug"`. A plain level is the bridge's
    /// own; of libraries only warnings and errors are logged, unless they are named
    /// (`"info,librdkafka=debug"`). Default: `"info"`.
    pub filter: Option<String>,
}

/// What a delivery is answered that no secret has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MismatchFile {
    /// 401.
    Reject,
    /// 503, so that a sender comes again that gives up at a 401: for the time of a rotation.
    Retry,
}

/// A source of webhooks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// Who sends: the name of a provider that is built in, such as `"onecodex"`, or of a table
    /// `[provider.NAME]`. `hookferry config providers` lists all. Required.
    pub provider: Option<String>,
    /// The 1 to 4 secrets, tokens or public keys its deliveries may be proven with; several during a
    /// rotation. How they are written is the provider's `key`. Required.
    pub secrets: Option<Vec<SecretReference>>,
    /// The webhook's URL as its sender knows it, without the query: of a provider that signs the URL.
    /// Required, where it is signed.
    pub url: Option<String>,
    /// The secret that a handshake of the provider asks for; without it the handshake is refused.
    /// Default: none.
    pub verify: Option<SecretReference>,
    /// How far a signature's timestamp may be from now, on both sides. With a spool on the disk and
    /// `duplicates = "suppress"`, a delivery may be later than that, by as long as its event is
    /// remembered: `duplicate_window`. Default: `"300s"`.
    pub tolerance: Option<TimeSpan<1000>>,
    /// Whether messages carry the signature header as `hookferry-signature`: whoever reads them can
    /// send the delivery again with it. `false` keeps it out of the spool too, and counts for what
    /// is accepted from then on. Default: `true`.
    pub forward_signature: Option<bool>,
    /// Headers of the request that the message carries besides, under their own names in lower case;
    /// at most 16. Not those that the bridge writes itself (`content-type`, `traceparent`,
    /// `tracestate`, `ce-…`, `hookferry-…`) or that hold a secret or the signature. Default: none.
    pub headers: Option<Vec<String>>,
    /// The event types with topics of their own; all others go to the catch-all. Not `other` or
    /// `quarantine`, whose names the catch-alls have. Default: those of the provider, of One Codex
    /// `sample.uploaded`, `analysis.succeeded`, `analysis.failed`.
    pub event_types: Option<Vec<String>>,
    /// The CloudEvents `source` of its events. Default: the provider's, of One Codex
    /// `"https://app.onecodex.com"`.
    pub uri: Option<String>,
    /// The largest body that is taken of this source, at most `"64MiB"`; larger ones are answered 413.
    /// Default: `ingress.max_body`.
    pub max_body: Option<ByteSize<1024>>,
    /// What the body of a 200 is. Default: the provider's, of One Codex `"json"`.
    pub answer: Option<AnswerForm>,
    /// What a delivery is answered that no secret has signed. Default: `"reject"`.
    pub on_mismatch: Option<MismatchFile>,
    /// The most deliveries a second whose signature is right; as many may come at once. Beyond it
    /// they are answered 429. Default: no limit.
    pub rate_limit: Option<u32>,
    /// How what no delivery has brought is fetched from the provider's own record of its events.
    /// Default: it is not.
    pub recovery: Option<RecoveryFile>,
}

/// Gap recovery (backfill): at the start, after an outage and every so often the provider's own record of
/// its events is asked for what was missed, and what the spool does not know by its id is accepted as a
/// delivery is; or, of GitHub, delivered again. Needs a spool on the disk; and for One Codex a
/// `duplicate_window` that is no shorter than `look_back`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveryFile {
    /// The key of the provider's API; it may be the webhook's secret. Of GitHub a token that may read and
    /// write the hook. Required.
    pub key: Option<SecretReference>,
    /// Where the API is, `https`. Of GitHub the hook's URL in the API, such as
    /// `"https://api.github.com/repos/OWNER/REPO/hooks/ID"`. Default: of One Codex
    /// `"https://app.onecodex.com"`; of GitHub it is required.
    pub url: Option<String>,
    /// How often the record is asked for what failed. Default: `"15m"`.
    pub every: Option<TimeSpan<1000>>,
    /// How often it is asked for everything; of GitHub it always is. Default: `"24h"`.
    pub audit: Option<TimeSpan<1000>>,
    /// How old an event may be. Default: for as long as the provider keeps its record: of One Codex
    /// `"30d"`, of GitHub `"3d"`.
    pub look_back: Option<TimeSpan<60_000>>,
    /// Events that were triggered less long ago are left alone, because they may still be delivered.
    /// Default: `"10m"`.
    pub younger_than: Option<TimeSpan<0>>,
    /// Only these event types are fetched. Default: all.
    pub event_types: Option<Vec<String>>,
    /// PEM: the authorities that vouch for the API. Default: the system's.
    pub ca_file: Option<PathBuf>,
}

/// The keys every sink has besides its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkFile {
    /// The broker's kind: `"kafka"`, `"rabbitmq"` or `"store"`. Required.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The most publishes outstanding, 1 to 100000. Default: `1024`.
    pub max_in_flight: Option<usize>,
    /// The longest delay between two tries. The first is a hundredth of it, but at least `"100ms"`,
    /// and each doubles the one before. Default: `"10s"`.
    pub retry_delay_max: Option<TimeSpan>,
}

/// A route: which sinks the events of a source go to. Of each source, one route must take what no other
/// does: one without `event_types` and `when`. Where that one has `drop = true`, another must lead to a
/// sink, for quarantined deliveries are never dropped.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteFile {
    /// The source whose events take it. Required.
    pub source: Option<String>,
    /// The sinks they go to. Required but where `drop = true`.
    pub sinks: Option<Vec<String>>,
    /// Whether its events are answered 200 and not kept, instead of `sinks`: those that no route
    /// with sinks and a condition takes. They are counted (`events_dropped_total`). Default:
    /// `false`.
    pub drop: Option<bool>,
    /// Only these event types. Default: all, and quarantined deliveries.
    pub event_types: Option<Vec<String>>,
    /// Only where each of these templates gives one of its texts, such as
    /// `{ "{/repository/id}" = ["42"], "{header.x-github-event}" = ["push"] }`. There are
    /// `{header.NAME}`, `{query.NAME}`, `{item.NAME}` (of the signature header) and
    /// `{/json/pointer}` (RFC 6901); what is not there equals nothing. Default: no condition.
    pub when: Option<BTreeMap<String, Vec<String>>>,
}
