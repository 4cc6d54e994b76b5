//! A connection counts as open from its first moment to its last, whatever it is spent on.

use std::sync::Arc;

use crate::metrics::Metrics;

/// One that is open.
pub(super) struct Open(Arc<Metrics>);

impl Open {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        metrics.http_connections.inc();
        Self(metrics)
    }

    /// Where all is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.http_connections.dec();
    }
}
