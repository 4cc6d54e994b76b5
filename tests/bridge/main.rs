//! The bridge's promises, against real parts.
#![allow(clippy::unwrap_used, missing_docs)]

mod accounting;
mod broker;
mod bytes;
mod config;
mod consumers;
mod duplicates;
mod durable;
mod eventually;
mod harness;
mod http;
mod identity;
mod instance;
mod order;
mod proxy;
mod quarantine;
mod refusal;
mod reload;
mod routes;
mod store_sink;
mod tidy;
