//! The configuration: what the file says ([`file`]), and what the program runs on, are two types.
//! The first is plain data that mirrors the TOML; the second exists only when nothing was wrong.

mod kafka;
pub mod problem;
mod rabbitmq;
mod store;
pub mod value;
