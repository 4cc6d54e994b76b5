//! A backfill where no bridge runs: what is missing goes into the spool, for the next start to publish.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::reload::terms;
use super::running_recovery::recovering;
use crate::backfill::{
    BackfillRequest, NoRecovery, Pace, RecoverySource, Run, RunError, RunLine, RunMemory, Search,
    Summary, open_record, record_facts,
};
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
        let source = find(settings, source)?;
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
                recorder: Arc::default(),
            },
            spool,
            source,
        })
    }

    /// Whether a delivery that a provider is asked for again would find nobody.
    #[must_use]
    pub fn needs_listener(&self) -> bool {
        !record_facts(self.source.settings.record).has_events
    }

    /// Runs to the end; `lines` hears of it, last of the summary or of the failure.
    pub async fn run(self, request: BackfillRequest, lines: mpsc::Sender<RunLine>) {
        let search = request.search(&self.source.settings, Timestamp::now());
        let last = match search {
            Err(error) => RunLine::Failed(error.to_string()),
            Ok(search) => {
                let reader = (lines.clone(), request.dry_run);
                RunLine::last(self.search(search, reader).await)
            }
        };
        self.spool.close().await;
        // Whoever has gone away learns nothing.
        let _ = lines.send(last).await;
    }

    async fn search(
        &self,
        search: Search,
        (lines, dry_run): (mpsc::Sender<RunLine>, bool),
    ) -> Result<Summary, RunError> {
        let RecoverySource { source, settings } = &self.source;
        let mut record = open_record(source, settings, &Pace::default());
        let run = Run {
            source: &source.name,
            record: &mut *record,
            memory: &mut RunMemory::default(),
            pipeline: &self.pipeline,
            terms: Arc::clone(&self.terms),
            search,
            dry_run,
            lines: Some(lines),
        };
        run.run().await
    }
}

fn find(settings: &Settings, name: &str) -> anyhow::Result<RecoverySource> {
    let mut sources = settings.sources.iter();
    let found = sources.find(|it| it.source.name.as_str() == name);
    let none = || NoRecovery::NotConfigured(name.to_owned());
    Ok(found.and_then(recovering).ok_or_else(none)?)
}
