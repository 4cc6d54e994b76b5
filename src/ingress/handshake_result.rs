//! How handshakes of webhooks end: a closed set, because it is a metric label.

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeResult {
    /// It was answered as the provider asks for.
    Answered,
    /// Its conditions did not hold, or it asked for more than is sent back.
    Refused,
}

impl HandshakeResult {
    /// Both, so that each has a series from the first scrape on.
    pub const ALL: [Self; 2] = [Self::Answered, Self::Refused];

    /// The stable name of the result.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
        }
    }
}
