//! Why a run ended before its end.

use crate::pipeline::Refusal;
use crate::source::ApiError;
use crate::spool::SpoolUnavailable;

/// Why a run ended before its end. The next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The provider's record could not be read.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// An event was not accepted.
    #[error("the bridge cannot accept what is missing: {0}")]
    Refused(#[from] Refusal),
    /// The spool could not tell what it has.
    #[error("the spool cannot tell what it has: {0}")]
    Spool(#[from] SpoolUnavailable),
    /// The rest of it is for deliveries.
    #[error("half of the spool is full, and the rest is left to deliveries")]
    SpoolHalfFull,
    /// What was accepted before is not known yet.
    #[error(
        "the spool is entering the ids of accepted events again, and does not know all of them yet"
    )]
    Reindexing,
}
