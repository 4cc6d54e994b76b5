//! Where spans go.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

/// How spans are exported.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// The collector's URL for traces, OTLP over HTTP.
    pub endpoint: String,
    /// The share of the traces that start here which is recorded, from 0 to 1. Those that come in
    /// with a delivery are recorded where their sender records them.
    pub sample_ratio: f64,
    /// Headers for the collector, such as a token. The values are secret.
    pub headers: Vec<(String, String)>,
    /// How long one export may take.
    pub timeout: Duration,
    /// Who vouches for the collector; the system's authorities, where none.
    pub authorities: Option<Authorities>,
}

/// A file of certificate authorities.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    /// What it holds, PEM.
    pub pem: String,
    /// When the last of them expires.
    pub until: Timestamp,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Settings")
            .field("endpoint", &self.endpoint)
            .field("sample_ratio", &self.sample_ratio)
            .field("headers", &headers)
            .field("timeout", &self.timeout)
            .field("authorities", &self.authorities)
            .finish()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "until {}", self.until)
    }
}
