//! Hookferry.
pub mod admin;
pub mod config;
pub mod event;
pub mod name;
pub mod route;
pub mod sink;
pub mod source;
pub mod sqlite;
