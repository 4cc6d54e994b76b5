//! `check`: the configuration, and with `--connect` the sinks too.

mod certificates;
mod summary;

use std::time::Duration;

use clap::Args;

use super::command_error::CommandError;
use super::config_file::ConfigFile;
use super::output::Output;
use super::runtime::block_on;
use super::symbol::Symbols;
use crate::app;
use crate::backfill::{Pace, open_record};
use crate::config::{ConfigProblem, Settings, SinkKind, SourceSettings};
use crate::sink::kafka::colliding_topics;
use crate::sink::store::StoreError;
use crate::sink::{Finding, Needs, Severity};

/// What closing a sink may take once its findings are there.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// Check the configuration, and with --connect the brokers and the providers' records too.
#[derive(Debug, Args)]
#[command(
    after_help = "Every problem is named at once, with its key path and a remedy.
Exit code 2: the configuration is wrong. 1: a certificate has expired, or every authority in a
file, or a broker or a provider's record is not as it must be. 0: all is well.

Examples:
  hookferry check --config hookferry.toml
  hookferry check --config hookferry.toml --connect   # reachable, there, durable, bound, replicated?"
)]
pub(super) struct CheckCommand {
    #[command(flatten)]
    config: ConfigFile,
    /// Also look at each sink: whether it is reachable, and whether everything is there and durable; and at
    /// the record that a source recovers from: whether the key works and the webhook is enabled.
    #[arg(long)]
    connect: bool,
}

impl CheckCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let settings = self.config.load()?;
        let mut report = Report {
            output: Output::new(),
            symbols: Symbols::for_output(),
            worst_is_error: false,
        };
        for line in summary::lines(&settings) {
            report.output.line(line)?;
        }
        let needs = app::needs(&settings);
        report_configuration(&settings, &needs, &mut report)?;
        if self.connect {
            block_on(async {
                for sink in settings.sinks {
                    let findings = findings(sink.kind, &needs).await;
                    report.section(&format!("sink {}", sink.name), &findings)?;
                }
                for SourceSettings {
                    source, recovery, ..
                } in &settings.sources
                {
                    let Some(recovery) = recovery else { continue };
                    let findings = open_record(source, recovery, &Pace::default())
                        .check()
                        .await;
                    report.section(&format!("recovery of source {}", source.name), &findings)?;
                }
                Ok(())
            })?;
        }
        if report.worst_is_error {
            return Err(CommandError::Negative);
        }
        Ok(())
    }
}

/// What can be found without asking anybody.
fn report_configuration(
    settings: &Settings,
    needs: &Needs,
    report: &mut Report,
) -> Result<(), CommandError> {
    let warnings: Vec<Finding> = settings.warnings().into_iter().map(warning).collect();
    report.section_if_any("warnings", &warnings)?;
    if let Some(tls) = &settings.ingress.tls {
        let found = certificates::of_listener(tls);
        report.section("certificates of the public listener", &found)?;
    }
    for sink in &settings.sinks {
        let found = certificates::of_sink(&sink.kind);
        report.section_if_any(&format!("certificates of sink {}", sink.name), &found)?;
    }
    for sink in &settings.sinks {
        let found = collisions(&sink.kind, needs);
        report.section_if_any(&format!("topics of sink {}", sink.name), &found)?;
    }
    Ok(())
}

fn warning(problem: ConfigProblem) -> Finding {
    let found = format!("{}: {}", problem.path, problem.found);
    Finding::warning(found, problem.remedy)
}

/// What has been found so far.
struct Report {
    output: Output,
    symbols: Symbols,
    worst_is_error: bool,
}

impl Report {
    fn section_if_any(&mut self, title: &str, findings: &[Finding]) -> Result<(), CommandError> {
        if findings.is_empty() {
            return Ok(());
        }
        self.section(title, findings)
    }

    fn section(&mut self, title: &str, findings: &[Finding]) -> Result<(), CommandError> {
        self.output.line(format_args!("\n{title}"))?;
        for finding in findings {
            self.worst_is_error |= finding.severity == Severity::Error;
            let symbol = self.symbols.of(finding.severity);
            self.output
                .line(format_args!("  {symbol} {}", finding.found))?;
            if !finding.remedy.is_empty() {
                self.output.line(format_args!("    → {}", finding.remedy))?;
            }
        }
        Ok(())
    }
}

/// The topics of which Kafka has one at most.
fn collisions(kind: &SinkKind, needs: &Needs) -> Vec<Finding> {
    let SinkKind::Kafka(kafka) = kind else {
        return Vec::new();
    };
    let finding = |(one, other)| {
        Finding::warning(
            format!("topics {one} and {other} differ only in \".\" and \"_\""),
            "Kafka creates one of them at most: change the template of one",
        )
    };
    let pairs = colliding_topics(kafka, needs);
    pairs.into_iter().map(finding).collect()
}

/// Opens the sink as for nothing, so that looking at it makes no topic, then looks at it.
async fn findings(kind: SinkKind, needs: &Needs) -> Vec<Finding> {
    let sink = match app::open_sink(kind, &Needs::default()) {
        Ok((sink, _)) => sink,
        Err(error) => return vec![unopened(&error)],
    };
    let findings = sink.check(needs).await;
    sink.close(CLOSE_DEADLINE).await;
    findings
}

fn unopened(error: &anyhow::Error) -> Finding {
    match error.downcast_ref() {
        Some(StoreError::Held { path }) => {
            let path = path.display();
            Finding::good(format!("{path} is in use by a bridge that runs"))
        }
        _ => Finding::error(
            format!("it cannot be opened: {error:#}"),
            "the bridge would not start: mend this first",
        ),
    }
}
