//! Whether a request was proven by the time of its answer: a closed set, because it is a metric label.
//! Whoever wakes somebody looks at proven requests alone, since anybody can send others.

/// Whether a request was proven to come from its source by the time it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofLabel {
    /// A secret of the source has signed it, at a time that is taken.
    Proven,
    /// Nothing has proven it: it is no delivery, is not signed or wrongly, or was answered before it
    /// was looked at.
    Unproven,
}

impl ProofLabel {
    /// Both, so that each has a series from the first scrape on.
    pub const ALL: [Self; 2] = [Self::Proven, Self::Unproven];

    /// The value of the label `proven`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "yes",
            Self::Unproven => "no",
        }
    }
}
