//! What a person or a program is told of a backfill.

use anyhow::anyhow;

use crate::backfill::{MissingEvent, Progress, RunLine, Summary};
use crate::cli::command_error::CommandError;
use crate::cli::output::Output;
use crate::cli::terminal_progress::TerminalProgress;

/// The report.
pub(super) struct Report {
    output: Output,
    is_json: bool,
    bar: TerminalProgress,
    summary: Option<Summary>,
}

impl Report {
    pub fn new(is_json: bool) -> Self {
        Self {
            output: Output::new(),
            is_json,
            bar: TerminalProgress::towards(0),
            summary: None,
        }
    }

    /// Takes the next line of the run.
    pub fn take(&mut self, line: RunLine) -> Result<(), CommandError> {
        match line {
            RunLine::Progress(progress) => self.progress(&progress),
            RunLine::Missing(_) if self.is_json => self.output.json(&line)?,
            RunLine::Missing(missing) => {
                let (bar, output) = (&self.bar, &mut self.output);
                bar.above(|| output.line(text(&missing)))?;
            }
            RunLine::Summary(summary) => {
                self.summary = Some(summary);
                if self.is_json {
                    self.output.json(&line)?;
                }
            }
            RunLine::Failed(reason) => {
                self.bar.finish();
                return Err(CommandError::Failed(anyhow!("{reason}")));
            }
        }
        Ok(())
    }

    /// First the list is read, then what is missing is brought back.
    fn progress(&self, progress: &Progress) {
        let Progress {
            listed,
            total,
            missing,
            done,
        } = *progress;
        if done > 0 {
            self.bar.show(done, missing);
        } else {
            self.bar.show(listed, total.unwrap_or(listed));
        }
    }

    /// Says what came of it.
    pub fn finish(mut self, is_offline: bool) -> Result<(), CommandError> {
        self.bar.finish();
        let ended_early = || CommandError::Failed(anyhow!("the bridge ended before the run did"));
        let summary = self.summary.ok_or_else(ended_early)?;
        if !self.is_json {
            self.say(&summary, is_offline)?;
        }
        if summary.whole {
            return Ok(());
        }
        Err(CommandError::Failed(anyhow!(
            "the list changed while it was read, so that some of it may not have been seen: run it again"
        )))
    }

    fn say(&mut self, summary: &Summary, is_offline: bool) -> Result<(), CommandError> {
        self.output.line(found(summary))?;
        if summary.dry_run && summary.missing > 0 {
            self.output.line("nothing was fetched (--dry-run)")?;
        } else if is_offline && summary.recovered > 0 {
            self.output.line(
                "they wait in the spool: no bridge runs on it, and its next start publishes them",
            )?;
        } else if summary.redelivered > 0 {
            self.output
                .line("the provider delivers them again to the webhook's URL, by and by")?;
        }
        Ok(())
    }
}

fn text(missing: &MissingEvent) -> String {
    let MissingEvent {
        id,
        event_type,
        object_id,
        triggered_at,
        status,
    } = missing;
    let object = object_id.as_deref().unwrap_or("-");
    let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    format!("{triggered_at}  {event_type}  {object}  {status}  {id}")
}

/// What was found and done, in words; what did not happen is left out.
fn found(summary: &Summary) -> String {
    let Summary {
        listed, missing, ..
    } = summary;
    let parts = [
        (summary.recovered, "recovered"),
        (summary.redelivered, "to be delivered again"),
        (summary.dropped, "dropped by a route"),
        (summary.known, "known"),
        (
            summary.forgotten,
            "older than what is remembered, and left alone",
        ),
        (summary.too_young, "too young: they may still be delivered"),
        (
            summary.unreadable,
            "that are no events, or are not delivered again",
        ),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let what = if parts.is_empty() {
        String::new()
    } else {
        format!("; {}", parts.join(", "))
    };
    format!("{listed} on the provider's record, {missing} missing{what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_there_was() {
        let nothing = Summary {
            listed: 0,
            missing: 0,
            recovered: 0,
            redelivered: 0,
            known: 0,
            forgotten: 0,
            too_young: 0,
            unreadable: 0,
            dropped: 0,
            whole: true,
            dry_run: false,
        };
        assert_eq!(found(&nothing), "0 on the provider's record, 0 missing");
        let some = Summary {
            listed: 9,
            missing: 2,
            recovered: 2,
            known: 7,
            ..nothing
        };
        assert_eq!(
            found(&some),
            "9 on the provider's record, 2 missing; 2 recovered, 7 known"
        );
    }
}
