//! The bridge's promises, held against real parts: one binary, one module per promise.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that cannot go on should say where"
)]

mod accounting;
mod book;
mod broker;
mod bytes;
mod cli;
mod config;
mod consumers;
mod containers;
mod deploy;
mod duplicates;
mod durable;
mod eventually;
mod faults;
mod fuzz;
mod generated;
mod guards;
mod handshakes;
mod harness;
mod http;
mod http_clients;
mod identity;
mod ingress_tls;
mod instance;
mod kafka_sink;
mod late;
mod log;
mod message;
mod moving;
mod observability;
mod operators;
mod oracles;
mod order;
mod packages;
mod page;
mod private_files;
mod providers;
mod proxy;
mod proxy_protocol;
mod quarantine;
mod rabbitmq_observer;
mod rabbitmq_sink;
mod recovery;
mod refusal;
mod reload;
mod repository;
mod routes;
mod secured;
mod soak;
mod spool;
mod store_sink;
mod supply_chain;
mod systemd;
mod tidy;
mod traces;
mod verify_example;
