//! Hookferry.
pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod event;
pub mod ingress;
pub mod metrics;
pub mod name;
pub mod pipeline;
pub mod route;
pub mod shutdown;
pub mod sink;
pub mod source;
pub mod spool;
pub mod sqlite;
pub mod telemetry;
