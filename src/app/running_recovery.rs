//! The recovery of what webhooks did not bring, while the bridge runs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backfill::{Recovery, RecoveryHandle, RecoveryRules, RecoverySource};
use crate::config::{Settings, SourceSettings};
use crate::pipeline::{Pipeline, Terms};
use crate::spool::{Milestone, SpoolLocation};

/// How long its end may take: it waits for nobody, unless a disk hangs.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The recovery, with its task.
#[derive(Debug)]
pub(super) struct RunningRecovery {
    pub handle: RecoveryHandle,
    /// Its task; one that ends unasked is a failure.
    pub task: JoinSet<anyhow::Result<()>>,
    rules: watch::Sender<Arc<RecoveryRules>>,
    stop: CancellationToken,
    /// Whether the spool is in memory, which forgets at the end: nothing is recovered into it, whatever a
    /// new configuration says of the next start.
    is_in_memory: bool,
}

impl RunningRecovery {
    /// Begins; what it accepts waits for no broker.
    pub fn start(settings: &Settings, terms: &Arc<Terms>, pipeline: &Pipeline) -> Self {
        let (folder, is_in_memory) = match &settings.spool.location {
            SpoolLocation::Folder(path) => (path.clone(), false),
            SpoolLocation::Memory => (PathBuf::new(), true),
        };
        let (rules, watched) = watch::channel(Arc::new(rules(&settings.sources, terms)));
        let accepting = Pipeline {
            milestone: Milestone::Spooled,
            ..pipeline.clone()
        };
        let (recovery, handle) = Recovery::new(accepting, folder, watched);
        let (mut task, stop) = (JoinSet::new(), CancellationToken::new());
        let until = stop.clone();
        task.spawn(async move { recovery.run(until).await.context("gap recovery") });
        Self {
            handle,
            task,
            rules,
            stop,
            is_in_memory,
        }
    }

    /// Takes over another configuration.
    pub fn take_over(&self, mut rules: RecoveryRules) {
        if self.is_in_memory {
            rules.sources.clear();
        }
        self.rules.send_replace(Arc::new(rules));
    }

    /// Ends it where it stands.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        let ended = async { while self.task.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
            tracing::warn!("gap recovery did not end in time");
        }
    }
}

/// A source that recovers; none where it does not.
pub(super) fn recovering(settings: &SourceSettings) -> Option<RecoverySource> {
    Some(RecoverySource {
        source: settings.source.clone(),
        settings: settings.recovery.clone()?,
    })
}

/// What it goes by under these settings.
pub(super) fn rules(sources: &[SourceSettings], terms: &Arc<Terms>) -> RecoveryRules {
    let recovering = sources.iter().filter_map(recovering);
    let named = recovering.map(|it| (it.source.name.clone(), Arc::new(it)));
    RecoveryRules {
        sources: HashMap::from_iter(named),
        terms: Arc::clone(terms),
    }
}
