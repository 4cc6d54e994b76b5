//! `spool`: the events that wait.

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::access::{Look, Page, SpoolPlace};
use super::confirmation::Confirmation;
use super::event_view::{body_lines, event_lines};
use super::export::ExportPlace;
use super::failure::Failure;
use super::output::Output;
use super::table::Table;
use crate::name::SinkName;
use crate::spool::{MAX_LISTED, PendingEvent, SpoolOverview, describe};

/// Look at the events that wait in the spool, export them, or drop them.
#[derive(Debug, Args)]
#[command(
    after_help = "While a bridge runs on the spool, it is asked through its admin listener; otherwise its files are read,
and nothing is changed. Only drop opens them for writing, and no bridge can start meanwhile.

Examples:
  hookferry spool list --config hookferry.toml
  hookferry spool show 4711 --config hookferry.toml
  hookferry spool export --config hookferry.toml --output waiting.ndjson
  hookferry spool drop --sink old-kafka --config hookferry.toml   # only what no bridge delivers any more"
)]
pub(super) struct Spool {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The spool in numbers, and the events that wait, oldest first.
    List {
        #[command(flatten)]
        place: SpoolPlace,
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
        place: SpoolPlace,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Every event that waits, with its body, as one JSON object a line.
    Export {
        #[command(flatten)]
        place: SpoolPlace,
        #[command(flatten)]
        to: ExportPlace,
    },
    /// Drop every event that waits for a sink.
    Drop {
        /// The sink; a bridge that runs drops nothing of a sink it delivers to.
        #[arg(long, value_parser = sink_name)]
        sink: SinkName,
        #[command(flatten)]
        place: SpoolPlace,
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

impl Spool {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match &self.verb {
            Verb::List {
                place,
                limit,
                after,
                json,
            } => list(&*place.look()?, *limit, *after, *json),
            Verb::Show {
                sequence,
                place,
                json,
            } => show(&place.look()?.pending_one(*sequence)?, *json),
            Verb::Export { place, to } => {
                let spool = place.look()?;
                let total = waiting(&spool.overview()?);
                to.write(total, |page| spool.pending(page), |event| event.sequence)
            }
            Verb::Drop {
                sink,
                place,
                confirmation,
            } => {
                let spool = place.change()?;
                confirmation.ask(&format!("dropping every event that waits for {sink}"))?;
                let count = spool.drop_pending(sink)?;
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

fn list(spool: &dyn Look, limit: usize, after: Option<u64>, json: bool) -> Result<(), Failure> {
    let overview = spool.overview()?;
    let page = Page {
        after,
        limit: limit.min(MAX_LISTED),
        bodies: false,
    };
    let events = page.fill(|page| spool.pending(page), |event| event.sequence)?;
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

fn show_overview(overview: &SpoolOverview, output: &mut Output) -> Result<(), Failure> {
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

fn show(event: &PendingEvent, json: bool) -> Result<(), Failure> {
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
