//! Each provider's sample through one bridge to the store, RabbitMQ and Kafka, and its message verified
//! again by what an operator is given for that.

use std::time::Duration;

use hookferry::source::{ProviderTables, Scheme};

use super::expected::{EXPECTED, Expected};
use super::senders::{Sender, Values, add, assert_outcome};
use crate::consumers::example;
use crate::harness::{Bridge, Outlet, Post, Seen, Setup, amqp_url, kafka_brokers, unique};
use crate::repository::place;

#[test]
fn each_provider_has_an_expectation() {
    let tables = ProviderTables::built_in();
    let names: Vec<&str> = tables.names().collect();
    let expected: Vec<&str> = EXPECTED.iter().map(|expected| expected.provider).collect();
    assert_eq!(expected, names);
}

/// What was sent.
struct Sent<'a> {
    expected: &'a Expected,
    sender: &'a Sender,
    values: Values,
    post: Post,
    id: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_is_one_event_on_every_sink() {
    let run = unique("p");
    let mut setup = to_three_sinks(&run);
    let senders: Vec<Sender> = EXPECTED
        .iter()
        .map(|expected| Sender::of(expected.provider))
        .collect();
    add(&mut setup, &senders);
    let mut queue = Outlet::bound(&run, "#").await;
    let bridge = setup.start().await;
    let mut sent = Vec::new();
    for (expected, sender) in EXPECTED.iter().zip(&senders) {
        sent.push(Sent::send(&bridge, expected, sender).await);
    }
    bridge.drained_within(Duration::from_secs(120)).await;
    let ids: Vec<String> = sent.iter().map(|sent| sent.id.clone()).collect();
    let topic = format!("{run}.{{source}}.{{type}}");
    let mut kafka = Outlet::kafka(&kafka_brokers());
    for (outlet, prefix, address) in [
        (&mut Outlet::Store, "ce_", topic.as_str()),
        (&mut queue, "cloudEvents_", "{source}.{type}.{object}"),
        (&mut kafka, "ce_", &topic),
    ] {
        let seen = outlet.has(&bridge, &run, &ids).await;
        assert_eq!(seen.len(), ids.len(), "each is there once: {address}");
        for sent in &sent {
            sent.is_among(&seen, prefix, address);
        }
    }
    let seen = kafka.has(&bridge, &run, &ids).await;
    let folder = tempfile::tempdir().expect("a folder");
    for sent in &sent {
        sent.is_verified_again(sent.found(&seen), folder.path());
    }
}

/// Topics that begin with the name of this run, so that one look finds them all.
fn to_three_sinks(run: &str) -> Setup {
    let mut setup = Setup::store().and_rabbitmq(&amqp_url()).and_kafka(
        &kafka_brokers(),
        "create_topics = { partitions = 1, replication = 1 }\n",
    );
    let topic = format!("topic = \"{run}.{{source}}.{{event_type}}\"\n");
    let exchange = format!(
        "exchange = \"{run}\"\nrouting_key = \"{{source}}.{{event_type}}.{{object_id}}\"\n"
    );
    for ((_, keys), more) in setup.sinks.iter_mut().zip([&topic, &exchange, &topic]) {
        keys.push_str(more);
    }
    setup
}

impl<'a> Sent<'a> {
    async fn send(bridge: &Bridge, expected: &'a Expected, sender: &'a Sender) -> Self {
        let values = Values::new();
        let post = sender.post(&sender.sample(&values));
        let answer = bridge.post(&post).await;
        assert_outcome(expected.provider, &answer, "accepted");
        let id = answer.id();
        Self {
            expected,
            sender,
            values,
            post,
            id,
        }
    }

    fn found<'b>(&self, seen: &'b [Seen]) -> &'b Seen {
        let found = seen.iter().find(|one| one.id == self.id);
        found.unwrap_or_else(|| panic!("{} is not there", self.expected.provider))
    }

    fn is_among(&self, seen: &[Seen], prefix: &str, address: &str) {
        let (expected, one) = (self.expected, self.found(seen));
        let what = format!("{} at {}", expected.provider, one.address);
        assert_eq!(one.body, self.post.body, "{what}: bytes");
        assert_eq!(one.key, self.values.object, "{what}: key");
        if prefix == "ce_" {
            let sent = &self.post.headers[0].1;
            assert_eq!(one.header("content-type"), sent, "{what}: content type");
        }
        // Only One Codex has event types by default.
        let lane = match expected.provider {
            "onecodex" => expected.event_type,
            _ => "other",
        };
        let address = address
            .replace("{source}", expected.provider)
            .replace("{type}", lane)
            .replace("{object}", &self.values.object);
        assert_eq!(one.address, address, "{what}");
        self.has_attributes(one, prefix, &what);
        self.has_proof(one, &what);
        let values = one.headers.values();
        let tells = values.filter(|value| value.contains(&self.sender.proves));
        assert_eq!(tells.count(), 0, "{what}: the secret is in a header");
    }

    /// The attributes of CloudEvents, and the event's time in its id.
    fn has_attributes(&self, one: &Seen, prefix: &str, what: &str) {
        let expected = self.expected;
        let attribute = |name: &str| one.header(&format!("{prefix}{name}")).to_owned();
        assert_eq!(attribute("type"), expected.event_type, "{what}: type");
        assert_eq!(attribute("subject"), self.values.object, "{what}: subject");
        assert_eq!(attribute("id"), self.id, "{what}: id");
        let uri = &self.sender.provider.uri;
        assert_eq!(attribute("source"), *uri, "{what}: source");
        let (time, milliseconds) = if expected.has_time {
            let time = self.values.time;
            (time.to_string(), time.as_millisecond())
        } else {
            (String::new(), 0)
        };
        assert_eq!(attribute("time"), time, "{what}: time");
        let bits = i64::from_str_radix(&self.id.replace('-', "")[..12], 16);
        assert_eq!(bits, Ok(milliseconds), "{what}: the time in the id");
        for (name, value) in expected.says {
            let value = self.values.fill(value);
            assert_eq!(attribute(name), value, "{what}: {name}");
        }
    }

    /// The headers of the bridge, and what a consumer needs to verify again.
    fn has_proof(&self, one: &Seen, what: &str) {
        let (expected, scheme) = (self.expected, &self.sender.provider.signature);
        for (name, value) in [
            ("hookferry-unsigned", expected.unsigned),
            ("hookferry-events", expected.events),
            ("hookferry-origin", "webhook"),
        ] {
            assert_eq!(one.header(name), value, "{what}: {name}");
        }
        let sent = |name: &str| {
            let mut named = self.post.headers.iter().filter(|(of, _)| of == name);
            named.next().map_or("", |(_, value)| value).to_owned()
        };
        let signature = match scheme.scheme() {
            Scheme::Token | Scheme::Url => String::new(),
            _ => sent(&scheme.headers[0]),
        };
        assert_eq!(one.header("hookferry-signature"), signature, "{what}");
        for name in expected.carries {
            assert!(!sent(name).is_empty(), "{what}: {name} was not sent");
            assert_eq!(one.header(name), sent(name), "{what}: {name}");
        }
        let signs_url = ["hubspot", "square", "trello", "twilio"].contains(&expected.provider);
        let url = if signs_url {
            self.sender.url()
        } else {
            String::new()
        };
        assert_eq!(one.header("hookferry-url"), url, "{what}: the URL");
        // What was not asked for stays behind: of GitHub's, for one.
        assert_eq!(one.header("x-github-hook-id"), "", "{what}");
        assert_eq!(one.header("authorization"), "", "{what}");
    }

    /// By deploy/examples/verify.py with the built-in table.
    fn is_verified_again(&self, one: &Seen, folder: &std::path::Path) {
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).expect("writable");
            path
        };
        let headers = serde_json::to_vec(&one.headers).expect("texts");
        let mut command = example("verify.py");
        command
            .arg("--provider")
            .arg(place("src/source/provider/builtin.toml"))
            .args(["--provider-name", self.expected.provider])
            .arg("--secret-file")
            .arg(write("secret", self.sender.proves.as_bytes()))
            .arg("--headers")
            .arg(write("headers.json", &headers))
            .arg(write("body", &one.body));
        let output = command.output().expect("python runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let words = match self.sender.provider.signature.scheme() {
            Scheme::Token | Scheme::Url => "not verifiable: ",
            _ => "verified: ",
        };
        let what = self.expected.provider;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with(words), "{what}: {said}{error}");
        let changed = [one.body.as_slice(), b"x"].concat();
        write("body", &changed);
        let output = command.output().expect("python runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!said.starts_with("verified: "), "{what}, changed: {said}");
    }
}
