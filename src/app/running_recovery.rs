//! The recovery of what webhooks did not bring, while the bridge runs.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backfill::{Recovery, RecoveryHandle, RecoveryRules, RecoverySource};
use crate::config::{Settings, SourceSettings};
use crate::pipeline::{Pipeline, Terms};
use crate::spool::{Milestone, SpoolLocation};

/// The recovery, with its task.
#[derive(Debug)]
pub(super) struct RunningRecovery {
    pub handle: RecoveryHandle,
    /// Its task; one that ends unasked is a failure.
    pub task: JoinSet<anyhow::Result<()>>,
    rules: watch::Sender<Arc<RecoveryRules>>,
    stop: CancellationToken,
}

impl RunningRecovery {
    /// Begins; what it accepts waits for no broker.
    pub fn start(settings: &Settings, terms: &Arc<Terms>, pipeline: &Pipeline) -> Self {
        let folder = match &settings.spool.location {
            SpoolLocation::Folder(path) => Some(path.clone()),
            SpoolLocation::Memory => None,
        };
        let (rules, watched) = watch::channel(Arc::new(rules(&settings.sources, terms)));
        let (recovery, handle) = Recovery::new(accepting(pipeline), folder, watched);
        let (mut task, stop) = (JoinSet::new(), CancellationToken::new());
        let until = stop.clone();
        task.spawn(async move { recovery.run(until).await.context("gap recovery") });
        Self {
            handle,
            task,
            rules,
            stop,
        }
    }

    /// Takes over another configuration.
    pub fn take_over(&self, rules: RecoveryRules) {
        self.rules.send_replace(Arc::new(rules));
    }

    /// Ends it where it stands.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        // It waits for nobody, so this takes no time.
        while self.task.join_next().await.is_some() {}
    }
}

/// The pipeline as recovery uses it: an event is safe once it is in the spool, which is a folder.
pub(super) fn accepting(pipeline: &Pipeline) -> Pipeline {
    Pipeline {
        milestone: Milestone::Spooled,
        ..pipeline.clone()
    }
}

/// What it goes by under these settings.
pub(super) fn rules(sources: &[SourceSettings], terms: &Arc<Terms>) -> RecoveryRules {
    let recovering = sources.iter().filter_map(|of| {
        let settings = of.recovery.clone()?;
        let source = of.source.clone();
        let name = source.name.clone();
        Some((name, Arc::new(RecoverySource { source, settings })))
    });
    RecoveryRules {
        sources: HashMap::from_iter(recovering),
        terms: Arc::clone(terms),
    }
}
