//! The commands: what a person types, and what the program answers on the terminal.
//!
//! What was asked for goes to standard output; what is said about it goes to standard error. Exit
//! codes: 0 done, 1 failed, 2 wrong usage or configuration.

mod access;
mod changes;
mod check;
mod command_line;
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
mod runtime;
mod sample;
mod secret;
mod send;
mod serve;
mod signals;
mod spool;
mod store_reader;
mod table;
mod tail;
mod terminal_log;
mod token;
mod topics;
mod trust;
mod watchdog;
mod webhook;

pub use command_line::{command, run};
