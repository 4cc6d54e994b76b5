//! Where an export goes: a file, or standard output; one JSON object a line.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::access::Page;
use super::failure::Failure;
use super::output::{Output, json, written};
use super::progress::Progress;
use crate::spool::MAX_LISTED;

/// Where it goes.
#[derive(Debug, Args)]
pub(super) struct ExportPlace {
    /// The file; standard output unless given.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ExportPlace {
    /// Writes everything that is there, page after page. `place` tells where an entry stands.
    pub(super) fn write<T: Serialize, P>(
        &self,
        total: u64,
        ask: impl Fn(&Page<P>) -> Result<Vec<T>, Failure>,
        place: impl Fn(&T) -> P,
    ) -> Result<(), Failure> {
        let mut file = self.create()?;
        let mut output = Output::new();
        let progress = Progress::towards(total);
        let mut count = 0_u64;
        let mut page = Page {
            after: None,
            limit: MAX_LISTED,
            bodies: true,
        };
        loop {
            let entries = ask(&page)?;
            let Some(last) = entries.last() else { break };
            page.after = Some(place(last));
            for entry in &entries {
                match &mut file {
                    Some(file) => written(writeln!(file, "{}", json(entry)?))?,
                    None => output.json(entry)?,
                }
                count += 1;
            }
            progress.advance(entries.len() as u64);
        }
        progress.finish();
        if let (Some(mut file), Some(path)) = (file, &self.output) {
            written(file.flush())?;
            eprintln!("{count} exported to {}", path.display());
        }
        Ok(())
    }

    fn create(&self) -> Result<Option<BufWriter<File>>, Failure> {
        let Some(path) = &self.output else {
            return Ok(None);
        };
        let file = File::create(path)
            .map_err(|error| Failure::Usage(format!("--output {}: {error}", path.display())))?;
        Ok(Some(BufWriter::new(file)))
    }
}
