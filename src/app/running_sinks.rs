//! The running sinks: every configured one, each with its dispatcher.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::certificates;
use crate::config::{Settings, SinkKind, SinkSettings, SourceSettings};
use crate::event::SinkIndex;
use crate::history::Recorder;
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::pipeline::{Dispatcher, DispatcherSettings, HealthProbe, ServedSink};
use crate::sink::kafka::Kafka;
use crate::sink::rabbitmq::RabbitMq;
use crate::sink::store::{Store, TopicLog};
use crate::sink::{Needs, Renewed, Sink};
use crate::spool::Spool;
use crate::trace::Tracer;

/// The sinks, each with its dispatcher.
#[derive(Debug)]
pub(super) struct RunningSinks {
    pub open: Vec<(SinkName, Arc<dyn Sink>)>,
    /// The same, where credentials can change.
    renewals: Vec<(SinkName, CredentialRenewal)>,
    /// The store's topics, where there is a store.
    pub topics: Option<TopicLog>,
    pub dispatchers: JoinSet<anyhow::Result<()>>,
    /// Ask the dispatchers whether they still run.
    pub probes: Vec<(SinkName, HealthProbe)>,
    /// Tell each dispatcher its settings.
    paces: Vec<(SinkName, watch::Sender<DispatcherSettings>)>,
    /// Tells the dispatchers to end.
    pub stop: CancellationToken,
}

impl RunningSinks {
    pub fn open(
        settings: Vec<SinkSettings>,
        needs: &Needs,
        spool: &Spool,
        (tracer, recorder, metrics): (&Tracer, &Arc<Recorder>, &Arc<Metrics>),
    ) -> anyhow::Result<Self> {
        let mut sinks = Self {
            open: Vec::new(),
            renewals: Vec::new(),
            topics: None,
            dispatchers: JoinSet::new(),
            probes: Vec::new(),
            paces: Vec::new(),
            stop: CancellationToken::new(),
        };
        for SinkSettings { name, pace, kind } in settings {
            let (sink, topics, renewal) =
                open(kind, needs).with_context(|| format!("sink {name}"))?;
            sinks.topics = sinks.topics.or(topics);
            sinks.renewals.push((name.clone(), renewal));
            let served = ServedSink {
                name: name.clone(),
                index: index(spool, &name)?,
                sink: Arc::clone(&sink),
                tracer: tracer.clone(),
                recorder: Arc::clone(recorder),
            };
            let (pace, wanted) = watch::channel(pace);
            sinks.paces.push((name.clone(), pace));
            let dispatcher = Dispatcher::new(served, spool.clone(), wanted, metrics);
            sinks.probes.push((name.clone(), dispatcher.probe()));
            let (stop, of) = (sinks.stop.clone(), name.clone());
            let run = async move {
                dispatcher
                    .run(stop)
                    .await
                    .with_context(|| format!("the dispatcher of sink {of}"))
            };
            sinks.dispatchers.spawn(run);
            sinks.open.push((name, sink));
        }
        Ok(sinks)
    }

    /// Tells the dispatcher of this sink its settings, if they have changed.
    pub fn set_pace(&self, name: &SinkName, pace: DispatcherSettings) {
        let of = |(known, _): &&(SinkName, _)| known == name;
        if let Some((_, wanted)) = self.paces.iter().find(of) {
            wanted.send_if_modified(|wanted| std::mem::replace(wanted, pace) != pace);
        }
    }

    /// The names of the sinks that are open.
    pub fn names(&self) -> Vec<SinkName> {
        self.open.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Gives each sink the credentials it is configured with now, where nothing else of it has
    /// changed. It takes them over by itself and when they work: this waits for no broker.
    pub fn renew(&self, settings: &[SinkSettings], metrics: &Metrics) {
        for sink in settings {
            let renewal = self.renewals.iter().find(|(name, _)| *name == sink.name);
            match renewal.map(|(_, renewal)| renewal.take_over(&sink.kind)) {
                Some(Renewed::Taken) => {
                    tracing::info!(sink = %sink.name, "the sink's credentials have changed; it connects with the new ones");
                    certificates::show(metrics, sink, Timestamp::now());
                }
                Some(Renewed::Refused) => {
                    tracing::warn!(sink = %sink.name, "more of the sink has changed than credentials and pace: its credentials, too, stay the old ones until a restart");
                }
                Some(Renewed::Unchanged) | None => {}
            }
        }
    }

    /// Whether a sink of this name is open.
    pub fn has(&self, name: &SinkName) -> bool {
        self.open.iter().any(|(known, _)| known == name)
    }
}

/// Returns the first sink that has ended, which none does while all is well.
pub(super) async fn ended(sinks: &[(SinkName, Arc<dyn Sink>)]) -> &SinkName {
    let mut ends: FuturesUnordered<_> = sinks
        .iter()
        .map(async |(name, sink)| {
            sink.ended().await;
            name
        })
        .collect();
    match ends.next().await {
        Some(name) => name,
        None => std::future::pending().await,
    }
}

/// The sink's number in the spool.
pub(super) fn index(spool: &Spool, name: &SinkName) -> anyhow::Result<SinkIndex> {
    spool
        .sink(name)
        .ok_or_else(|| anyhow!("the spool does not know sink {name}"))
}

/// A sink whose credentials can change, by its type.
#[derive(Debug)]
enum CredentialRenewal {
    Kafka(Arc<Kafka>),
    RabbitMq(Arc<RabbitMq>),
    /// A store has none.
    Never,
}

impl CredentialRenewal {
    fn take_over(&self, kind: &SinkKind) -> Renewed {
        match (self, kind) {
            (Self::Kafka(kafka), SinkKind::Kafka(settings)) => kafka.renew(settings),
            (Self::RabbitMq(rabbit), SinkKind::RabbitMq(settings)) => rabbit.renew(settings),
            (Self::Never, SinkKind::Store(_)) => Renewed::Unchanged,
            _ => Renewed::Refused,
        }
    }
}

/// Opens a sink; a store also has topics to show.
///
/// # Errors
/// When a store's folder cannot be opened or a client library refuses its settings.
pub fn open_sink(
    kind: SinkKind,
    needs: &Needs,
) -> anyhow::Result<(Arc<dyn Sink>, Option<TopicLog>)> {
    open(kind, needs).map(|(sink, topics, _)| (sink, topics))
}

type Opened = (Arc<dyn Sink>, Option<TopicLog>, CredentialRenewal);

fn open(kind: SinkKind, needs: &Needs) -> anyhow::Result<Opened> {
    Ok(match kind {
        SinkKind::Kafka(settings) => {
            let kafka = Arc::new(Kafka::new(*settings, needs)?);
            (
                Arc::clone(&kafka) as _,
                None,
                CredentialRenewal::Kafka(kafka),
            )
        }
        SinkKind::RabbitMq(settings) => {
            let rabbit = Arc::new(RabbitMq::new(*settings, needs.clone()));
            (
                Arc::clone(&rabbit) as _,
                None,
                CredentialRenewal::RabbitMq(rabbit),
            )
        }
        SinkKind::Store(settings) => {
            let store = Store::open(settings)?;
            let log = store.log();
            (Arc::new(store), Some(log), CredentialRenewal::Never)
        }
    })
}

/// What the configured sources will send.
#[must_use]
pub fn needs(settings: &Settings) -> Needs {
    let of = |source: &SourceSettings| (source.source.name.clone(), source.event_types.clone());
    Needs {
        sources: settings.sources.iter().map(of).collect(),
    }
}
