//! Straight to the spool's folder, which no bridge has.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use tokio::runtime::Runtime;

use super::{Change, Look, Page};
use crate::cli::failure::Failure;
use crate::cli::runtime::runtime;
use crate::config::Settings;
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::spool::{
    DeadLetter, DeadLetterName, InspectionError, PendingEvent, Spool, SpoolError, SpoolLimits,
    SpoolLocation, SpoolOverview, SpoolView,
};

/// The spool of a bridge that does not run, to be looked at.
pub(super) struct Stopped {
    view: SpoolView,
    /// The bounds that a bridge would start with: the files do not say.
    limits: SpoolLimits,
}

/// The spool of a bridge that does not run, open for a change; it is closed when this is dropped.
pub(super) struct Held {
    runtime: Runtime,
    spool: Spool,
    stopped: Stopped,
}

impl Stopped {
    /// Opens the folder for reading; none where a bridge has it, or where the spool is in a
    /// bridge's memory.
    pub(super) fn open(settings: &Settings) -> Result<Option<Self>, Failure> {
        let Some(folder) = folder(settings)? else {
            return Ok(None);
        };
        let view = SpoolView::open(folder).map_err(|error| Failure::Failed(error.into()))?;
        Ok(view.map(|view| Self {
            view,
            limits: settings.spool.limits,
        }))
    }
}

impl Held {
    /// Opens the spool; none where a bridge has it, or where it is in a bridge's memory.
    pub(super) fn open(settings: &Settings) -> Result<Option<Self>, Failure> {
        if folder(settings)?.is_none() {
            return Ok(None);
        }
        let names: Vec<SinkName> = settings.sinks.iter().map(|of| of.name.clone()).collect();
        let metrics = Arc::new(Metrics::new().context("the metrics cannot be registered")?);
        let runtime = runtime()?;
        let (spool, _) = match Spool::open(settings.spool.clone(), &names, metrics) {
            Err(SpoolError::Held { .. }) => return Ok(None),
            opened => opened.map_err(|error| Failure::Failed(error.into()))?,
        };
        let stopped = Stopped {
            view: spool.view(),
            limits: settings.spool.limits,
        };
        Ok(Some(Self {
            runtime,
            spool,
            stopped,
        }))
    }

    fn wait<T>(
        &self,
        change: impl Future<Output = Result<T, InspectionError>>,
    ) -> Result<T, Failure> {
        found(self.runtime.block_on(change))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.runtime.block_on(self.spool.close());
    }
}

/// The spool's folder, which must be there; none where the spool is in memory.
fn folder(settings: &Settings) -> Result<Option<&Path>, Failure> {
    let SpoolLocation::Folder(path) = &settings.spool.location else {
        return Ok(None);
    };
    // One that cannot be looked at is there, as far as one knows: opening it says what is wrong.
    if !path.try_exists().unwrap_or(true) {
        let text = "there is no spool yet: no bridge has run with this configuration";
        return Err(Failure::Failed(anyhow!("{}: {text}", path.display())));
    }
    Ok(Some(path))
}

fn found<T>(result: Result<T, InspectionError>) -> Result<T, Failure> {
    result.map_err(|error| Failure::Failed(error.into()))
}

impl Look for Stopped {
    fn overview(&self) -> Result<SpoolOverview, Failure> {
        let overview = found(self.view.overview())?;
        Ok(SpoolOverview {
            max_bytes: overview.max_bytes.or(Some(self.limits.max_bytes)),
            max_events: overview.max_events.or(Some(self.limits.max_events)),
            ..overview
        })
    }

    fn pending(&self, page: &Page<u64>) -> Result<Vec<PendingEvent>, Failure> {
        let after = page.after.unwrap_or_default();
        found(self.view.pending(after, page.limit, page.bodies))
    }

    fn pending_one(&self, sequence: u64) -> Result<PendingEvent, Failure> {
        found(self.view.pending_one(sequence))
    }

    fn dead_letters(&self, page: &Page<DeadLetterName>) -> Result<Vec<DeadLetter>, Failure> {
        let after = page.after.as_ref();
        found(self.view.dead_letters(after, page.limit, page.bodies))
    }

    fn dead_letter(&self, name: &DeadLetterName) -> Result<DeadLetter, Failure> {
        found(self.view.dead_letter(name))
    }
}

impl Change for Held {
    fn look(&self) -> &dyn Look {
        &self.stopped
    }

    fn drop_pending(&self, sink: &SinkName) -> Result<u64, Failure> {
        let unknown = || Failure::Failed(anyhow!("there is no sink {sink} in the spool"));
        let index = self.spool.sink(sink).ok_or_else(unknown)?;
        self.wait(self.spool.drop_pending(index))
    }

    fn requeue(&self, name: &DeadLetterName) -> Result<(), Failure> {
        self.wait(self.spool.requeue(name.clone()))
    }

    fn drop_dead_letter(&self, name: &DeadLetterName) -> Result<(), Failure> {
        self.wait(self.spool.drop_dead_letter(name.clone()))
    }
}
