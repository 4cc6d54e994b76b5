//! The state of the bridge, as the page shows it: read from the metrics, the spool and the sinks, once
//! a second for all viewers.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::Serialize;

use super::counter_sums::CounterSums;
use super::verdict::{Verdict, verdict};
use crate::admin::access::AccessRules;
use crate::admin::deliveries::since;
use crate::admin::health::HealthState;
use crate::history::{MAX_EVENT_BYTES, Recorder};
use crate::ingress::{HandlerRules, usual_cause};
use crate::metrics::Metrics;
use crate::name::SinkName;

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
    pub listener: ListenerState,
    sources: Vec<SourceState>,
    pub spool: SpoolState,
    pub sinks: Vec<SinkState>,
    rejections: Vec<RejectionState>,
    memory: MemoryState,
}

/// The public listener, with its counts since the start.
#[derive(Debug, Serialize)]
pub(super) struct ListenerState {
    address: SocketAddr,
    /// Whether a delivery could be accepted now, and why not.
    pub accepts: bool,
    pub reason: Option<&'static str>,
    requests: u64,
    accepted: u64,
    duplicates: u64,
    quarantined: u64,
    dropped: u64,
    rejected: u64,
    refused: u64,
    in_flight: u64,
}

#[derive(Debug, Serialize)]
struct SourceState {
    source: String,
    accepted: u64,
    duplicates: u64,
    rejected: u64,
}

/// The spool.
#[derive(Debug, Serialize)]
pub(super) struct SpoolState {
    bytes: u64,
    file_bytes: u64,
    max_bytes: u64,
    max_events: u64,
    pub fill: f64,
    writable: bool,
}

/// A sink.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SinkState {
    pub sink: SinkName,
    pub kind: Option<&'static str>,
    /// Whether it is configured; what waits for one that is not stays.
    pub served: bool,
    pub delivered: u64,
    pub pending: u64,
    pub oldest_at: Option<Timestamp>,
    pub dead_letters: u64,
    pub in_flight: u64,
    pub unroutable: u64,
    pub connected: bool,
    pub blocked: bool,
    pub paused: bool,
    pub last_delivery_at: Option<Timestamp>,
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
    bytes: usize,
    max_bytes: usize,
}

impl ObservedBridge {
    fn read(&self, at: Timestamp) -> BridgeState {
        let metrics = self.health.metrics();
        let recorder = &self.health.pipeline.recorder;
        let (listener, spool) = (self.listener(metrics), self.spool(metrics));
        let sinks = self.sinks(metrics);
        BridgeState {
            at,
            started_at: recorder.started_at(),
            version: env!("CARGO_PKG_VERSION"),
            token_demanded: self.access.load().token.is_some(),
            verdict: verdict(&listener, &spool, &sinks, (metrics, recorder, at)),
            listener,
            sources: self.sources(metrics),
            spool,
            sinks,
            rejections: rejections(metrics, recorder),
            memory: MemoryState {
                deliveries_since: since(recorder),
                bytes: recorder.event_bytes(),
                max_bytes: MAX_EVENT_BYTES,
            },
        }
    }

    fn listener(&self, metrics: &Metrics) -> ListenerState {
        let refusal = self.health.pipeline.ready().err();
        let in_flight = metrics.http_requests_in_flight.get();
        ListenerState {
            address: self.ingress,
            accepts: refusal.is_none(),
            reason: refusal.map(|refusal| refusal.reason()),
            requests: CounterSums::by(&metrics.http_requests_total, "").total(),
            accepted: CounterSums::by(&metrics.events_accepted_total, "").total(),
            duplicates: CounterSums::by(&metrics.events_duplicate_total, "").total(),
            quarantined: CounterSums::by(&metrics.events_quarantined_total, "").total(),
            dropped: CounterSums::by(&metrics.events_dropped_total, "").total(),
            rejected: CounterSums::by(&metrics.deliveries_rejected_total, "").total(),
            refused: CounterSums::by(&metrics.deliveries_refused_total, "").total(),
            in_flight: u64::try_from(in_flight).unwrap_or(0),
        }
    }

    fn sources(&self, metrics: &Metrics) -> Vec<SourceState> {
        let by_source = |counter| CounterSums::by(counter, "source");
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

    fn spool(&self, metrics: &Metrics) -> SpoolState {
        let gauge = |value: i64| u64::try_from(value).unwrap_or(0);
        SpoolState {
            bytes: gauge(metrics.spool_bytes.get()),
            file_bytes: gauge(metrics.spool_file_bytes.get()),
            max_bytes: gauge(metrics.spool_max_bytes.get()),
            max_events: gauge(metrics.spool_max_events.get()),
            fill: self.health.pipeline.spool.fill_ratio(),
            writable: metrics.spool_writable.get() == 1,
        }
    }

    /// Every sink that the spool knows: for one that is configured no more, events may wait.
    fn sinks(&self, metrics: &Metrics) -> Vec<SinkState> {
        let delivered = CounterSums::by(&metrics.events_delivered_total, "sink");
        let pending = CounterSums::by(&metrics.spool_events, "sink");
        let oldest = CounterSums::by(&metrics.spool_oldest_event_timestamp_seconds, "sink");
        let dead_letters = CounterSums::by(&metrics.spool_dead_letters, "sink");
        let in_flight = CounterSums::by(&metrics.publish_in_flight, "sink");
        let unroutable = CounterSums::by(&metrics.events_unroutable, "sink");
        let paused = CounterSums::by(&metrics.sink_paused, "sink");
        let last = CounterSums::by(&metrics.last_delivery_timestamp_seconds, "sink");
        let known = self.health.pipeline.spool.sinks().iter();
        known
            .map(|(_, sink)| {
                let (open, name) = (self.health.sink(sink), sink.as_str());
                let health = open.as_ref().map(|open| open.health());
                SinkState {
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

/// Every reason that has been counted, the most frequent first.
fn rejections(metrics: &Metrics, recorder: &Recorder) -> Vec<RejectionState> {
    let mut last = recorder.last_rejections();
    let rejected = CounterSums::by(&metrics.deliveries_rejected_total, "reason");
    let refused = CounterSums::by(&metrics.deliveries_refused_total, "reason");
    let counted = rejected.counted().chain(refused.counted());
    let mut shown: Vec<RejectionState> = counted
        .map(|(reason, count)| {
            let usual = usual_cause(&reason);
            let last = last.remove(reason.as_str());
            RejectionState {
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
        })
        .collect();
    shown.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.reason.cmp(&b.reason)));
    shown
}

#[cfg(test)]
impl ListenerState {
    /// One that accepts deliveries, for a test.
    pub fn accepting() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            accepts: true,
            reason: None,
            requests: 0,
            accepted: 0,
            duplicates: 0,
            quarantined: 0,
            dropped: 0,
            rejected: 0,
            refused: 0,
            in_flight: 0,
        }
    }
}

#[cfg(test)]
impl SpoolState {
    /// One that is so full, for a test.
    pub fn filled(fill: f64) -> Self {
        Self {
            bytes: 0,
            file_bytes: 0,
            max_bytes: 1,
            max_events: 1,
            fill,
            writable: true,
        }
    }
}
