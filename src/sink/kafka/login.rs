//! How the client proves who it is: a password, or a token that is read anew whenever the broker
//! wants one.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::config::ClientConfig;
use serde::Deserialize;

use crate::sink::BrokerTls;

/// How long a token counts that does not say so itself.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);

/// A password. It never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The SASL mechanisms that take a user name and a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// In clear: use it with TLS (RFC 4616).
    Plain,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// The name in the protocol.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// SASL credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// A name and a password.
    Password {
        /// The mechanism.
        mechanism: Mechanism,
        /// The user.
        username: String,
        /// The password.
        password: Password,
    },
    /// A bearer token (RFC 7628), such as one a platform keeps fresh in a file.
    OauthBearer {
        /// Where it comes from.
        token: ReadToken,
    },
}

impl Login {
    /// The mechanism's name in the protocol.
    pub(super) fn mechanism(&self) -> &'static str {
        match self {
            Self::Password { mechanism, .. } => mechanism.as_str(),
            Self::OauthBearer { .. } => "OAUTHBEARER",
        }
    }

    /// Whether the broker, and whoever listens on the way, is sent the secret itself.
    #[must_use]
    pub fn shows_its_secret(&self) -> bool {
        match self {
            Self::Password { mechanism, .. } => *mechanism == Mechanism::Plain,
            Self::OauthBearer { .. } => true,
        }
    }

    pub(super) fn apply(&self, config: &mut ClientConfig) {
        config.set("sasl.mechanism", self.mechanism());
        match self {
            Self::Password {
                username, password, ..
            } => {
                config
                    .set("sasl.username", username)
                    .set("sasl.password", &password.0);
            }
            Self::OauthBearer { .. } => {}
        }
    }
}

/// Reads a token's text anew, or says why it cannot. Two that read the same place are equal,
/// whatever lies there now.
#[derive(Clone)]
pub struct ReadToken {
    place: String,
    read: Arc<dyn Fn() -> Result<String, String> + Send + Sync>,
}

impl ReadToken {
    /// Wraps the reader of a place.
    pub fn new(
        place: impl Into<String>,
        read: impl Fn() -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            place: place.into(),
            read: Arc::new(read),
        }
    }
}

impl PartialEq for ReadToken {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for ReadToken {}

impl fmt::Debug for ReadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[redacted], from {}", self.place)
    }
}

/// A token as librdkafka wants it.
pub(super) struct Token {
    pub(super) text: String,
    /// Who it stands for.
    pub(super) principal: String,
    /// When it ends, in Unix milliseconds.
    pub(super) expires_ms: i64,
}

/// The claims of a JSON Web Token that matter here (RFC 7519, section 4.1).
#[derive(Default, Deserialize)]
struct Claims {
    sub: Option<String>,
    /// Seconds since 1970; some issuers write a fraction.
    exp: Option<f64>,
}

impl Token {
    /// Reads the token. Its signature is the broker's business; of its claims, the subject and the
    /// end are needed here. A token that is no JWT stands for nobody in particular for five minutes.
    pub(super) fn read(read: &ReadToken) -> Result<Self, String> {
        let text = (read.read)()?;
        let claims = claims(&text).unwrap_or_default();
        let fallback = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            + TOKEN_LIFETIME;
        let expires = claims
            .exp
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .unwrap_or(fallback);
        Ok(Self {
            text,
            principal: claims.sub.unwrap_or_default(),
            expires_ms: i64::try_from(expires.as_millis()).unwrap_or(i64::MAX),
        })
    }
}

fn claims(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Gives the client what the files held.
pub(super) fn apply_tls(tls: &BrokerTls, config: &mut ClientConfig) {
    match &tls.authorities {
        Some(authorities) => {
            config.set("ssl.ca.pem", &authorities.pem);
        }
        None if names_authorities(|variable| std::env::var_os(variable).is_some()) => {}
        None => {
            config.set("ssl.ca.location", "probe");
        }
    }
    let Some(identity) = &tls.identity else {
        return;
    };
    config
        .set("ssl.certificate.pem", &identity.certificate.pem)
        .set("ssl.key.pem", &identity.key.pem);
    if let Some(password) = &identity.key.password {
        config.set("ssl.key.password", password);
    }
}

/// Whether the environment says where the system's authorities are, which OpenSSL follows. Where it
/// does not, the places of the usual systems are tried: OpenSSL was built with the client, and its own
/// place is nobody's.
fn names_authorities(is_set: impl Fn(&str) -> bool) -> bool {
    ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().any(is_set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environments_authorities_go_before_those_of_the_system() {
        assert!(!names_authorities(|_| false));
        for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
            assert!(names_authorities(|name| name == variable));
        }
        // It must be one that librdkafka knows.
        let mut config = ClientConfig::new();
        config.set("security.protocol", "ssl");
        apply_tls(&BrokerTls::default(), &mut config);
        assert!(config.create_native_config().is_ok());
    }

    #[test]
    fn a_tokens_own_end_and_subject_count() {
        let payload = URL_SAFE_NO_PAD.encode(br#"{"sub":"bridge","exp":1800000000}"#);
        let token = Token::read(&ReadToken::new("a", move || Ok(format!("e30.{payload}.x"))))
            .expect("readable");
        assert_eq!(token.principal, "bridge");
        assert_eq!(token.expires_ms, 1_800_000_000_000);
    }

    #[test]
    fn an_opaque_token_counts_for_a_while() {
        let token =
            Token::read(&ReadToken::new("a", || Ok("opaque".to_owned()))).expect("readable");
        assert!(token.expires_ms > 1_700_000_000_000);
        assert!(Token::read(&ReadToken::new("a", || Err("no file".to_owned()))).is_err());
    }

    #[test]
    fn nothing_secret_prints() {
        let login = Login::Password {
            mechanism: Mechanism::Plain,
            username: "me".to_owned(),
            password: Password("hunter2".to_owned()),
        };
        assert!(!format!("{login:?}").contains("hunter2"));
    }
}
