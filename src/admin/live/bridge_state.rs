//! The state of the bridge, as the page shows it: read from the metrics, the spool and the sinks, once
//! a second for all viewers.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::Serialize;

use super::component_status::{ListenerStatus, SinkStatus, SpoolStatus};
use super::metric_sums::MetricSums;
use super::verdict::{SeenProgram, Verdict, verdict};
use crate::admin::access::AccessRules;
use crate::admin::health::HealthState;
use crate::history::{LastRejection, MAX_EVENT_BYTES, Recorder, RejectionCount};
use crate::ingress::{HandlerRules, RequestProblem, usual_cause};
use crate::metrics::Metrics;

/// A state that is no older than this is shown to the next viewer too.
const MAX_AGE: Duration = Duration::from_millis(500);

/// What the state is read from.
#[derive(Debug)]
pub struct ObservedBridge {
    /// The pipeline, the sinks and the metrics.
    pub health: Arc<HealthState>,
    /// The sources.
    pub handler: Arc<ArcSwap<HandlerRules>>,
    /// Whether a token is demanded.
    pub access: Arc<ArcSwap<AccessRules>>,
    /// Where deliveries are received.
    pub ingress: SocketAddr,
}

/// The state that was read last.
#[derive(Debug)]
pub(super) struct StateCache {
    bridge: ObservedBridge,
    last: Mutex<Option<(Instant, Arc<BridgeState>)>>,
}

impl StateCache {
    pub fn of(bridge: ObservedBridge) -> Self {
        Self {
            bridge,
            last: Mutex::default(),
        }
    }

    /// Who may look now.
    pub fn access(&self) -> Arc<AccessRules> {
        self.bridge.access.load_full()
    }

    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.bridge.health.pipeline.recorder
    }

    /// The state now, or of a moment ago.
    pub fn get(&self) -> Arc<BridgeState> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read_at, state)) = &*last
            && read_at.elapsed() < MAX_AGE
        {
            return Arc::clone(state);
        }
        let state = Arc::new(self.bridge.read(Timestamp::now()));
        *last = Some((Instant::now(), Arc::clone(&state)));
        state
    }
}

/// The state of the bridge.
#[derive(Debug, Serialize)]
pub(super) struct BridgeState {
    pub at: Timestamp,
    pub started_at: Timestamp,
    version: &'static str,
    token_demanded: bool,
    verdict: Verdict,
    pub listener: ListenerStatus,
    sources: Vec<SourceState>,
    pub spool: SpoolStatus,
    pub sinks: Vec<SinkStatus>,
    rejections: Vec<RejectionState>,
    memory: MemoryState,
}

#[derive(Debug, Serialize)]
struct SourceState {
    source: String,
    accepted: u64,
    duplicates: u64,
    rejected: u64,
}

#[derive(Debug, Serialize)]
struct RejectionState {
    reason: String,
    count: u64,
    cause: &'static str,
    remedy: &'static str,
    last: Option<ShownRejection>,
}

#[derive(Debug, Serialize)]
struct ShownRejection {
    at: Timestamp,
    source: String,
    address: Option<IpAddr>,
    request_id: String,
    status: u16,
}

#[derive(Debug, Serialize)]
struct MemoryState {
    deliveries_since: Timestamp,
    rejections_since: Timestamp,
    bytes: usize,
    max_bytes: usize,
}

impl ObservedBridge {
    fn read(&self, at: Timestamp) -> BridgeState {
        let metrics = self.health.metrics();
        let recorder = &self.health.pipeline.recorder;
        let (listener, spool) = (self.listener(metrics), self.spool(metrics));
        let sinks = self.sinks(metrics);
        let seen = SeenProgram {
            metrics,
            rejections: recorder.rejections(),
            started_at: recorder.started_at(),
            now: at,
        };
        BridgeState {
            at,
            started_at: recorder.started_at(),
            version: env!("CARGO_PKG_VERSION"),
            token_demanded: self.access.load().token.is_some(),
            verdict: verdict(&listener, &spool, &sinks, &seen),
            listener,
            sources: self.sources(metrics),
            spool,
            sinks,
            rejections: rejections(metrics, seen.rejections),
            memory: MemoryState {
                deliveries_since: recorder.events_since(),
                rejections_since: recorder.unproven_since(),
                bytes: recorder.event_bytes(),
                max_bytes: MAX_EVENT_BYTES,
            },
        }
    }

    fn listener(&self, metrics: &Metrics) -> ListenerStatus {
        let refusal = self.health.pipeline.ready().err();
        let in_flight = metrics.http_requests_in_flight.get();
        ListenerStatus {
            address: self.ingress,
            accepts: refusal.is_none(),
            reason: refusal.map(|refusal| refusal.reason()),
            requests: MetricSums::by(&metrics.http_requests_total, "").total(),
            accepted: MetricSums::by(&metrics.events_accepted_total, "").total(),
            // What came again with another body is accepted, and counted there.
            duplicates: MetricSums::by(&metrics.events_duplicate_total, "body").count("same"),
            quarantined: MetricSums::by(&metrics.events_quarantined_total, "").total(),
            dropped: MetricSums::by(&metrics.events_dropped_total, "").total(),
            rejected: MetricSums::by(&metrics.deliveries_rejected_total, "").total(),
            refused: MetricSums::by(&metrics.deliveries_refused_total, "").total(),
            in_flight: u64::try_from(in_flight).unwrap_or(0),
        }
    }

    fn sources(&self, metrics: &Metrics) -> Vec<SourceState> {
        let by_source = |counter| MetricSums::by(counter, "source");
        let accepted = by_source(&metrics.events_accepted_total);
        let duplicates = by_source(&metrics.events_duplicate_total);
        let rejected = by_source(&metrics.deliveries_rejected_total);
        let handler = self.handler.load();
        let mut names: Vec<&String> = handler.endpoints.keys().collect();
        names.sort_unstable();
        let of = |name: &String| SourceState {
            accepted: accepted.count(name),
            duplicates: duplicates.count(name),
            rejected: rejected.count(name),
            source: name.clone(),
        };
        names.into_iter().map(of).collect()
    }

    fn spool(&self, metrics: &Metrics) -> SpoolStatus {
        let gauge = |value: i64| u64::try_from(value).unwrap_or(0);
        SpoolStatus {
            bytes: gauge(metrics.spool_bytes.get()),
            file_bytes: gauge(metrics.spool_file_bytes.get()),
            max_bytes: gauge(metrics.spool_max_bytes.get()),
            max_events: gauge(metrics.spool_max_events.get()),
            fill: self.health.pipeline.spool.fill_ratio(),
            writable: metrics.spool_writable.get() == 1,
        }
    }

    /// Every sink that the spool knows: for one that is configured no more, events may wait.
    fn sinks(&self, metrics: &Metrics) -> Vec<SinkStatus> {
        let delivered = MetricSums::by(&metrics.events_delivered_total, "sink");
        let pending = MetricSums::by(&metrics.spool_events, "sink");
        let oldest = MetricSums::by(&metrics.spool_oldest_event_timestamp_seconds, "sink");
        let dead_letters = MetricSums::by(&metrics.spool_dead_letters, "sink");
        let in_flight = MetricSums::by(&metrics.publish_in_flight, "sink");
        let unroutable = MetricSums::by(&metrics.events_unroutable, "sink");
        let paused = MetricSums::by(&metrics.sink_paused, "sink");
        let last = MetricSums::by(&metrics.last_delivery_timestamp_seconds, "sink");
        let known = self.health.pipeline.spool.sinks().iter();
        known
            .map(|(_, sink)| {
                let (open, name) = (self.health.sink(sink), sink.as_str());
                let health = open.as_ref().map(|open| open.health());
                SinkStatus {
                    sink: sink.clone(),
                    kind: open.as_ref().map(|open| open.kind()),
                    served: open.is_some(),
                    delivered: delivered.count(name),
                    pending: pending.count(name),
                    oldest_at: time(oldest.of(name)),
                    dead_letters: dead_letters.count(name),
                    in_flight: in_flight.count(name),
                    unroutable: unroutable.count(name),
                    connected: health.as_ref().is_some_and(|health| health.connected),
                    blocked: health.as_ref().is_some_and(|health| health.blocked),
                    paused: paused.count(name) == 1,
                    last_delivery_at: time(last.of(name)),
                }
            })
            .collect()
    }
}

/// A gauge of seconds since 1970, where 0 is none.
#[allow(clippy::cast_possible_truncation, reason = "milliseconds of a date")]
fn time(seconds: f64) -> Option<Timestamp> {
    let milliseconds = (seconds * 1000.0) as i64;
    let time = Timestamp::from_millisecond(milliseconds).ok();
    time.filter(|_| milliseconds > 0)
}

/// Every reason that has been counted, the most frequent first. Refused handshakes are counted by the
/// recorder alone, and what never became a request by the metrics alone.
fn rejections(metrics: &Metrics, recorded: Vec<RejectionCount>) -> Vec<RejectionState> {
    let rejected = MetricSums::by(&metrics.deliveries_rejected_total, "reason");
    let refused = MetricSums::by(&metrics.deliveries_refused_total, "reason");
    let mut counts: BTreeMap<String, u64> = rejected.counted().chain(refused.counted()).collect();
    let mut last: BTreeMap<String, LastRejection> = BTreeMap::new();
    let handshakes = [
        RequestProblem::HandshakeMismatch,
        RequestProblem::HandshakeRefused,
    ];
    let handshakes = handshakes.map(RequestProblem::reason);
    for recorded in recorded {
        let reason = recorded.reason.to_owned();
        if handshakes.contains(&recorded.reason) {
            *counts.entry(reason.clone()).or_default() += recorded.count;
        }
        let newest = last.entry(reason).or_insert_with(|| recorded.last.clone());
        if newest.at < recorded.last.at {
            *newest = recorded.last;
        }
    }
    let mut shown: Vec<RejectionState> = counts
        .into_iter()
        .map(|(reason, count)| RejectionState::of(last.remove(&reason), reason, count))
        .collect();
    shown.sort_by_key(|rejection| std::cmp::Reverse(rejection.count));
    shown
}

impl RejectionState {
    fn of(last: Option<LastRejection>, reason: String, count: u64) -> Self {
        let usual = usual_cause(&reason);
        Self {
            cause: usual.map_or("", |usual| usual.cause),
            remedy: usual.map_or("", |usual| usual.remedy),
            last: last.map(|last| ShownRejection {
                at: last.at,
                source: last.source,
                address: last.address,
                request_id: last.request_id,
                status: last.status,
            }),
            reason,
            count,
        }
    }
}
