//! `man-pages`: a manual page of every command, for `man`, from the definition of the command line.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::command_error::CommandError;

/// Write a manual page of every command, for man.
#[derive(Debug, Args)]
#[command(after_help = "The Debian package brings them.

Examples:
  hookferry man-pages /usr/local/share/man/man1 && man hookferry-serve
  hookferry man-pages . && man ./hookferry.1")]
pub(super) struct ManPagesCommand {
    /// The folder that they are written to, which is made where it is missing.
    folder: PathBuf,
}

impl ManPagesCommand {
    pub(super) fn run(&self, command: Command) -> Result<(), CommandError> {
        let mut command = command.disable_help_subcommand(true);
        // Gives every command its full name.
        command.build();
        let written = std::fs::create_dir_all(&self.folder);
        let written = written.and_then(|()| write_pages(&command, &self.folder));
        written.map_err(|error| {
            let folder = self.folder.display();
            CommandError::Failed(anyhow!("{folder}: the pages cannot be written: {error}"))
        })
    }
}

/// The page of a command and those of all below it.
fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    for part in command.get_subcommands() {
        write_pages(part, folder)?;
    }
    let source = concat!("hookferry ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source).manual("Hookferry");
    let page = page(&man, command)?;
    std::fs::write(folder.join(man.get_filename()), page)
}

/// What `--help` says after the options is two things of a page: more of the description, and examples.
fn page(man: &Man, command: &Command) -> io::Result<Vec<u8>> {
    let help = command.get_after_help().map(ToString::to_string);
    let help = help.unwrap_or_default();
    let (notes, examples) = help.split_once("Examples:\n").unwrap_or((&help, ""));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if !notes.is_empty() {
        let mut paragraph = Roff::new();
        paragraph.control("PP", []);
        add(&mut paragraph, notes).to_writer(&mut page)?;
    }
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if !examples.is_empty() {
        let mut section = Roff::new();
        section.control("SH", ["EXAMPLES"]);
        add(&mut section, examples).to_writer(&mut page)?;
    }
    Ok(page)
}

/// Adds text as it stands in the help: what is indented keeps its lines, everything else is filled.
fn add<'a>(roff: &'a mut Roff, text: &str) -> &'a mut Roff {
    let mut as_it_stands = false;
    for line in text.trim_end().lines() {
        let literal = line.strip_prefix("  ");
        if literal.is_some() != as_it_stands {
            as_it_stands = literal.is_some();
            roff.control(if as_it_stands { "nf" } else { "fi" }, []);
        }
        match literal.unwrap_or(line) {
            "" => roff.control("PP", []),
            text => roff.text([roman(text)]),
        };
    }
    if as_it_stands {
        roff.control("fi", []);
    }
    roff
}
