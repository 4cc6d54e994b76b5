//! The kafka sink's section of the file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::problem::ConfigProblems;
use super::tls::{self, Files};
use super::value::{SecretReference, TimeSpan};
use crate::route::Template;
use crate::sink::BrokerTls;
use crate::sink::kafka::{
    ClientProperties, Compression, KafkaSettings, PropertyError, SaslCredentials, SaslMechanism,
    SaslPassword, TokenSource, TopicShape,
};

/// A sink that publishes to Apache Kafka, or to whatever speaks its protocol.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaFile {
    /// The brokers to start from, `host:port` joined by commas, such as
    /// `"kafka-1:9092,kafka-2:9092"`. Required.
    pub brokers: Option<String>,
    /// The topic, a template. Default: `"{source}.{event_type}"`.
    pub topic: Option<String>,
    /// What missing topics are created with. Default: none, topics are never created.
    pub create_topics: Option<CreateTopicsFile>,
    /// How batches are compressed: `"none"`, `"gzip"`, `"snappy"`, `"lz4"` or `"zstd"`. Default:
    /// `"none"`, which every consumer reads.
    pub compression: Option<String>,
    /// How long a message may wait for others to share its request, at most `"1s"`; with many
    /// partitions, less than the default makes librdkafka poll without a pause. Default: `"10ms"`.
    pub linger: Option<TimeSpan<0>>,
    /// How long a publish may take before it is tried again, `"1s"` to `"5m"`. Default: `"10s"`.
    pub publish_timeout: Option<TimeSpan>,
    /// The credentials. Default: none.
    pub sasl: Option<SaslFile>,
    /// TLS to the brokers; an empty table turns it on with the system's certificates. Default:
    /// none.
    pub tls: Option<TlsFile>,
    /// Properties of librdkafka that tune it (its `CONFIGURATION.md` explains them), passed to it
    /// last, such as `batch.size`, `socket.timeout.ms` or `debug`. All else is refused, with the
    /// reason: what has a key of its own (`linger.ms`, `security.protocol`, `sasl.…`), what the
    /// promise stands on (`acks`, `enable.idempotence`, `partitioner`), and values that contradict
    /// it (`retries = 0`). The refusal of an unknown name lists those that may be set. Default:
    /// none.
    pub properties: Option<BTreeMap<String, String>>,
}

/// What missing topics are created with.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTopicsFile {
    /// How many partitions. Default: `6`.
    pub partitions: Option<u16>,
    /// How many copies of each partition. Default: `3`.
    pub replication: Option<u16>,
    /// How many copies must be written before a broker confirms. Default: `2`, or `1` where
    /// `replication` is 1.
    pub min_insync_replicas: Option<u16>,
}

/// SASL credentials.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SaslFile {
    /// `"PLAIN"`, `"SCRAM-SHA-256"`, `"SCRAM-SHA-512"` or `"OAUTHBEARER"`. Use `PLAIN` and
    /// `OAUTHBEARER` with `tls` only, because they send the secret itself. Required.
    pub mechanism: Option<String>,
    /// The user. Required but for `OAUTHBEARER`.
    pub username: Option<String>,
    /// The password. Required but for `OAUTHBEARER`.
    pub password: Option<SecretReference>,
    /// The bearer token; read again whenever the old one comes to its end. Not together with
    /// `create_topics`. Required for `OAUTHBEARER`.
    pub token: Option<SecretReference>,
}

/// TLS to the brokers.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsFile {
    /// PEM: the authorities that vouch for the brokers. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM: the bridge's own certificate, where the brokers ask for one; together with
    /// `client_key_file`. Default: none.
    pub client_certificate_file: Option<PathBuf>,
    /// PEM: the private key to it. Default: none.
    pub client_key_file: Option<PathBuf>,
    /// The key's password, where it is encrypted. Default: none.
    pub client_key_password: Option<SecretReference>,
}

impl KafkaFile {
    /// What the sink runs on, or none and a note of everything that is wrong.
    pub(super) fn settings(
        self,
        path: &str,
        problems: &mut ConfigProblems,
    ) -> Option<KafkaSettings> {
        let before = problems.iter().count();
        let brokers = problems.require(
            &format!("{path}.brokers"),
            self.brokers.as_deref().map(str::trim),
            "name the brokers to start from, such as \"kafka-1:9092,kafka-2:9092\"",
        );
        let mut settings = KafkaSettings::new(brokers.unwrap_or_default());
        check_brokers(brokers, path, problems);
        self.take_topic(&mut settings, path, problems);
        self.take_times(&mut settings, path, problems);
        settings.compression = compression(self.compression.as_deref(), path, problems);
        let shape = |file: CreateTopicsFile| file.shape(&format!("{path}.create_topics"), problems);
        settings.create_topics = self.create_topics.and_then(shape);
        let sasl = |file: SaslFile| file.credentials(&format!("{path}.sasl"), problems);
        settings.sasl = self.sasl.and_then(sasl);
        let tls = |file: TlsFile| file.tls(&format!("{path}.tls"), problems);
        settings.tls = self.tls.and_then(tls);
        settings.properties = properties(&self.properties.unwrap_or_default(), path, problems);
        check_rights(&settings, path, problems);
        if problems.iter().count() == before {
            check_together(&settings, path, problems);
        }
        (problems.iter().count() == before).then_some(settings)
    }

    fn take_topic(&self, settings: &mut KafkaSettings, path: &str, problems: &mut ConfigProblems) {
        let Some(text) = &self.topic else { return };
        let remedy = "write a name such as \"{source}.{event_type}\"";
        let parsed = Template::parse(text);
        if let Some(template) = problems.take(&format!("{path}.topic"), parsed, remedy) {
            settings.topic = template;
        }
    }

    fn take_times(&self, settings: &mut KafkaSettings, path: &str, problems: &mut ConfigProblems) {
        let second = Duration::from_secs(1);
        let mut span =
            |key: &str, value: Option<Duration>, range: [Duration; 2], place: &mut Duration| {
                let Some(value) = value else { return };
                *place = value;
                let [least, most] =
                    range.map(|limit| humantime::format_duration(limit).to_string());
                let found = format!("{} is out of range", humantime::format_duration(value));
                if !(range[0]..=range[1]).contains(&value) {
                    problems.add(
                        format!("{path}.{key}"),
                        found,
                        format!("write {least} to {most}"),
                    );
                }
            };
        span(
            "linger",
            self.linger.map(|span| span.0),
            [Duration::ZERO, second],
            &mut settings.linger,
        );
        let timeouts = [second, second * 300];
        span(
            "publish_timeout",
            self.publish_timeout.map(|span| span.0),
            timeouts,
            &mut settings.publish_timeout,
        );
        if settings.publish_timeout <= settings.linger {
            let remedy = "make it longer than `linger`";
            problems.add(
                format!("{path}.publish_timeout"),
                "it ends before `linger` does",
                remedy,
            );
        }
    }
}

/// Whether each broker has a name and a port; what they mean is found out by connecting.
fn check_brokers(brokers: Option<&str>, path: &str, problems: &mut ConfigProblems) {
    for broker in brokers.into_iter().flat_map(|brokers| brokers.split(',')) {
        let address = broker.trim();
        let port = address.rsplit_once(':').and_then(|(host, port)| {
            let port = port.parse::<u16>().ok()?;
            (!host.is_empty() && port > 0).then_some(port)
        });
        if port.is_none() {
            let found = format!("{address:?} is not a host with a port");
            let remedy = "write each as host:port, joined by commas";
            problems.add(format!("{path}.brokers"), found, remedy);
        }
    }
}

fn compression(name: Option<&str>, path: &str, problems: &mut ConfigProblems) -> Compression {
    let Some(name) = name else {
        return Compression::default();
    };
    let known = Compression::ALL
        .into_iter()
        .find(|known| known.as_str() == name);
    known.unwrap_or_else(|| {
        let found = format!("{name:?} is no compression");
        let remedy = "write one of \"none\", \"gzip\", \"snappy\", \"lz4\" and \"zstd\"";
        problems.add(format!("{path}.compression"), found, remedy);
        Compression::default()
    })
}

fn properties(
    file: &BTreeMap<String, String>,
    path: &str,
    problems: &mut ConfigProblems,
) -> ClientProperties {
    let mut properties = ClientProperties::default();
    for (name, value) in file {
        let Err(error) = properties.insert(name, value) else {
            continue;
        };
        let remedy = match error {
            PropertyError::Keyed { .. } => "take the property out and write the key".to_owned(),
            PropertyError::Reserved { .. } => "take the property out".to_owned(),
            PropertyError::Unlisted => {
                let names = ClientProperties::NAMES.join(", ");
                format!("take the property out; these may be set: {names}")
            }
            PropertyError::Invalid(_) => "look it up in librdkafka's CONFIGURATION.md".to_owned(),
        };
        problems.add(
            format!("{path}.properties.{name:?}"),
            error.to_string(),
            remedy,
        );
    }
    properties
}

/// Whether librdkafka takes all of it together. What it says against it names the property, between
/// backticks and by the shorter of two names.
fn check_together(settings: &KafkaSettings, path: &str, problems: &mut ConfigProblems) {
    let Err(error) = settings.check() else {
        return;
    };
    let found = error.to_string();
    let mut names = settings.properties.names();
    let is_named = |name: &&str| {
        let mut words = found.split('`').skip(1).step_by(2);
        words.any(|word| name.starts_with(word) || name.ends_with(word))
    };
    let key = match names.find(is_named) {
        Some(name) => format!("{path}.properties.{name:?}"),
        None => path.to_owned(),
    };
    let remedy = "change it, or take it out: the bridge could not start with it";
    problems.add(key, found, remedy);
}

/// The client that creates topics has no way to fetch a bearer token.
fn check_rights(settings: &KafkaSettings, path: &str, problems: &mut ConfigProblems) {
    if let (Some(_), Some(SaslCredentials::OauthBearer { .. })) =
        (settings.create_topics, &settings.sasl)
    {
        problems.add(
            format!("{path}.create_topics"),
            "topics cannot be created with an OAUTHBEARER login",
            "create them with kafka-topics.sh and take `create_topics` out",
        );
    }
}

impl CreateTopicsFile {
    fn shape(self, path: &str, problems: &mut ConfigProblems) -> Option<TopicShape> {
        let replication = self.replication.unwrap_or(3);
        let shape = TopicShape {
            partitions: self.partitions.unwrap_or(6),
            replication,
            min_insync_replicas: self.min_insync_replicas.unwrap_or(replication.min(2)),
        };
        let counts = [
            ("partitions", shape.partitions),
            ("replication", shape.replication),
            ("min_insync_replicas", shape.min_insync_replicas),
        ];
        for (key, _) in counts.iter().filter(|(_, count)| *count == 0) {
            problems.add(format!("{path}.{key}"), "it is zero", "write 1 or more");
        }
        if shape.min_insync_replicas > replication {
            let found = format!(
                "{} of {replication} copies can never be written",
                shape.min_insync_replicas
            );
            let remedy = "make it less than `replication`, so that one broker may fail";
            problems.add(format!("{path}.min_insync_replicas"), found, remedy);
        }
        Some(shape)
    }
}

impl SaslFile {
    fn credentials(self, path: &str, problems: &mut ConfigProblems) -> Option<SaslCredentials> {
        let remedy = "write \"PLAIN\", \"SCRAM-SHA-256\", \"SCRAM-SHA-512\" or \"OAUTHBEARER\"";
        let key = format!("{path}.mechanism");
        let mechanism = match problems.require(&key, self.mechanism.as_deref(), remedy)? {
            "PLAIN" => SaslMechanism::Plain,
            "SCRAM-SHA-256" => SaslMechanism::ScramSha256,
            "SCRAM-SHA-512" => SaslMechanism::ScramSha512,
            "OAUTHBEARER" => return self.bearer(path, problems),
            other => {
                problems.add(key, format!("{other:?} is no mechanism"), remedy);
                return None;
            }
        };
        if self.token.is_some() {
            let found = "only OAUTHBEARER takes a token";
            problems.add(format!("{path}.token"), found, "take it out");
        }
        let username =
            problems.require(&format!("{path}.username"), self.username, "name the user");
        let remedy = "name its `file` or its `env` variable";
        let key = format!("{path}.password");
        let reference = problems.require(&key, self.password, remedy);
        let password = reference.and_then(|reference| password(&reference, &key, problems));
        Some(SaslCredentials::Password {
            mechanism,
            username: username?,
            password: password?,
        })
    }

    fn bearer(self, path: &str, problems: &mut ConfigProblems) -> Option<SaslCredentials> {
        let unused = [
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
        ];
        for (key, _) in unused.into_iter().filter(|(_, given)| *given) {
            let found = "OAUTHBEARER takes a token only";
            problems.add(format!("{path}.{key}"), found, "take it out");
        }
        let remedy = "name its `file` or its `env` variable";
        let key = format!("{path}.token");
        let reference = problems.require(&key, self.token, remedy)?;
        password(&reference, &key, problems)?;
        let place = match (&reference.file, &reference.env) {
            (Some(file), _) => file.display().to_string(),
            (None, variable) => format!("${}", variable.as_deref().unwrap_or_default()),
        };
        let read = move || reference.read().map_err(|error| error.to_string());
        Some(SaslCredentials::OauthBearer {
            token: TokenSource::new(place, read),
        })
    }
}

fn password(
    reference: &SecretReference,
    key: &str,
    problems: &mut ConfigProblems,
) -> Option<SaslPassword> {
    let remedy = "name its `file` or its `env` variable, and put the secret there";
    reference.take_text(key, remedy, problems).map(SaslPassword)
}

impl TlsFile {
    fn tls(self, path: &str, problems: &mut ConfigProblems) -> Option<BrokerTls> {
        let key = format!("{path}.client_key_password");
        let reference = self.client_key_password.as_ref();
        let password = reference.map(|it| password(it, &key, problems).map(|it| it.0));
        let files = Files {
            authorities: self.ca_file.as_ref(),
            certificate: self.client_certificate_file.as_ref(),
            key: self.client_key_file.as_ref(),
            key_password: password.as_ref().and_then(Option::as_ref),
        };
        let tls = files.read(path, problems)?;
        let encrypted = tls
            .identity
            .as_ref()
            .is_some_and(|identity| identity.key.is_encrypted());
        match password {
            Some(None) => return None,
            None if encrypted => {
                let remedy = "name the `file` or the `env` variable of its password";
                problems.add(key, "the client's key is encrypted", remedy);
                return None;
            }
            _ => {}
        }
        let remedy = if encrypted {
            "give the certificate, and behind it its chain, with the key that it was made for, and the key's password"
        } else {
            "give the certificate, and behind it its chain, with the key that it was made for"
        };
        let at = match &tls.identity {
            Some(_) => format!("{path}.{}", tls::KEY_FILE),
            None => path.to_owned(),
        };
        if tls.certificates().next().is_some() {
            problems.take(&at, KafkaSettings::check_tls(&tls), remedy)?;
        }
        Some(tls)
    }
}

#[cfg(test)]
mod tests;
