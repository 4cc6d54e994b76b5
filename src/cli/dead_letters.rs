//! `dead-letters`: the events that a sink can never take.

use clap::{Args, Subcommand};

use super::Failure;
use super::access::{Access, Page, SpoolPlace};
use super::confirmation::Confirmation;
use super::event_view::{body_lines, event_lines};
use super::export::ExportPlace;
use super::output::Output;
use super::progress::Progress;
use super::table::Table;
use crate::spool::{DeadLetter, MAX_LISTED, describe};

/// Look at the events that were set aside, export them, put them back, or drop them.
#[derive(Debug, Args)]
#[command(
    after_help = "While a bridge runs on the spool, it is asked through its admin listener; otherwise the file is
opened, and no bridge can start on it meanwhile.

Examples:
  hookferry dead-letters list --config hookferry.toml
  hookferry dead-letters show 3 --config hookferry.toml
  hookferry dead-letters requeue --all --config hookferry.toml   # after the broker's limit was raised
  hookferry dead-letters drop 3 4 --yes --config hookferry.toml"
)]
pub(super) struct DeadLetters {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The dead letters, oldest first.
    List {
        #[command(flatten)]
        place: SpoolPlace,
        /// The most dead letters listed.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Only dead letters after this number.
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: u64,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// One dead letter, with its body.
    Show {
        /// Its number, as `list` shows it.
        number: u64,
        #[command(flatten)]
        place: SpoolPlace,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Every dead letter, with its body, as one JSON object a line.
    Export {
        #[command(flatten)]
        place: SpoolPlace,
        #[command(flatten)]
        to: ExportPlace,
    },
    /// Put dead letters back among the events that wait: they are published again.
    Requeue {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        place: SpoolPlace,
    },
    /// Drop dead letters for good.
    Drop {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        place: SpoolPlace,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

/// Which dead letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Their numbers, as `list` shows them.
    numbers: Vec<u64>,
    /// All that are there now.
    #[arg(long)]
    all: bool,
}

impl DeadLetters {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match &self.verb {
            Verb::List {
                place,
                limit,
                after,
                json,
            } => list(&*place.open()?, *limit, *after, *json),
            Verb::Show {
                number,
                place,
                json,
            } => show(&place.open()?.dead_letter(*number)?, *json),
            Verb::Export { place, to } => {
                let access = place.open()?;
                let counts = access.overview()?.sinks.into_iter();
                let total = counts.filter_map(|sink| u64::try_from(sink.dead_letters).ok());
                to.write(total.sum(), |page| access.dead_letters(page), place_of)
            }
            Verb::Requeue { which, place } => {
                let access = place.open()?;
                let numbers = which.numbers(&*access)?;
                each(&numbers, "requeued", |number| access.requeue(number))
            }
            Verb::Drop {
                which,
                place,
                confirmation,
            } => {
                let access = place.open()?;
                let numbers = which.numbers(&*access)?;
                confirmation.ask(&format!("dropping {} dead letters", numbers.len()))?;
                each(&numbers, "dropped", |number| {
                    access.drop_dead_letter(number)
                })
            }
        }
    }
}

impl Which {
    /// The numbers; of all, those that are there when this is called, so that it comes to an end.
    fn numbers(&self, access: &dyn Access) -> Result<Vec<u64>, Failure> {
        if !self.all {
            return Ok(self.numbers.clone());
        }
        let mut numbers = Vec::new();
        loop {
            let page = Page {
                after: numbers.last().copied().unwrap_or(0),
                limit: MAX_LISTED,
                bodies: false,
            };
            let found = access.dead_letters(page)?;
            if found.is_empty() {
                return Ok(numbers);
            }
            numbers.extend(found.iter().map(place_of));
        }
    }
}

/// Changes each; one that cannot be changed is named and does not keep the others.
fn each(
    numbers: &[u64],
    verb: &str,
    change: impl Fn(u64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let progress = Progress::towards(numbers.len() as u64);
    let mut changed = 0_usize;
    for number in numbers {
        match change(*number) {
            Ok(()) => changed += 1,
            Err(Failure::Failed(error)) => eprintln!("{number}: {error:#}"),
            Err(failure) => return Err(failure),
        }
        progress.advance(1);
    }
    progress.finish();
    eprintln!("{changed} {verb}");
    if changed == numbers.len() {
        Ok(())
    } else {
        Err(Failure::Negative)
    }
}

fn place_of(letter: &DeadLetter) -> u64 {
    u64::try_from(letter.number).unwrap_or_default()
}

fn list(access: &dyn Access, limit: usize, after: u64, json: bool) -> Result<(), Failure> {
    let page = Page {
        after,
        limit: limit.min(MAX_LISTED),
        bodies: false,
    };
    let letters = access.dead_letters(page)?;
    let mut output = Output::new();
    if json {
        return output.json(&letters);
    }
    let mut table = Table::new(&["NUMBER", "SET ASIDE", "SINK", "REASON", "EVENT", "DETAIL"]);
    for letter in &letters {
        let event = letter.event.as_ref().map(describe);
        table.row(vec![
            letter.number.to_string(),
            letter.buried_at.to_string(),
            letter.sink.to_string(),
            letter.reason.clone(),
            event.unwrap_or_else(|| "(damaged)".into()),
            letter.detail.clone(),
        ]);
    }
    table.show(&mut output)?;
    match letters.last() {
        None => eprintln!("there are none"),
        Some(last) if letters.len() >= page.limit => {
            eprintln!("there may be more: --after {}", last.number);
        }
        Some(_) => {}
    }
    Ok(())
}

fn show(letter: &DeadLetter, json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    if json {
        return output.json(letter);
    }
    output.line(format_args!("number       {}", letter.number))?;
    output.line(format_args!("sink         {}", letter.sink))?;
    output.line(format_args!(
        "reason       {}: {}",
        letter.reason, letter.detail
    ))?;
    output.line(format_args!("set aside at {}", letter.buried_at))?;
    if let Some(event) = &letter.event {
        event_lines(event, &mut output)?;
    }
    body_lines(letter.body.as_ref(), &mut output)
}
