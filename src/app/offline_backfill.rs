//! A backfill where no bridge runs: what is missing goes into the spool, for the next start to publish.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::reload::terms;
use crate::backfill::{BackfillRequest, RecoverySource, Run, RunLine, open_record};
use crate::config::Settings;
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::pipeline::{LoggedObjects, Pipeline, Terms};
use crate::shutdown::Draining;
use crate::spool::{Milestone, Spool};

/// A spool that no bridge holds, and a source that recovers into it.
#[derive(Debug)]
pub struct OfflineBackfill {
    spool: Spool,
    pipeline: Pipeline,
    terms: Arc<Terms>,
    source: RecoverySource,
}

impl OfflineBackfill {
    /// Opens the spool.
    ///
    /// # Errors
    /// When the source is not there or does not recover, or the spool cannot be opened: with
    /// [`SpoolError::Held`](crate::spool::SpoolError::Held) where a bridge runs on it.
    pub fn open(settings: &Settings, source: &str) -> anyhow::Result<Self> {
        let source = recovering(settings, source)?;
        let metrics = Arc::new(Metrics::new()?);
        let names: Vec<SinkName> = settings.sinks.iter().map(|it| it.name.clone()).collect();
        let (spool, _) = Spool::open(settings.spool.clone(), &names, Arc::clone(&metrics))?;
        Ok(Self {
            terms: Arc::new(terms(settings, &spool)?),
            pipeline: Pipeline {
                spool: spool.clone(),
                milestone: Milestone::Spooled,
                keeps_dead_letters: true,
                grace: Duration::ZERO,
                draining: Draining::default(),
                metrics,
                logged: LoggedObjects::default(),
            },
            spool,
            source,
        })
    }

    /// Runs to the end; `lines` hears of it, last of the summary or of the failure.
    pub async fn run(self, request: BackfillRequest, lines: mpsc::Sender<RunLine>) {
        let RecoverySource { source, settings } = &self.source;
        let last = match request.search(settings, Timestamp::now()) {
            Err(error) => RunLine::Failed(error.to_string()),
            Ok(search) => {
                let mut record = open_record(source, settings);
                let run = Run {
                    source: &source.name,
                    record: &mut *record,
                    pipeline: &self.pipeline,
                    terms: Arc::clone(&self.terms),
                    search,
                    dry_run: request.dry_run,
                    lines: Some(lines.clone()),
                };
                match run.run().await {
                    Ok(summary) => RunLine::Summary(summary),
                    Err(error) => RunLine::Failed(error.to_string()),
                }
            }
        };
        self.spool.close().await;
        // Whoever has gone away learns nothing.
        let _ = lines.send(last).await;
    }
}

fn recovering(settings: &Settings, name: &str) -> anyhow::Result<RecoverySource> {
    let mut sources = settings.sources.iter();
    let found = sources.find(|it| it.source.name.as_str() == name);
    let recovering = found.and_then(|of| {
        Some(RecoverySource {
            source: of.source.clone(),
            settings: of.recovery.clone()?,
        })
    });
    let none = || anyhow!("source {name} is not there, or has no [source.{name}.recovery]");
    recovering.ok_or_else(none)
}
