//! What the promises are tested with: the real program, a client that speaks HTTP byte by byte,
//! readers of the topics that share no code with the bridge, a real browser, the vendors' own libraries that
//! sign and verify, and the oracle: a driver that writes down all that it tries, and a checker that holds it
//! against what the readers have seen.

pub mod authority;
pub mod bridge;
pub mod browser;
pub mod clock;
pub mod collector;
pub mod connect_proxy;
pub mod delivery;
pub mod devtools;
pub mod disk;
pub mod event_stream;
pub mod events_api;
pub mod github_api;
pub mod grafana;
pub mod http;
pub mod https_server;
pub mod key_pair;
pub mod load;
pub mod memory_group;
pub mod metrics;
pub mod mock_kafka;
pub mod node;
pub mod oracle;
pub mod outlet;
pub mod preload;
pub mod program;
pub mod prometheus;
pub mod quota;
pub mod report;
pub mod retrying_sender;
pub mod sdk;
pub mod setup;
pub mod strace;
pub mod tab;
pub mod tls;
pub mod way;

pub use authority::Authority;
pub use bridge::Bridge;
pub use browser::Browser;
pub use clock::Clock;
pub use connect_proxy::ConnectProxy;
pub use delivery::{Post, event};
pub use disk::Disk;
pub use event_stream::EventStream;
pub use events_api::EventsApi;
pub use github_api::GitHubApi;
pub use grafana::Schema;
pub use http::{Answer, Connection};
pub use key_pair::KeyPair;
pub use load::{Journal, Load, Target};
pub use memory_group::MemoryGroup;
pub use metrics::Metrics;
pub use mock_kafka::MockKafka;
pub use node::{Node, Wishes, free_port};
pub use oracle::{Copies, Verdict};
pub use outlet::{Outlet, Seen};
pub use program::Program;
pub use prometheus::{Prometheus, Release, promtool};
pub use report::Report;
pub use retrying_sender::RetryingSender;
pub use sdk::{Language, Question, Sdk};
pub use setup::Setup;
pub use strace::Injection;
pub use tab::Tab;
pub use tls::Tls;
pub use way::Way;

/// A name that no other test, and no earlier run, has used.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{:016x}", rand::random::<u64>())
}

/// The real RabbitMQ.
pub fn amqp_url() -> String {
    std::env::var("HOOKFERRY_TEST_AMQP_URL")
        .expect("HOOKFERRY_TEST_AMQP_URL names no broker: run tests/run, or set it to an AMQP URL")
}

/// The real Kafka.
pub fn kafka_brokers() -> String {
    std::env::var("HOOKFERRY_TEST_KAFKA_BROKERS").expect(
        "HOOKFERRY_TEST_KAFKA_BROKERS names no broker: run tests/run, or set it to host:port",
    )
}
