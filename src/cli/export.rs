//! Where an export goes: a file, or standard output; one JSON object a line.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::output::{Output, json, written};
use super::progress::Progress;
use super::{Failure, access};

/// Where it goes.
#[derive(Debug, Args)]
pub(super) struct ExportPlace {
    /// The file; standard output unless given.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ExportPlace {
    /// Writes everything that `page` gives, page after page. `place` tells where an entry stands.
    pub(super) fn write<T: Serialize>(
        &self,
        total: u64,
        page: impl Fn(access::Page) -> Result<Vec<T>, Failure>,
        place: impl Fn(&T) -> u64,
    ) -> Result<(), Failure> {
        let mut file = self.create()?;
        let mut output = Output::new();
        let progress = Progress::towards(total);
        let (mut after, mut count) = (0, 0_u64);
        loop {
            let entries = page(access::Page {
                after,
                limit: access::PAGE_WITH_BODIES,
                bodies: true,
            })?;
            let Some(last) = entries.last() else { break };
            after = place(last);
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
