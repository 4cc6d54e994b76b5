//! `spool`: the events that wait.

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::command_error::CommandError;
use super::confirmation::Confirmation;
use super::event_lines::{body_lines, event_lines};
use super::export_arguments::ExportArguments;
use super::output::Output;
use super::page_request::PageRequest;
use super::spool_arguments::SpoolArguments;
use super::spool_inspection::SpoolInspection;
use super::table::Table;
use crate::name::SinkName;
use crate::spool::{MAX_LISTED, PendingEvent, SpoolOverview, describe};

/// Look at the events that wait in the spool, export them, or drop them.
#[derive(Debug, Args)]
#[command(
    after_help = "While a bridge runs on the spool, it is asked through its admin listener; otherwise the spool's files
are read, and nothing is changed. Only a running bridge drops events.

Examples:
  hookferry spool list --config hookferry.toml
  hookferry spool show 4711 --config hookferry.toml
  hookferry spool export --config hookferry.toml --output waiting.ndjson
  hookferry spool drop --sink old-kafka --config hookferry.toml   # only what no bridge delivers any more"
)]
pub(super) struct SpoolEventsCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The spool in numbers, and the events that wait, oldest first.
    List {
        #[command(flatten)]
        spool: SpoolArguments,
        /// The most events listed.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Only events after this sequence.
        #[arg(long, value_name = "SEQUENCE")]
        after: Option<u64>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// One event, with its body.
    Show {
        /// Its sequence, as `list` shows it.
        sequence: u64,
        #[command(flatten)]
        spool: SpoolArguments,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Every event that waits, with its body, as one JSON object a line.
    Export {
        #[command(flatten)]
        spool: SpoolArguments,
        #[command(flatten)]
        to: ExportArguments,
    },
    /// Drop every event that waits for a sink.
    Drop {
        /// The sink; nothing is dropped of one that the bridge delivers to.
        #[arg(long, value_parser = sink_name)]
        sink: SinkName,
        #[command(flatten)]
        spool: SpoolArguments,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

fn sink_name(text: &str) -> Result<SinkName, String> {
    SinkName::parse(text).map_err(|error| error.to_string())
}

#[derive(Serialize)]
struct Listing<'a> {
    spool: &'a SpoolOverview,
    events: &'a [PendingEvent],
}

impl SpoolEventsCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        match &self.verb {
            Verb::List {
                spool,
                limit,
                after,
                json,
            } => list(&*spool.inspect()?, *limit, *after, *json),
            Verb::Show {
                sequence,
                spool,
                json,
            } => show(&spool.inspect()?.pending_one(*sequence)?, *json),
            Verb::Export { spool, to } => {
                let spool = spool.inspect()?;
                let total = waiting(&spool.overview()?);
                to.write(total, |page| spool.pending(page), |event| event.sequence)
            }
            Verb::Drop {
                sink,
                spool,
                confirmation,
            } => {
                let bridge = spool.bridge()?;
                confirmation.ask(&format!("dropping every event that waits for {sink}"))?;
                let count = bridge.drop_pending(sink)?;
                eprintln!("{count} dropped");
                Ok(())
            }
        }
    }
}

/// At least how many events wait: one that waits for two sinks is counted by both.
fn waiting(overview: &SpoolOverview) -> u64 {
    let most = overview.sinks.iter().map(|sink| sink.pending).max();
    most.unwrap_or_default()
}

fn list(
    spool: &dyn SpoolInspection,
    limit: usize,
    after: Option<u64>,
    json: bool,
) -> Result<(), CommandError> {
    let overview = spool.overview()?;
    let page = PageRequest {
        after,
        limit: limit.min(MAX_LISTED),
        bodies: false,
    };
    let events = page.entries(|page| spool.pending(page), |event| event.sequence)?;
    let mut output = Output::new();
    if json {
        return output.json(&Listing {
            spool: &overview,
            events: &events,
        });
    }
    show_overview(&overview, &mut output)?;
    if events.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let mut table = Table::new(&["SEQUENCE", "RECEIVED", "FOR", "EVENT", "ID"]);
    for event in &events {
        let sinks: Vec<&str> = event.sinks.iter().map(SinkName::as_str).collect();
        table.row(vec![
            event.sequence.to_string(),
            event.event.received_at().to_string(),
            sinks.join(","),
            describe(&event.event),
            event.event.id().to_string(),
        ]);
    }
    table.show(&mut output)?;
    if let Some(last) = events.last().filter(|_| events.len() >= page.limit) {
        eprintln!("there may be more: --after {}", last.sequence);
    }
    Ok(())
}

fn show_overview(overview: &SpoolOverview, output: &mut Output) -> Result<(), CommandError> {
    let heading = ["SINK", "WAITING", "DEAD LETTERS", "LOST", "OLDEST RECEIVED"];
    let mut table = Table::new(&heading);
    for sink in &overview.sinks {
        let oldest = sink.oldest_received_at.map(|time| time.to_string());
        table.row(vec![
            sink.sink.to_string(),
            sink.pending.to_string(),
            sink.dead_letters.to_string(),
            sink.lost.to_string(),
            oldest.unwrap_or_else(|| "-".into()),
        ]);
    }
    table.show(output)?;
    let live = ByteSize(overview.bytes);
    output.line(format_args!("{live} of events, {}", bounds(overview)))?;
    if overview.lost_records > 0 {
        output.line(format_args!(
            "{} records were damaged or gone: their events are lost for the sinks they still waited for",
            overview.lost_records
        ))?;
    }
    Ok(())
}

/// What the files take, and how much there may be of everything.
fn bounds(overview: &SpoolOverview) -> String {
    let files = ByteSize(overview.file_bytes);
    let bytes = overview
        .max_bytes
        .map(|most| format!(" of {}", ByteSize(most)));
    let events = overview
        .max_events
        .map(|most| format!("; at most {most} events"));
    format!(
        "in files of {files}{}{}",
        bytes.unwrap_or_default(),
        events.unwrap_or_default()
    )
}

fn show(event: &PendingEvent, json: bool) -> Result<(), CommandError> {
    let mut output = Output::new();
    if json {
        return output.json(event);
    }
    let sinks: Vec<&str> = event.sinks.iter().map(SinkName::as_str).collect();
    output.line(format_args!("sequence     {}", event.sequence))?;
    output.line(format_args!("for          {}", sinks.join(", ")))?;
    event_lines(&event.event, &mut output)?;
    body_lines(event.body.as_ref(), &mut output)
}
