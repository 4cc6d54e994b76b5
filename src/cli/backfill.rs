//! `backfill`: what no webhook brought, fetched from the provider's record by hand.

mod report;
mod source_run;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::admin_arguments::AdminArguments;
use super::command_error::CommandError;
use super::config_file::ConfigFile;
use super::terminal_log;
use crate::backfill::BackfillRequest;
use crate::name::{EventType, SourceName};
use report::Report;
use source_run::SourceRun;

/// Fetch what no webhook brought from the provider's own record.
#[derive(Debug, Args)]
#[command(
    after_help = "The record of the source's provider is listed ([source.NAME.recovery] in the configuration); what the
spool does not know by its id is missing, and is accepted as a delivery is, the earliest first. While a
bridge runs on the spool it does this; otherwise the events wait in the spool for its next start, and the
command must be run by the spool's owner. A running bridge does the same by itself, every so often.
Exit code 1: the record could not be gone through to the end, or the bridge could not accept what was
missing; run it again.

Examples:
  hookferry backfill --source onecodex --dry-run --config hookferry.toml   # what is missing?
  hookferry backfill --source onecodex --since 2d --config hookferry.toml
  hookferry backfill --source onecodex --since 2026-11-01T00:00:00Z --until 2026-11-02T00:00:00Z \\
    --event-type analysis.failed --json --config hookferry.toml"
)]
pub(super) struct BackfillCommand {
    /// The source whose events are looked for.
    #[arg(long, value_name = "NAME", value_parser = source_name)]
    source: SourceName,
    /// Only what was triggered then or later: a time (RFC 3339), or a span before now such as 2d; not
    /// before look_back, which it is unless given.
    #[arg(long, value_name = "T", value_parser = time)]
    since: Option<Timestamp>,
    /// Only what was triggered before: a time, or a span before now; younger_than unless given.
    #[arg(long, value_name = "T", value_parser = time)]
    until: Option<Timestamp>,
    /// Only events of this type; several may be given.
    #[arg(long, value_name = "TYPE", value_parser = event_type)]
    event_type: Vec<EventType>,
    /// Only say what is missing.
    #[arg(long)]
    dry_run: bool,
    /// As JSON: a line for each missing event, and one for the result.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    admin: AdminArguments,
}

impl BackfillCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        terminal_log::start();
        let settings = self.config.load_to_look()?;
        let request = BackfillRequest {
            since: self.since,
            until: self.until,
            event_types: self.event_type.clone(),
            dry_run: self.dry_run,
        };
        let run = SourceRun {
            source: &self.source,
            request,
            settings: &settings,
            admin: &self.admin,
        };
        let mut report = Report::new(self.json);
        let is_offline = run.run(&mut |line| report.take(line))?;
        report.finish(is_offline)
    }
}

fn source_name(text: &str) -> Result<SourceName, String> {
    SourceName::parse(text).map_err(|error| error.to_string())
}

fn event_type(text: &str) -> Result<EventType, String> {
    EventType::parse(text).map_err(|error| error.to_string())
}

/// A time, or a span before now.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let span = humantime::parse_duration(text).ok();
    let span = span.and_then(|span| SignedDuration::try_from(span).ok());
    let time = span.and_then(|span| Timestamp::now().checked_sub(span).ok());
    time.ok_or_else(|| {
        "give a time such as 2026-11-01T00:00:00Z, or a span before now such as 2d".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_one_or_a_span_before_now() {
        let fixed = time("2026-11-01T00:00:00+01:00").map(|it| it.to_string());
        assert_eq!(fixed.as_deref(), Ok("2026-10-31T23:00:00Z"));
        let span = time("2d").expect("a span");
        let hours = Timestamp::now().duration_since(span).as_hours();
        assert_eq!(hours, 48);
        for wrong in ["", "yesterday", "2026-11-01", "-2d"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
