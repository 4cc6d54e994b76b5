//! Where an export goes: a file, or standard output; one JSON object a line.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::command_error::CommandError;
use super::output::{Output, json, written};
use super::page_request::PageRequest;
use super::terminal_progress::TerminalProgress;

/// Where it goes.
#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// The file; standard output unless given.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ExportArguments {
    /// Writes all of a list, with the bodies. `position` tells where an entry stands.
    pub(super) fn write<T: Serialize, P: Clone>(
        &self,
        total: u64,
        ask: impl Fn(&PageRequest<P>) -> Result<Vec<T>, CommandError>,
        position: impl Fn(&T) -> P,
    ) -> Result<(), CommandError> {
        let mut file = self.create()?;
        let mut output = Output::new();
        let progress = TerminalProgress::towards(total);
        let mut count = 0_u64;
        PageRequest::all(true).each_answer(ask, position, |entries| {
            for entry in &entries {
                match &mut file {
                    Some(file) => written(writeln!(file, "{}", json(entry)?))?,
                    None => output.json(entry)?,
                }
                count += 1;
            }
            progress.advance(entries.len() as u64);
            Ok(())
        })?;
        progress.finish();
        if let (Some(mut file), Some(path)) = (file, &self.output) {
            written(file.flush())?;
            eprintln!("{count} exported to {}", path.display());
        }
        Ok(())
    }

    fn create(&self) -> Result<Option<BufWriter<File>>, CommandError> {
        let Some(path) = &self.output else {
            return Ok(None);
        };
        let file = File::create(path).map_err(|error| {
            CommandError::Usage(format!("--output {}: {error}", path.display()))
        })?;
        Ok(Some(BufWriter::new(file)))
    }
}
