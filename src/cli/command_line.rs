//! The command line: its definition, from which the manual's page of commands is made too, and its
//! running.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use super::{
    backfill, check, completions, dead_letters, demo, explain, health, man_pages, print_config,
    send, serve, spool, tail, ui,
};
use crate::telemetry::LastLines;

/// Signed webhooks in, RabbitMQ or Kafka out, nothing lost in between.
#[derive(Debug, Parser)]
#[command(name = "hookferry", version, about, max_term_width = 100)]
#[command(after_help = "Examples:
  hookferry demo                           the whole bridge on this machine, with sample events
  hookferry config example > hookferry.toml
  hookferry check --config hookferry.toml --connect
  hookferry serve --config hookferry.toml
  hookferry ui --config hookferry.toml     the page of the bridge that runs

Each command has examples of its own: hookferry COMMAND --help")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoCommand),
    Serve(serve::ServeCommand),
    Check(check::CheckCommand),
    Health(health::HealthCommand),
    Ui(ui::UiCommand),
    Send(send::SendCommand),
    Explain(explain::ExplainCommand),
    Tail(tail::TailCommand),
    Spool(spool::SpoolEventsCommand),
    DeadLetters(dead_letters::DeadLettersCommand),
    Backfill(backfill::BackfillCommand),
    Config(print_config::ConfigCommand),
    Completions(completions::CompletionsCommand),
    ManPages(man_pages::ManPagesCommand),
}

/// The definition of the command line.
#[must_use]
pub fn command() -> clap::Command {
    CommandLine::command()
}

/// Runs what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    let command_line = CommandLine::parse();
    // Dropped at the end: it writes the log's last lines.
    let _last_lines = LastLines;
    let result = match command_line.command {
        Command::Demo(demo) => demo.run(),
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Health(health) => health.run(),
        Command::Ui(ui) => ui.run(),
        Command::Send(send) => send.run(),
        Command::Explain(explain) => explain.run(),
        Command::Tail(tail) => tail.run(),
        Command::Spool(spool) => spool.run(),
        Command::DeadLetters(letters) => letters.run(),
        Command::Backfill(backfill) => backfill.run(),
        Command::Config(config) => config.run(),
        Command::Completions(completions) => completions.run(command()),
        Command::ManPages(pages) => pages.run(command()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(),
    }
}
