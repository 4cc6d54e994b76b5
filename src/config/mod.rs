//! The configuration: what the file says ([`mod@file`]), and what the program runs on ([`Settings`]),
//! are two types. The first is plain data that mirrors the TOML; the second exists only when
//! nothing was wrong, and everything that is wrong is said at once.

mod capacity;
mod certificate;
mod event_types;
mod example;
pub mod file;
mod fingerprint;
mod guards;
mod ingress_tls;
mod interpolate;
mod kafka;
mod key_hashes;
mod listeners;
mod load;
mod max_body;
mod named;
mod paths;
pub mod problem;
mod providers;
mod rabbitmq;
mod reading;
mod routes;
mod schema;
pub mod section;
mod settings;
mod sinks;
mod sources;
mod spool;
mod store;
mod tls;
mod trace;
mod uri;
pub mod value;
mod warning;

pub use example::EXAMPLE;
pub use fingerprint::Fingerprint;
pub use ingress_tls::{IngressTls, Untimely, Validity};
pub use key_hashes::{KeyHashes, is_taken_over};
pub use load::{
    HealthListener, admin_listen, fingerprint_of, health_listener, load, load_again, load_to_look,
    parse, provider_tables,
};
pub use problem::{ConfigProblem, ConfigProblems};
pub use schema::schema;
pub use settings::{
    AdminSettings, ConditionSettings, GuardSettings, IngressSettings, LogSettings, RouteSettings,
    Settings, SinkKind, SinkSettings, SourceSettings,
};
