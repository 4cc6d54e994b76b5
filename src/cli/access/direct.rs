//! Straight to the spool's file, which no bridge has.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use tokio::runtime::Runtime;

use super::{Access, Page};
use crate::cli::{Failure, runtime};
use crate::config::Settings;
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::spool::{
    DeadLetter, Inspection, InspectionError, Overview, PendingEvent, Place, Spool, SpoolError,
};
use crate::sqlite::OpenError;

/// An open spool; it is closed when this is dropped.
pub(super) struct Direct {
    runtime: Runtime,
    spool: Spool,
}

impl Direct {
    /// Opens the spool; none where a bridge has it, or where it is in a bridge's memory.
    pub(super) fn open(settings: &Settings) -> Result<Option<Self>, Failure> {
        let Place::File(path) = &settings.spool.place else {
            return Ok(None);
        };
        if !path.exists() {
            let text = "there is no spool yet: no bridge has run with this configuration";
            return Err(Failure::Failed(anyhow!("{}: {text}", path.display())));
        }
        let names: Vec<SinkName> = settings.sinks.iter().map(|of| of.name.clone()).collect();
        let metrics = Arc::new(Metrics::new().context("the metrics cannot be registered")?);
        match Spool::open(settings.spool.clone(), &names, metrics) {
            Ok((spool, _)) => Ok(Some(Self {
                runtime: runtime()?,
                spool,
            })),
            Err(SpoolError::Open(OpenError::Held { .. })) => Ok(None),
            Err(error) => Err(Failure::Failed(error.into())),
        }
    }

    fn inspect<T: Send + 'static>(
        &self,
        inspection: impl FnOnce(&mut Inspection<'_>) -> Result<T, InspectionError> + Send + 'static,
    ) -> Result<T, Failure> {
        let found = self.runtime.block_on(self.spool.inspect(inspection));
        found.map_err(|error| Failure::Failed(error.into()))
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.runtime.block_on(self.spool.close());
    }
}

impl Access for Direct {
    fn overview(&self) -> Result<Overview, Failure> {
        self.inspect(|spool| spool.overview())
    }

    fn pending(&self, page: Page) -> Result<Vec<PendingEvent>, Failure> {
        self.inspect(move |spool| spool.pending(page.after, page.limit, page.bodies))
    }

    fn pending_one(&self, sequence: u64) -> Result<PendingEvent, Failure> {
        self.inspect(move |spool| spool.pending_one(sequence))
    }

    fn drop_pending(&self, sink: &SinkName) -> Result<u64, Failure> {
        let unknown = || Failure::Failed(anyhow!("there is no sink {sink} in the spool"));
        let index = self.spool.sink(sink).ok_or_else(unknown)?;
        self.inspect(move |spool| spool.discard_pending(index))
    }

    fn dead_letters(&self, page: Page) -> Result<Vec<DeadLetter>, Failure> {
        let after = number(page.after);
        self.inspect(move |spool| spool.dead_letters(after, page.limit, page.bodies))
    }

    fn dead_letter(&self, of: u64) -> Result<DeadLetter, Failure> {
        self.inspect(move |spool| spool.dead_letter_one(number(of)))
    }

    fn requeue(&self, of: u64) -> Result<(), Failure> {
        self.inspect(move |spool| spool.requeue(number(of)))
    }

    fn drop_dead_letter(&self, of: u64) -> Result<(), Failure> {
        self.inspect(move |spool| spool.discard_dead_letter(number(of)))
    }
}

/// A number no dead letter can have stands for one that is too high.
fn number(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}
