//! Where spans go.

use std::fmt;

use crate::crypto::Authorities;

/// How spans are exported.
#[derive(Clone, PartialEq)]
pub struct TraceSettings {
    /// The collector's URL for traces, OTLP over HTTP.
    pub endpoint: String,
    /// The share of the traces that start here which is recorded, from 0 to 1. Those that come in
    /// with a delivery are recorded where their sender records them.
    pub sample_ratio: f64,
    /// Headers for the collector, such as a token. The values are secret.
    pub headers: Vec<(String, String)>,
    /// Who vouches for the collector; the system's authorities, where none.
    pub authorities: Option<Authorities>,
}

impl fmt::Debug for TraceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("TraceSettings")
            .field("endpoint", &self.endpoint)
            .field("sample_ratio", &self.sample_ratio)
            .field("headers", &headers)
            .field("authorities", &self.authorities)
            .finish()
    }
}
