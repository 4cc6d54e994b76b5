//! The ways to a Kafka of a test's own: its listeners, the sinks that are configured for them, and how
//! they log in.

use std::path::Path;

use super::{Bridge, Copies, Journal, Seen, Setup, Verdict, Wishes, free_port};
use crate::eventually::eventually;

/// A listener of a broker, and the sink that is configured for it: both have this name.
pub struct Way {
    pub name: &'static str,
    port: u16,
}

impl Way {
    pub fn named(name: &'static str) -> Self {
        Self {
            name,
            port: free_port(),
        }
    }

    /// Another sink for the same listener.
    pub fn also_named(&self, name: &'static str) -> Self {
        let port = self.port;
        Self { name, port }
    }

    pub fn opened(&self, wishes: Wishes, protocol: &str) -> Wishes {
        let address = self.address();
        wishes.listener(&self.name.to_uppercase(), protocol, &address, &address)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// One more sink, with topics of its own.
    pub fn configured(&self, mut setup: Setup, keys: &str) -> Setup {
        let (name, address) = (self.name, self.address());
        let keys = format!(
            "type = \"kafka\"\nbrokers = \"{address}\"\npublish_timeout = \"3s\"\nretry_delay_max = \"500ms\"\ntopic = \"{{source}}.{name}.{{event_type}}\"\n{keys}"
        );
        setup.sinks.push((name.to_owned(), keys));
        setup
    }

    /// Every clause holds for what lies on this sink's topics; a login that was refused may leave copies.
    pub fn assert_kept(&self, source: &str, journal: &Journal, seen: &[Seen]) -> Verdict {
        let topics = format!("{source}.{}.", self.name);
        let of_it = seen.iter().filter(|one| one.address.starts_with(&topics));
        let verdict = Verdict::of(journal, &of_it.cloned().collect::<Vec<_>>());
        verdict.assert_kept(Copies::InDoubt);
        verdict
    }

    /// The sink is not connected, and says why.
    pub async fn is_refused(&self, bridge: &Bridge, stage: &str, why: &str) {
        let sink = [("sink", self.name)];
        let at = [("sink", self.name), ("stage", stage)];
        bridge.counts("sink_connect_failures_total", &at, 1.0).await;
        let failed = [("sink", self.name), ("result", "unavailable")];
        bridge.counts("publish_attempts_total", &failed, 1.0).await;
        bridge.shows("sink_connected", &sink, 0.0).await;
        bridge.shows("sink_paused", &sink, 1.0).await;
        let metrics = bridge.metrics().await;
        assert!(metrics.sum_or_zero("events_delivered_total", &sink) < 0.5);
        let marks = [format!("\"sink\":\"{}\"", self.name), why.to_owned()];
        let told = |line: &str| marks.iter().all(|mark| line.contains(mark.as_str()));
        eventually("the log says why", async || {
            bridge.log().lines().any(told).then_some(())
        })
        .await;
    }
}

/// The brokers' users and their password.
pub const USER: &str = "bridge";
pub const PASSWORD: &str = "of-the-bridge";

/// Tells a Kafka about the user, for every way to log in that it has.
pub fn with_logins(mut wishes: Wishes, listener: &str) -> Wishes {
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let user = format!("{mechanism}=[name={USER},password={PASSWORD}]");
        wishes
            .format_arguments
            .extend(["--add-scram".to_owned(), user]);
    }
    let modules = "org.apache.kafka.common.security";
    let mut property = |line: String| {
        wishes.properties.push_str(&line);
        wishes.properties.push('\n');
    };
    property("sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned());
    property(format!(
        "listener.name.{listener}.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"
    ));
    for mechanism in ["scram-sha-256", "scram-sha-512"] {
        property(format!(
            "listener.name.{listener}.{mechanism}.sasl.jaas.config={modules}.scram.ScramLoginModule required;"
        ));
    }
    wishes
}

/// The keys of a sink that logs in, with the password of a file.
pub fn login(mechanism: &str, password: &Path) -> String {
    format!(
        "sasl = {{ mechanism = \"{mechanism}\", username = \"{USER}\", password = {{ file = {password:?} }} }}\n"
    )
}
