//! SASL credentials: a user name with a password, or a bearer token that is read anew whenever
//! librdkafka wants one.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::config::ClientConfig;
use serde::Deserialize;

/// How long a token is valid that does not say so itself.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);

/// A password. It never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslPassword(pub String);

impl fmt::Debug for SaslPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The SASL mechanisms that take a user name and a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// In clear: use it with TLS (RFC 4616).
    Plain,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

impl SaslMechanism {
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
pub enum SaslCredentials {
    /// A name and a password.
    Password {
        /// The mechanism.
        mechanism: SaslMechanism,
        /// The user.
        username: String,
        /// The password.
        password: SaslPassword,
    },
    /// A bearer token (RFC 7628), such as one a platform keeps fresh in a file.
    OauthBearer {
        /// Where it is read.
        token: TokenSource,
    },
}

impl SaslCredentials {
    /// The mechanism's name in the protocol.
    pub(super) fn mechanism(&self) -> &'static str {
        match self {
            Self::Password { mechanism, .. } => mechanism.as_str(),
            Self::OauthBearer { .. } => "OAUTHBEARER",
        }
    }

    /// Whether the secret itself is sent, for whoever listens on the way.
    #[must_use]
    pub fn sends_secret(&self) -> bool {
        match self {
            Self::Password { mechanism, .. } => *mechanism == SaslMechanism::Plain,
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

/// Where a bearer token is read, and how. Two that read the same place are equal, whatever lies there
/// now.
#[derive(Clone)]
pub struct TokenSource {
    place: String,
    read: Arc<dyn Fn() -> Result<String, String> + Send + Sync>,
}

impl TokenSource {
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

impl PartialEq for TokenSource {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for TokenSource {}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[redacted], from {}", self.place)
    }
}

/// A bearer token as librdkafka wants it.
pub(super) struct BearerToken {
    pub(super) text: String,
    /// Its subject.
    pub(super) principal: String,
    /// When it expires, in Unix milliseconds.
    pub(super) expires_ms: i64,
}

/// The claims of a JSON Web Token that matter here (RFC 7519, section 4.1).
#[derive(Default, Deserialize)]
struct Claims {
    sub: Option<String>,
    /// Seconds since 1970; some issuers write a fraction.
    exp: Option<f64>,
}

impl BearerToken {
    /// Reads the token. The broker verifies it; here its subject and its expiry are needed. One that is
    /// no JWT has no subject and five minutes.
    pub(super) fn read(source: &TokenSource) -> Result<Self, String> {
        let text = (source.read)()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_own_end_and_subject_count() {
        let payload = URL_SAFE_NO_PAD.encode(br#"{"sub":"bridge","exp":1800000000}"#);
        let token = BearerToken::read(&TokenSource::new("a", move || {
            Ok(format!("e30.{payload}.x"))
        }))
        .expect("readable");
        assert_eq!(token.principal, "bridge");
        assert_eq!(token.expires_ms, 1_800_000_000_000);
    }

    #[test]
    fn an_opaque_token_counts_for_a_while() {
        let token = BearerToken::read(&TokenSource::new("a", || Ok("opaque".to_owned())))
            .expect("readable");
        assert!(token.expires_ms > 1_700_000_000_000);
        assert!(BearerToken::read(&TokenSource::new("a", || Err("no file".to_owned()))).is_err());
    }

    #[test]
    fn nothing_secret_prints() {
        let login = SaslCredentials::Password {
            mechanism: SaslMechanism::Plain,
            username: "me".to_owned(),
            password: SaslPassword("hunter2".to_owned()),
        };
        assert!(!format!("{login:?}").contains("hunter2"));
    }
}
