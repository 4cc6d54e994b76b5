//! The commands: what a person types, and what the program answers on the terminal.
//!
//! What was asked for goes to standard output; what is said about it goes to standard error. Exit
//! codes: 0 done, 1 failed, 2 wrong usage or configuration.

mod admin_arguments;
mod admin_client;
mod backfill;
mod body_input;
mod check;
mod command_error;
mod command_line;
mod completions;
mod config_changes;
mod config_file;
mod confirmation;
mod dead_letters;
mod demo;
mod event_lines;
mod explain;
mod export_arguments;
mod health;
mod http_client;
mod man_pages;
mod offline_spool;
mod output;
mod page_request;
mod print_config;
mod provider_argument;
mod provider_text;
mod runtime;
mod sample_delivery;
mod secret_arguments;
mod send;
mod serve;
mod signals;
mod spool;
mod spool_arguments;
mod spool_inspection;
mod store_reader;
mod symbol;
mod table;
mod tail;
mod terminal_log;
mod terminal_progress;
mod tls_arguments;
mod token_arguments;
mod topics;
mod ui;
mod watchdog;
mod webhook_client;

pub use command_line::{command, run};
