//! What a refused request is known by, to its sender and in the log.

/// The id of a refused request.
#[derive(Debug)]
pub(super) struct RequestId(String);

impl RequestId {
    /// A random one.
    pub fn random() -> Self {
        Self(format!("{:016x}", rand::random::<u64>()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
