//! `dead-letters`: the events that a sink can never take.

use clap::{Args, Subcommand};

use super::command_error::CommandError;
use super::confirmation::Confirmation;
use super::event_lines::{body_lines, event_lines};
use super::export_arguments::ExportArguments;
use super::output::Output;
use super::page_request::PageRequest;
use super::spool_arguments::SpoolArguments;
use super::spool_inspection::SpoolInspection;
use super::table::Table;
use super::terminal_progress::TerminalProgress;
use crate::spool::{DeadLetter, DeadLetterName, MAX_LISTED, describe};

/// Look at the events that were set aside, export them, put them back, or drop them.
#[derive(Debug, Args)]
#[command(
    after_help = "A dead letter is called by its event's sequence and the sink that cannot take it, as `list` shows it.

While a bridge runs on the spool, it is asked through its admin listener; otherwise the spool's files
are read, and nothing is changed. Only a running bridge requeues and drops dead letters.

Examples:
  hookferry dead-letters list --config hookferry.toml
  hookferry dead-letters show 4711-kafka --config hookferry.toml
  hookferry dead-letters requeue --all --config hookferry.toml   # after the broker's limit was raised
  hookferry dead-letters drop 4711-kafka 4712-kafka --yes --config hookferry.toml"
)]
pub(super) struct DeadLettersCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The dead letters, oldest first.
    List {
        #[command(flatten)]
        spool: SpoolArguments,
        /// The most dead letters listed.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Only dead letters after this one.
        #[arg(long, value_name = "NAME")]
        after: Option<DeadLetterName>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// One dead letter, with its body.
    Show {
        /// Its name, as `list` shows it.
        name: DeadLetterName,
        #[command(flatten)]
        spool: SpoolArguments,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Every dead letter, with its body, as one JSON object a line.
    Export {
        #[command(flatten)]
        spool: SpoolArguments,
        #[command(flatten)]
        to: ExportArguments,
    },
    /// Put dead letters back among the events that wait: they are published again.
    Requeue {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        spool: SpoolArguments,
    },
    /// Drop dead letters for good.
    Drop {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        spool: SpoolArguments,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

/// Which dead letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Their names, as `list` shows them.
    names: Vec<DeadLetterName>,
    /// All that are there now.
    #[arg(long)]
    all: bool,
}

impl DeadLettersCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        match &self.verb {
            Verb::List {
                spool,
                limit,
                after,
                json,
            } => list(&*spool.inspect()?, *limit, after.as_ref(), *json),
            Verb::Show { name, spool, json } => show(&spool.inspect()?.dead_letter(name)?, *json),
            Verb::Export { spool, to } => {
                let spool = spool.inspect()?;
                let overview = spool.overview()?;
                let total = overview.sinks.iter().map(|sink| sink.dead_letters).sum();
                to.write(total, |page| spool.dead_letters(page), name_of)
            }
            Verb::Requeue { which, spool } => {
                let bridge = spool.bridge()?;
                let names = which.names(&bridge)?;
                each(&names, "requeued", |name| bridge.requeue(name))
            }
            Verb::Drop {
                which,
                spool,
                confirmation,
            } => {
                let bridge = spool.bridge()?;
                let names = which.names(&bridge)?;
                confirmation.ask(&format!("dropping {} dead letters", names.len()))?;
                each(&names, "dropped", |name| bridge.drop_dead_letter(name))
            }
        }
    }
}

impl Which {
    /// The names; of all, those that are there when this is called, so that it comes to an end.
    fn names(&self, spool: &dyn SpoolInspection) -> Result<Vec<DeadLetterName>, CommandError> {
        if !self.all {
            return Ok(self.names.clone());
        }
        let all = PageRequest::all(false);
        let letters = all.entries(|page| spool.dead_letters(page), name_of)?;
        Ok(letters.into_iter().map(|letter| letter.name).collect())
    }
}

/// Changes each; one that cannot be changed is named and does not keep the others.
fn each(
    names: &[DeadLetterName],
    verb: &str,
    change: impl Fn(&DeadLetterName) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let progress = TerminalProgress::towards(names.len() as u64);
    let mut changed = 0_usize;
    for name in names {
        match change(name) {
            Ok(()) => changed += 1,
            Err(CommandError::Failed(error)) => eprintln!("{name}: {error:#}"),
            Err(failure) => return Err(failure),
        }
        progress.advance(1);
    }
    progress.finish();
    eprintln!("{changed} {verb}");
    if changed == names.len() {
        Ok(())
    } else {
        Err(CommandError::Negative)
    }
}

fn name_of(letter: &DeadLetter) -> DeadLetterName {
    letter.name.clone()
}

fn list(
    spool: &dyn SpoolInspection,
    limit: usize,
    after: Option<&DeadLetterName>,
    json: bool,
) -> Result<(), CommandError> {
    let page = PageRequest {
        after: after.cloned(),
        limit: limit.min(MAX_LISTED),
        bodies: false,
    };
    let letters = page.entries(|page| spool.dead_letters(page), name_of)?;
    let mut output = Output::new();
    if json {
        return output.json(&letters);
    }
    let mut table = Table::new(&["NAME", "SET ASIDE", "REASON", "EVENT", "DETAIL"]);
    for letter in &letters {
        let event = letter.event.as_ref().map(describe);
        let set_aside_at = letter.set_aside_at.map(|time| time.to_string());
        table.row(vec![
            letter.name.to_string(),
            set_aside_at.unwrap_or_else(|| "-".into()),
            letter.reason.clone(),
            event.unwrap_or_else(|| "(damaged)".into()),
            letter.detail.clone(),
        ]);
    }
    table.show(&mut output)?;
    match letters.last() {
        None => eprintln!("there are none"),
        Some(last) if letters.len() >= page.limit => {
            eprintln!("there may be more: --after {}", last.name);
        }
        Some(_) => {}
    }
    Ok(())
}

fn show(letter: &DeadLetter, json: bool) -> Result<(), CommandError> {
    let mut output = Output::new();
    if json {
        return output.json(letter);
    }
    output.line(format_args!("name         {}", letter.name))?;
    output.line(format_args!("sink         {}", letter.sink))?;
    output.line(format_args!(
        "reason       {}: {}",
        letter.reason, letter.detail
    ))?;
    if let Some(time) = letter.set_aside_at {
        output.line(format_args!("set aside at {time}"))?;
    }
    if let Some(event) = &letter.event {
        event_lines(event, &mut output)?;
    }
    body_lines(letter.body.as_ref(), &mut output)
}
