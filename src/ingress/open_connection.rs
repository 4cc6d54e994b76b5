//! The count of open connections: each counts from its first moment to its last, whatever it is
//! spent on.

use std::sync::Arc;

use crate::metrics::Metrics;

/// An open connection; dropping it takes it off the gauge.
pub(super) struct OpenConnection(Arc<Metrics>);

impl OpenConnection {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        metrics.http_connections.inc();
        Self(metrics)
    }

    /// Where it is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.0
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.http_connections.dec();
    }
}
