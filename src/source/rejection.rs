//! Why a delivery was not believed. The reasons are a closed set, because they are metric labels
//! and part of the answer.

/// The delivery is not proven to come from its source: the sender must change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejection {
    /// No signature header.
    #[error("the signature header is missing")]
    SignatureMissing,
    /// More than one header of the signature's name, or of one that it covers; which one counts would be
    /// a guess.
    #[error("the signature header, or one that the signature covers, appears more than once")]
    SignatureRepeated,
    /// A signature header over 1 KiB.
    #[error("the signature header is longer than 1024 bytes")]
    SignatureTooLong,
    /// A signature header outside the scheme's grammar.
    #[error("the signature header is malformed")]
    SignatureMalformed,
    /// A header that the signature covers is not there.
    #[error("a header that the signature covers is missing")]
    SignedHeaderMissing,
    /// The time that the signature covers is none.
    #[error("the signed timestamp is missing or malformed")]
    TimestampMalformed,
    /// No secret makes any of the signatures, whatever the timestamp says.
    #[error("no configured secret makes this signature for this body")]
    SignatureMismatch,
    /// The signature is right, but was made too long ago: a replay, a late retry, or a clock that is off.
    #[error("the signature is right but its timestamp is too old")]
    TimestampStale,
    /// The signature is right, but claims to come from the future: a clock is off.
    #[error("the signature is right but its timestamp is in the future")]
    TimestampFuture,
}

impl Rejection {
    /// Every reason, so that each has a series from the first scrape on.
    pub const ALL: [Self; 9] = [
        Self::SignatureMissing,
        Self::SignatureRepeated,
        Self::SignatureTooLong,
        Self::SignatureMalformed,
        Self::SignedHeaderMissing,
        Self::TimestampMalformed,
        Self::SignatureMismatch,
        Self::TimestampStale,
        Self::TimestampFuture,
    ];

    /// The stable name of the reason, in answers and in metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::SignatureMissing => "signature_missing",
            Self::SignatureRepeated => "signature_repeated",
            Self::SignatureTooLong => "signature_too_long",
            Self::SignatureMalformed => "signature_malformed",
            Self::SignedHeaderMissing => "signed_header_missing",
            Self::TimestampMalformed => "timestamp_malformed",
            Self::SignatureMismatch => "signature_mismatch",
            Self::TimestampStale => "timestamp_stale",
            Self::TimestampFuture => "timestamp_future",
        }
    }
}
