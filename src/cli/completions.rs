//! `completions`: what a shell needs to complete the program's command line.

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::command_error::CommandError;
use super::output::Output;

/// Print the completions of a shell.
#[derive(Debug, Args)]
#[command(
    after_help = "They are a script, which the shell reads where it looks for such. The Debian package brings those of bash,
fish and zsh.

Examples:
  hookferry completions bash > /etc/bash_completion.d/hookferry
  hookferry completions fish > ~/.config/fish/completions/hookferry.fish
  hookferry completions zsh > /usr/local/share/zsh/site-functions/_hookferry"
)]
pub(super) struct CompletionsCommand {
    /// The shell.
    shell: Shell,
}

impl CompletionsCommand {
    pub(super) fn run(&self, mut command: Command) -> Result<(), CommandError> {
        let mut script = Vec::new();
        generate(self.shell, &mut command, "hookferry", &mut script);
        let script = String::from_utf8_lossy(&script);
        Output::new().line(script.trim_end())
    }
}
