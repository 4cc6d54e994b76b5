//! The confirmation that a command asks for before it drops something for good.

use std::io::{BufRead as _, IsTerminal as _};

use clap::Args;

use super::command_error::CommandError;

/// Whether it has been given already.
#[derive(Debug, Args)]
pub(super) struct Confirmation {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Confirmation {
    /// Asks, unless told not to; where nobody can be asked, `--yes` must be there.
    pub(super) fn ask(&self, what: &str) -> Result<(), CommandError> {
        if self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            let text = format!("{what} cannot be undone: say --yes");
            return Err(CommandError::Usage(text));
        }
        eprint!("{what} cannot be undone. Go on? [y/N] ");
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        let agreed = matches!(answer.trim(), "y" | "Y" | "yes");
        if read.is_ok() && agreed {
            return Ok(());
        }
        eprintln!("nothing was changed");
        Err(CommandError::Negative)
    }
}
