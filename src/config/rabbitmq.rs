//! The rabbitmq sink's section of the file.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::problem::ConfigProblems;
use super::tls::{self, Files};
use super::value::{ByteSize, SecretReference, TimeSpan, span};
use crate::route::Template;
use crate::sink::BrokerTls;
use crate::sink::rabbitmq::{
    self, BrokerAddress, BrokerAddressError, DeclaredQueue, RabbitMqSettings,
};

const DEFAULT_TIMEOUT_SECONDS: u64 = 10;
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);
/// What RabbitMQ takes from version 4.0 on (`max_message_size`); 3.x takes 128 MiB, and so this too.
const DEFAULT_MESSAGE_BYTES: u64 = 16 * 1024 * 1024;
/// What to do about a password that ends the URL too early.
const UNESCAPED: &str = "name the password under `password` and take it out of the URL, or \
                         percent-encode it there (/ is %2F, # is %23, ? is %3F, @ is %40)";
/// AMQP 0-9-1: names are short strings.
const MOST_NAME_BYTES: usize = 255;

/// A RabbitMQ broker, or a cluster of them behind one address.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RabbitMqFile {
    /// Where the broker is: `amqp://user@host:5672/vhost`, or `amqps://` for TLS; the virtual host
    /// is `/` where none is named. A password in it is percent-encoded; better is `password`.
    /// `?auth_mechanism=external` logs in by client certificate. Required.
    pub url: Option<String>,
    /// The password of the user in `url`. Default: the URL's, else that of `guest`.
    pub password: Option<SecretReference>,
    /// PEM: the authorities to trust besides the system's; for `amqps`. Default: none.
    pub ca_file: Option<PathBuf>,
    /// PEM: the client certificate chain; for `amqps`, together with `client_key_file`. Default:
    /// none.
    pub client_certificate_file: Option<PathBuf>,
    /// PEM: the client certificate's private key, not encrypted. Default: none.
    pub client_key_file: Option<PathBuf>,
    /// The exchange, a template of `{source}` and `{event_type}` only. Default: `"{source}"`.
    pub exchange: Option<String>,
    /// The routing key, a template. Default: `"{event_type}.{object_id}"`.
    pub routing_key: Option<String>,
    /// Whether to declare the durable topic exchanges, and the queues below; `false` only verifies
    /// that they are there. What is there is used as it is: a queue of another kind is bound, and
    /// the log says so. Default: `true`.
    pub declare: Option<bool>,
    /// Durable quorum queues to declare and bind. Default: none.
    pub queue: Option<Vec<QueueFile>>,
    /// How long a batch may wait for its confirms before the connection is made anew, and how long
    /// connecting and logging in may take; where the name has several addresses, each gets its
    /// share. Default: `"10s"`.
    pub publish_timeout: Option<TimeSpan<100>>,
    /// The largest body the broker takes (its `max_message_size`, 16 MiB from RabbitMQ 4.0 on);
    /// larger ones become dead letters without being sent. Default: `"16MiB"`.
    pub max_message_size: Option<ByteSize<1024>>,
}

/// A durable quorum queue for consumers.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueFile {
    /// Its name. Required.
    pub name: Option<String>,
    /// The exchange it is bound to. Default: every exchange that the sink's sources need.
    pub exchange: Option<String>,
    /// The binding key: words joined by dots, `*` for one word, `#` for any number. Default: `"#"`.
    pub binding: Option<String>,
}

impl RabbitMqFile {
    /// The settings, or none when something was wrong; every problem is noted under `path`.
    pub(super) fn settings(
        self,
        path: &str,
        problems: &mut ConfigProblems,
    ) -> Option<RabbitMqSettings> {
        let mut section = Section { path, problems };
        let address = section.address(&self);
        let tls = section.tls(&self);
        let exchange = section.exchange(self.exchange.as_deref());
        let text = self.routing_key.as_deref();
        let routing_key = section.template("routing_key", text, "{event_type}.{object_id}");
        let queues = section.queues(self.queue.unwrap_or_default());
        let publish_timeout = section.publish_timeout(self.publish_timeout);
        Some(RabbitMqSettings {
            address: address?,
            tls: tls?,
            exchange: exchange?,
            routing_key: routing_key?,
            declare: self.declare.unwrap_or(true),
            queues: queues?,
            publish_timeout: publish_timeout?,
            max_message_bytes: self
                .max_message_size
                .map_or(DEFAULT_MESSAGE_BYTES, |size| size.0),
        })
    }
}

/// Where we are in the file, and what is wrong so far.
struct Section<'a> {
    path: &'a str,
    problems: &'a mut ConfigProblems,
}

impl Section<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    fn wrong(&mut self, name: &str, found: impl Into<String>, remedy: &str) {
        self.problems.add(self.key(name), found, remedy);
    }

    fn address(&mut self, file: &RabbitMqFile) -> Option<BrokerAddress> {
        let form = "write it as \"amqp://user@host:5672/vhost\", or with amqps:// for TLS";
        let url = self
            .problems
            .require(&self.key("url"), file.url.as_deref(), form);
        let password = file.password.as_ref().map(|reference| {
            let remedy = "name a readable `file` or a variable under `env` that holds the password";
            reference.take_text(&self.key("password"), remedy, self.problems)
        });
        let parsed: Result<BrokerAddress, BrokerAddressError> = url?.parse();
        let remedy = match parsed {
            Err(BrokerAddressError::Unescaped) => UNESCAPED,
            _ => form,
        };
        let mut address = self.problems.take(&self.key("url"), parsed, remedy)?;
        if let Some(password) = password {
            if address.has_password() {
                self.wrong(
                    "password",
                    "the URL holds a password too",
                    "take it out of the URL",
                );
            }
            address = address.with_password(password?);
        }
        if address.has_user() && !address.has_password() && !address.is_external() {
            let remedy = "add password = { file = \"...\" }, or ?auth_mechanism=external to the \
                          URL for a client certificate";
            self.wrong("password", "the user has no password", remedy);
            return None;
        }
        Some(address)
    }

    fn tls(&mut self, file: &RabbitMqFile) -> Option<BrokerTls> {
        let url = file.url.as_deref().unwrap_or_default();
        let is_plain = url.starts_with("amqp://");
        for (name, given) in [
            ("ca_file", &file.ca_file),
            ("client_certificate_file", &file.client_certificate_file),
            ("client_key_file", &file.client_key_file),
        ] {
            if given.is_some() && is_plain {
                let remedy = "write the URL with amqps://, or remove the key";
                self.wrong(name, "the connection is not encrypted", remedy);
            }
        }
        let files = Files {
            authorities: file.ca_file.as_ref(),
            certificate: file.client_certificate_file.as_ref(),
            key: file.client_key_file.as_ref(),
            key_password: None,
        };
        let tls = files.read(self.path, self.problems)?;
        let Some(identity) = &tls.identity else {
            return Some(tls);
        };
        if identity.key.is_encrypted() {
            let found = "the key is encrypted, and this sink takes keys without a password only";
            let remedy = "decrypt it with `openssl pkey -in OLD -out NEW`, and let nobody but the \
                          bridge's user read it";
            self.wrong(tls::KEY_FILE, found, remedy);
            return None;
        }
        let remedy =
            "give the certificate, and behind it its chain, with the key that it was made for";
        let checked = rabbitmq::check_identity(identity);
        self.problems
            .take(&self.key(tls::KEY_FILE), checked, remedy)?;
        Some(tls)
    }

    fn template(&mut self, name: &str, text: Option<&str>, default: &str) -> Option<Template> {
        let remedy = format!("write a template such as \"{default}\"");
        let key = self.key(name);
        self.problems
            .take(&key, Template::parse(text.unwrap_or(default)), &remedy)
    }

    /// One exchange per object would be a new exchange for every event.
    fn exchange(&mut self, text: Option<&str>) -> Option<Template> {
        if text.is_some_and(|text| text.contains("{object_id}") || text.contains("{id}")) {
            let remedy = "use {source} and {event_type}, and put the object into the routing key";
            self.wrong("exchange", "an exchange per object is too many", remedy);
            return None;
        }
        if text.is_some_and(|text| text.starts_with("amq.")) {
            let remedy = "use a name of your own: the broker keeps amq.* for itself";
            self.wrong("exchange", "the name is reserved", remedy);
            return None;
        }
        self.template("exchange", text, "{source}")
    }

    fn queues(&mut self, files: Vec<QueueFile>) -> Option<Vec<DeclaredQueue>> {
        let queues: Vec<Option<DeclaredQueue>> = files
            .into_iter()
            .enumerate()
            .map(|(index, file)| self.queue(&format!("queue[{index}]"), file))
            .collect();
        queues.into_iter().collect()
    }

    fn queue(&mut self, at: &str, file: QueueFile) -> Option<DeclaredQueue> {
        let name = self.name(&format!("{at}.name"), file.name);
        let exchange = match file.exchange {
            Some(exchange) => Some(self.name(&format!("{at}.exchange"), Some(exchange))?),
            None => None,
        };
        let binding = self.name(
            &format!("{at}.binding"),
            Some(file.binding.unwrap_or_else(|| "#".to_owned())),
        );
        Some(DeclaredQueue {
            name: name?,
            exchange,
            binding: binding?,
        })
    }

    fn name(&mut self, at: &str, text: Option<String>) -> Option<String> {
        let remedy = "name it, in 255 bytes at most";
        let text = self.problems.require(&self.key(at), text, remedy)?;
        if text.is_empty() || text.len() > MOST_NAME_BYTES {
            self.wrong(at, format!("it has {} bytes", text.len()), remedy);
            return None;
        }
        Some(text)
    }

    fn publish_timeout(&mut self, value: Option<TimeSpan<100>>) -> Option<Duration> {
        let value = span(value, DEFAULT_TIMEOUT_SECONDS);
        if value <= LONGEST_TIMEOUT {
            return Some(value);
        }
        let found = format!("{} is too long", humantime::format_duration(value));
        let remedy = "give at most \"1h\"; the default is \"10s\"";
        self.wrong("publish_timeout", found, remedy);
        None
    }
}

#[cfg(test)]
mod tests;
