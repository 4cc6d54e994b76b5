//! Shutdown: whether the program is draining, and takes no new delivery.

use tokio_util::sync::CancellationToken;

/// Whether deliveries are still taken. Cloning it shares it.
#[derive(Debug, Clone, Default)]
pub struct Draining(CancellationToken);

impl Draining {
    /// From now on: no new deliveries.
    pub fn begin(&self) {
        self.0.cancel();
    }

    /// Whether draining has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns once draining has begun.
    pub async fn begun(&self) {
        self.0.cancelled().await;
    }
}
