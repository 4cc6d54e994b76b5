//! The commands: what a person types, and what the program answers on the terminal.
//!
//! What was asked for goes to standard output; what is said about it goes to standard error. Exit
//! codes: 0 done, 1 failed, 2 wrong usage or configuration.

mod access;
mod changes;
mod check;
mod config_file;
mod confirmation;
mod dead_letters;
mod demo;
mod event_view;
mod explain;
mod export;
mod failure;
mod health;
mod http;
mod input;
mod mark;
mod output;
mod print;
mod progress;
mod sample;
mod secret;
mod send;
mod serve;
mod spool;
mod store_reader;
mod table;
mod tail;
mod token;
mod topics;
mod trust;
mod watchdog;
mod webhook;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use config_file::ConfigFile;
use failure::Failure;

use crate::config::LogSettings;
use crate::config::file::LogFormat;
use crate::telemetry::{self, LastLines};
use crate::threads;

/// Signed webhooks in, RabbitMQ or Kafka out, nothing lost in between.
#[derive(Debug, Parser)]
#[command(name = "hookferry", version, about, max_term_width = 100)]
#[command(after_help = "Examples:
  hookferry demo                           the whole bridge on this machine, with sample events
  hookferry config example > hookferry.toml
  hookferry check --config hookferry.toml --connect
  hookferry serve --config hookferry.toml

Each command has examples of its own: hookferry COMMAND --help")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Serve(serve::Serve),
    Check(check::Check),
    Health(health::Health),
    Send(send::Send),
    Explain(explain::Explain),
    Tail(tail::Tail),
    Spool(spool::Spool),
    DeadLetters(dead_letters::DeadLetters),
    Config(print::Config),
}

/// Runs the command line.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let _written = LastLines;
    let result = match cli.command {
        Command::Demo(demo) => demo.run(),
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Health(health) => health.run(),
        Command::Send(send) => send.run(),
        Command::Explain(explain) => explain.run(),
        Command::Tail(tail) => tail.run(),
        Command::Spool(spool) => spool.run(),
        Command::DeadLetters(letters) => letters.run(),
        Command::Config(config) => config.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(),
    }
}

/// The threads of what is asynchronous.
const WORKERS: usize = 2;

/// The runtime of everything that is asynchronous.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    threads::can_be_made(WORKERS).map_err(|error| Failure::Failed(error.into()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("hookferry")
        .enable_all()
        .build();
    runtime
        .map_err(|error| Failure::Failed(anyhow::anyhow!("the runtime cannot be started: {error}")))
}

/// Runs what a command does to its end, which is the end: a call that still waits in a thread of its
/// own, such as one for a name that no name server answers, is left behind.
fn block_on<T>(doing: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(doing);
    runtime.shutdown_background();
    outcome
}

/// Warnings and errors of the bridge's parts, for the person at the terminal.
fn telemetry_for_people() {
    telemetry::start(&LogSettings {
        format: LogFormat::Text,
        filter: "warn".into(),
    });
}
