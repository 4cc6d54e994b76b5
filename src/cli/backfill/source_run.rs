//! A run of a source's recovery: through the bridge that runs on the spool, or by itself where none does.

use std::io::{BufRead as _, BufReader, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustix::process::geteuid;
use tokio::sync::mpsc;

use crate::app::OfflineBackfill;
use crate::backfill::{BackfillRequest, RunLine};
use crate::cli::admin_arguments::AdminArguments;
use crate::cli::command_error::CommandError;
use crate::cli::http_client::HttpClient;
use crate::cli::runtime::block_on;
use crate::config::Settings;
use crate::name::SourceName;
use crate::spool::{SpoolError, SpoolLocation};

/// How long a run may take whose bridge is asked; one that nobody hears of any more ends.
const DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);
/// Lines that may wait to be printed.
const MAX_WAITING_LINES: usize = 64;

/// A run.
pub(super) struct SourceRun<'a> {
    pub source: &'a SourceName,
    pub request: BackfillRequest,
    pub settings: &'a Settings,
    pub admin: &'a AdminArguments,
}

/// Hears of the run.
type Take<'a> = &'a mut dyn FnMut(RunLine) -> Result<(), CommandError>;

impl SourceRun<'_> {
    /// Runs it; whether that was without a bridge.
    pub fn run(self, take: Take<'_>) -> Result<bool, CommandError> {
        if self.admin.is_given() {
            return self.through_bridge(take).map(|()| false);
        }
        self.check_folder()?;
        match OfflineBackfill::open(self.settings, self.source.as_str()) {
            Ok(backfill) => {
                self.check_listener(&backfill)?;
                self.alone(backfill, take).map(|()| true)
            }
            Err(error) if is_held(&error) => self.through_bridge(take).map(|()| false),
            Err(error) => Err(CommandError::Failed(error)),
        }
    }

    /// What this command made there would be its user's, and perhaps not the bridge's.
    fn check_folder(&self) -> Result<(), CommandError> {
        let SpoolLocation::Folder(path) = &self.settings.spool.location else {
            return Ok(());
        };
        let wrong = match path.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                "there is no spool yet: start the bridge once (hookferry serve), or name its admin listener with --admin"
            }
            Ok(folder) if folder.uid() != geteuid().as_raw() => {
                "the spool is another user's: run this as the bridge's user, or start the bridge and run it then"
            }
            // One that cannot be looked at is there, as far as one knows: opening it says what is wrong.
            _ => return Ok(()),
        };
        let path = path.display();
        Err(CommandError::Failed(anyhow!("{path}: {wrong}")))
    }

    /// What a provider is asked to deliver again needs somebody to deliver it to.
    fn check_listener(&self, backfill: &OfflineBackfill) -> Result<(), CommandError> {
        if self.request.dry_run || !backfill.needs_listener() {
            return Ok(());
        }
        Err(CommandError::Failed(anyhow!(
            "no bridge runs on this spool, and what this provider is asked for again comes to its listener: start the bridge (hookferry serve), then repeat; --dry-run says what is missing"
        )))
    }

    fn alone(self, backfill: OfflineBackfill, take: Take<'_>) -> Result<(), CommandError> {
        block_on(async {
            let (lines, mut heard) = mpsc::channel(MAX_WAITING_LINES);
            let run = tokio::spawn(backfill.run(self.request, lines));
            while let Some(line) = heard.recv().await {
                take(line)?;
            }
            run.await.context("the run has ended")?;
            Ok(())
        })
    }

    fn through_bridge(self, take: Take<'_>) -> Result<(), CommandError> {
        let (url, token) = self.admin.read(self.settings)?;
        let http = HttpClient::to_operators(DEADLINE, token);
        let asked = format!("{url}/backfills/{}?{}", self.source, query(&self.request));
        let body = http.change_and_follow(&asked).with_context(|| {
            format!("no bridge answers at {url}: name its admin listener with --admin")
        })??;
        for line in BufReader::new(body).lines() {
            let line = line.context("the bridge ended before the run did")?;
            let line = serde_json::from_str(&line);
            take(line.context(
                "the answer is not the bridge's: does --admin name its admin listener?",
            )?)?;
        }
        Ok(())
    }
}

fn is_held(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(SpoolError::Held { .. }))
}

fn query(request: &BackfillRequest) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("dry_run", &request.dry_run.to_string());
    for (name, time) in [("since", request.since), ("until", request.until)] {
        query.extend_pairs(time.map(|time| (name, time.to_string())));
    }
    for event_type in &request.event_types {
        query.append_pair("event_type", event_type.as_str());
    }
    query.finish()
}
