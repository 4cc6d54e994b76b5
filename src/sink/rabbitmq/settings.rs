//! What a RabbitMQ sink is configured with: parsed, with every default filled in.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use lapin::uri::AMQPUri;

use crate::name::{EventType, SourceName};
use crate::route::Template;
use crate::sink::BrokerTls;

/// The heartbeat to propose; the broker may lower it. A dead connection is noticed within two.
const HEARTBEAT_SECONDS: u16 = 10;

/// Everything a RabbitMQ sink is configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RabbitMqSettings {
    /// Where the broker is, and as whom to log in.
    pub address: BrokerAddress,
    /// Certificates of our own; only for `amqps`.
    pub tls: BrokerTls,
    /// The exchange.
    pub exchange: Template,
    /// The routing key.
    pub routing_key: Template,
    /// Whether to declare exchanges and queues, or only to verify them.
    pub declare: bool,
    /// The queues to declare or verify.
    pub queues: Vec<DeclaredQueue>,
    /// The time a batch has from its first byte to its last confirm, and a connection from the
    /// look-up of its name to the broker's welcome.
    pub publish_timeout: Duration,
    /// The largest body the broker takes, in bytes.
    pub max_message_bytes: u64,
}

/// A queue that consumers of the bridge read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredQueue {
    /// Its name.
    pub name: String,
    /// The exchange it is bound to; none means every exchange the sources need.
    pub exchange: Option<String>,
    /// The binding key, with `*` and `#`.
    pub binding: String,
}

impl RabbitMqSettings {
    /// The exchanges a source needs.
    #[must_use]
    pub fn exchanges(&self, source: &SourceName, event_types: &[EventType]) -> Vec<String> {
        let names = self.exchange.names(source, event_types);
        names.unwrap_or_default()
    }

    /// Whether only what a connection is made with differs: the user, the password, the
    /// certificates. That can be taken over by a sink that runs. The way to log in is what the
    /// broker's port expects, and no credential.
    #[must_use]
    pub fn is_same_but_for_credentials(&self, other: &Self) -> bool {
        let with_ours = Self {
            address: other.address.clone().with_login_of(&self.address),
            tls: self.tls.clone(),
            ..other.clone()
        };
        *self == with_ours
    }
}

/// The broker's address with the credentials in it. It prints without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    uri: AMQPUri,
    has_user: bool,
    has_password: bool,
}

/// Why a text is no address of a broker. The text itself is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokerAddressError {
    /// Another scheme, or none.
    #[error("it does not begin with `amqp://` or `amqps://`")]
    Scheme,
    /// A character of the user or the password was taken for the end of it.
    #[error(
        "there is an `@` behind the host, or a `#`: probably of a password that is not escaped"
    )]
    Unescaped,
    /// Nothing between the scheme and the port.
    #[error("it names no host")]
    Host,
    /// Anything else.
    #[error("it is not a URL of the form amqp://user@host:port/vhost")]
    Malformed,
}

impl FromStr for BrokerAddress {
    type Err = BrokerAddressError;

    fn from_str(text: &str) -> Result<Self, BrokerAddressError> {
        let rest = text
            .strip_prefix("amqp://")
            .or_else(|| text.strip_prefix("amqps://"))
            .ok_or(BrokerAddressError::Scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at(end);
        // Or half of a password would be a host, a port or a virtual host, which are printed, and the
        // login would be that of `guest`.
        if behind.contains(['@', '#']) {
            return Err(BrokerAddressError::Unescaped);
        }
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if host.is_empty() || host.starts_with(':') {
            return Err(BrokerAddressError::Host);
        }
        let mut uri: AMQPUri = text.parse().map_err(|_| BrokerAddressError::Malformed)?;
        if let Some((inner, _)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
            // lapin reads an IPv6 address in brackets as no host at all, and takes localhost.
            inner.clone_into(&mut uri.authority.host);
        }
        if uri.vhost.is_empty() {
            // A trailing slash names the empty virtual host by the letter, which nobody has.
            uri.vhost = "/".to_owned();
        }
        Ok(Self {
            uri,
            has_user: user.is_some_and(|user| !user.split(':').next().unwrap_or("").is_empty()),
            has_password: user.is_some_and(|user| user.contains(':')),
        })
    }
}

impl BrokerAddress {
    /// The address with a password.
    #[must_use]
    pub fn with_password(mut self, password: String) -> Self {
        self.uri.authority.userinfo.password = password;
        self.has_password = true;
        self
    }

    /// The address with the login of another.
    fn with_login_of(mut self, other: &Self) -> Self {
        self.uri.authority.userinfo = other.uri.authority.userinfo.clone();
        (self.has_user, self.has_password) = (other.has_user, other.has_password);
        self
    }

    /// The host's name or address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.uri.authority.host
    }

    /// Whether it is reached over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.uri.scheme == lapin::uri::AMQPScheme::AMQPS
    }

    /// Whether a user is named; without one it is the broker's `guest`.
    #[must_use]
    pub fn has_user(&self) -> bool {
        self.has_user
    }

    /// Whether a password is given.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.has_password
    }

    /// Whether the client certificate, and no password, says who we are.
    #[must_use]
    pub fn is_external(&self) -> bool {
        self.uri.query.auth_mechanism == Some(lapin::uri::SASLMechanism::External)
    }

    /// The broker's port.
    pub(super) fn port(&self) -> u16 {
        self.uri.authority.port
    }

    /// What lapin connects to.
    pub(super) fn uri(&self) -> AMQPUri {
        let mut uri = self.uri.clone();
        uri.query.heartbeat = Some(HEARTBEAT_SECONDS);
        uri
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = &self.uri.authority;
        write!(f, "{}://", self.uri.scheme)?;
        if !self.is_external() {
            write!(f, "{}@", authority.userinfo.username)?;
        }
        write!(
            f,
            "{}:{}, virtual host {}",
            authority.host, authority.port, self.uri.vhost
        )
    }
}

impl fmt::Debug for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_address_are_read_and_the_password_is_never_printed() {
        let address: BrokerAddress = "amqps://bob:hush@mq.example:5671/events"
            .parse()
            .expect("a URL");
        assert_eq!(
            address.to_string(),
            "amqps://bob@mq.example:5671, virtual host events"
        );
        assert!(!format!("{address:?}").contains("hush"));
        assert!(address.is_tls() && address.has_user() && address.has_password());
        let plain: BrokerAddress = "amqp://mq".parse().expect("a URL");
        assert!(!plain.is_tls() && !plain.has_user() && !plain.has_password());
        assert_eq!(plain.to_string(), "amqp://guest@mq:5672, virtual host /");
        let external: BrokerAddress = "amqps://mq?auth_mechanism=external".parse().expect("a URL");
        assert_eq!(external.to_string(), "amqps://mq:5671, virtual host /");
    }

    #[test]
    fn an_ipv6_address_and_a_trailing_slash_mean_what_people_mean() {
        let address: BrokerAddress = "amqp://[::1]:5673/".parse().expect("a URL");
        assert_eq!(address.uri.authority.host, "::1");
        assert_eq!(
            (address.uri.authority.port, &*address.uri.vhost),
            (5673, "/")
        );
    }

    #[test]
    fn what_is_escaped_in_a_password_or_a_virtual_host_is_taken() {
        let address: BrokerAddress = "amqp://u:4711%2FAbC%23%40@mq/a%40b".parse().expect("a URL");
        assert_eq!(address.uri.authority.userinfo.password, "4711/AbC#@");
        assert_eq!(address.to_string(), "amqp://u@mq:5672, virtual host a@b");
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for (text, error) in [
            ("", BrokerAddressError::Scheme),
            ("mq:5672", BrokerAddressError::Scheme),
            ("http://mq", BrokerAddressError::Scheme),
            ("amqp://", BrokerAddressError::Host),
            ("amqp://u:hush@", BrokerAddressError::Host),
            ("amqp://u:hush@:5672", BrokerAddressError::Host),
            ("amqp://u:4711/hush@mq/v", BrokerAddressError::Unescaped),
            ("amqp://u:12#hush@mq/v", BrokerAddressError::Unescaped),
            ("amqp://u:12?hush@mq/v", BrokerAddressError::Unescaped),
            ("amqp://u:/hush@mq/v", BrokerAddressError::Unescaped),
            ("amqp://mq/v#hush", BrokerAddressError::Unescaped),
            ("amqp://u:hush@mq:port", BrokerAddressError::Malformed),
            (
                "amqp://u:hush@mq?heartbeat=x",
                BrokerAddressError::Malformed,
            ),
        ] {
            assert_eq!(text.parse::<BrokerAddress>(), Err(error), "{text}");
        }
    }
}
