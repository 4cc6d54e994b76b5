//! The handle of the recovery, for operators who ask for a run.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::manual_run::{BackfillRequest, InvalidPeriod, ManualRun};
use super::recovery_rules::RecoveryRules;
use super::run_line::RunLine;
use crate::name::SourceName;

/// Lines that may wait for whoever reads them; the run waits with them.
const MAX_WAITING_LINES: usize = 64;

/// Why no run begins.
#[derive(Debug, thiserror::Error)]
pub enum NoRecovery {
    /// The source is not known, or does not recover.
    #[error("source {0} is not there, or has no [source.{0}.recovery]")]
    NotConfigured(String),
    /// There is nothing to look for.
    #[error(transparent)]
    InvalidPeriod(#[from] InvalidPeriod),
    /// Another run was asked for and has not begun yet, or the bridge stops.
    #[error("other runs of source {0} wait already, or the bridge is stopping: try again later")]
    Busy(String),
}

/// The handle. Cloning it shares it.
#[derive(Debug, Clone)]
pub struct RecoveryHandle {
    requests: mpsc::Sender<(SourceName, ManualRun)>,
    rules: watch::Receiver<Arc<RecoveryRules>>,
}

impl RecoveryHandle {
    pub(super) fn new(
        requests: mpsc::Sender<(SourceName, ManualRun)>,
        rules: watch::Receiver<Arc<RecoveryRules>>,
    ) -> Self {
        Self { requests, rules }
    }

    /// Asks for a run of a source. It begins once those before it have ended, and ends where nobody
    /// hears of it any more.
    ///
    /// # Errors
    /// When none begins.
    pub fn start(
        &self,
        source: &str,
        request: &BackfillRequest,
    ) -> Result<mpsc::Receiver<RunLine>, NoRecovery> {
        let none = || NoRecovery::NotConfigured(source.to_owned());
        let name = SourceName::parse(source).map_err(|_| none())?;
        let rules = self.rules.borrow().clone();
        let settings = &rules.sources.get(&name).ok_or_else(none)?.settings;
        let (lines, heard) = mpsc::channel(MAX_WAITING_LINES);
        let run = ManualRun {
            search: request.search(settings, Timestamp::now())?,
            dry_run: request.dry_run,
            lines,
        };
        let sent = self.requests.try_send((name, run));
        sent.map_err(|_| NoRecovery::Busy(source.to_owned()))?;
        Ok(heard)
    }
}
