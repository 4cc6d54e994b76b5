//! `dead-letters`: the events that a sink can never take.

use clap::{Args, Subcommand};

use super::access::{Look, Page, SpoolPlace};
use super::confirmation::Confirmation;
use super::event_view::{body_lines, event_lines};
use super::export::ExportPlace;
use super::failure::Failure;
use super::output::Output;
use super::progress::Progress;
use super::table::Table;
use crate::spool::{DeadLetter, DeadLetterName, MAX_LISTED, describe};

/// Look at the events that were set aside, export them, put them back, or drop them.
#[derive(Debug, Args)]
#[command(
    after_help = "A dead letter is called by its event's sequence and the sink that cannot take it, as `list` shows it.

While a bridge runs on the spool, it is asked through its admin listener; otherwise its files are read,
and nothing is changed. Only requeue and drop open them for writing, and no bridge can start meanwhile.

Examples:
  hookferry dead-letters list --config hookferry.toml
  hookferry dead-letters show 4711-kafka --config hookferry.toml
  hookferry dead-letters requeue --all --config hookferry.toml   # after the broker's limit was raised
  hookferry dead-letters drop 4711-kafka 4712-kafka --yes --config hookferry.toml"
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
    /// Their names, as `list` shows them.
    names: Vec<DeadLetterName>,
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
            } => list(&*place.look()?, *limit, after.as_ref(), *json),
            Verb::Show { name, place, json } => show(&place.look()?.dead_letter(name)?, *json),
            Verb::Export { place, to } => {
                let spool = place.look()?;
                let overview = spool.overview()?;
                let total = overview.sinks.iter().map(|sink| sink.dead_letters).sum();
                to.write(total, |page| spool.dead_letters(page), name_of)
            }
            Verb::Requeue { which, place } => {
                let spool = place.change()?;
                let names = which.names(spool.look())?;
                each(&names, "requeued", |name| spool.requeue(name))
            }
            Verb::Drop {
                which,
                place,
                confirmation,
            } => {
                let spool = place.change()?;
                let names = which.names(spool.look())?;
                confirmation.ask(&format!("dropping {} dead letters", names.len()))?;
                each(&names, "dropped", |name| spool.drop_dead_letter(name))
            }
        }
    }
}

impl Which {
    /// The names; of all, those that are there when this is called, so that it comes to an end.
    fn names(&self, spool: &dyn Look) -> Result<Vec<DeadLetterName>, Failure> {
        if !self.all {
            return Ok(self.names.clone());
        }
        let mut names = Vec::new();
        loop {
            let page = Page {
                after: names.last().cloned(),
                limit: MAX_LISTED,
                bodies: false,
            };
            let found = spool.dead_letters(&page)?;
            if found.is_empty() {
                return Ok(names);
            }
            names.extend(found.iter().map(name_of));
        }
    }
}

/// Changes each; one that cannot be changed is named and does not keep the others.
fn each(
    names: &[DeadLetterName],
    verb: &str,
    change: impl Fn(&DeadLetterName) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let progress = Progress::towards(names.len() as u64);
    let mut changed = 0_usize;
    for name in names {
        match change(name) {
            Ok(()) => changed += 1,
            Err(Failure::Failed(error)) => eprintln!("{name}: {error:#}"),
            Err(failure) => return Err(failure),
        }
        progress.advance(1);
    }
    progress.finish();
    eprintln!("{changed} {verb}");
    if changed == names.len() {
        Ok(())
    } else {
        Err(Failure::Negative)
    }
}

fn name_of(letter: &DeadLetter) -> DeadLetterName {
    letter.name.clone()
}

fn list(
    spool: &dyn Look,
    limit: usize,
    after: Option<&DeadLetterName>,
    json: bool,
) -> Result<(), Failure> {
    let page = Page {
        after: after.cloned(),
        limit: limit.min(MAX_LISTED),
        bodies: false,
    };
    let letters = page.fill(|page| spool.dead_letters(page), name_of)?;
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

fn show(letter: &DeadLetter, json: bool) -> Result<(), Failure> {
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
