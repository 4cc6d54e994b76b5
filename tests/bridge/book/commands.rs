//! The page of commands: what each says to `--help`.

use std::fmt::Write as _;

use clap::Command;

use super::is_current;

/// As wide as a terminal that has room; the same on every machine.
const WIDTH: usize = 100;

/// The help of a command and of all below it.
fn sections(command: &Command, name: &str, level: usize, page: &mut String) {
    let mut shown = command
        .clone()
        .bin_name(name)
        .term_width(WIDTH)
        .mut_args(|argument| argument.hide_env_values(true));
    let help = shown.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let help = lines.join("\n");
    let heading = "#".repeat(level);
    let _ = write!(
        page,
        "{heading} {name}\n\n```text\n{}\n```\n\n",
        help.trim_end()
    );
    let below = command.get_subcommands();
    for part in below.filter(|part| part.get_name() != "help" && !part.is_hide_set()) {
        let name = format!("{name} {}", part.get_name());
        sections(part, &name, level + 1, page);
    }
}

fn page() -> String {
    let mut page = "# Commands\n\n\
        What was asked for goes to standard output, what is said about it to standard error. Exit codes: \
        **0** done, **1** failed, **2** wrong usage or configuration. Below, what each command says to \
        `--help`.\n\n"
        .to_owned();
    sections(&hookferry::cli::command(), "hookferry", 2, &mut page);
    page.trim_end().to_owned() + "\n"
}

#[test]
fn the_page_of_commands_is_current() {
    let page = page();
    for command in ["serve", "check", "spool drop"] {
        assert!(page.contains(&format!("# hookferry {command}\n")), "{page}");
    }
    is_current("commands.md", "the command line's definition", &page);
}
