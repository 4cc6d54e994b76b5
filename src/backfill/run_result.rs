//! How a run ended, as it is counted.

use super::run_error::RunError;
use super::run_line::Summary;
use crate::source::ApiError;

/// How a run ended, as the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunResult {
    /// All of the list was looked at, and what was missing is brought back.
    Completed,
    /// The list changed while it was read, so that something in it may not have been seen.
    Incomplete,
    /// The provider did not answer.
    Unavailable,
    /// The provider does not take the key.
    Unauthorized,
    /// The provider answered otherwise than its API does.
    InvalidAnswer,
    /// The bridge could not accept what was missing.
    Refused,
}

impl RunResult {
    /// Every result, so that each has a series from the first scrape on.
    pub const ALL: [Self; 6] = [
        Self::Completed,
        Self::Incomplete,
        Self::Unavailable,
        Self::Unauthorized,
        Self::InvalidAnswer,
        Self::Refused,
    ];

    /// The metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Unavailable => "unavailable",
            Self::Unauthorized => "unauthorized",
            Self::InvalidAnswer => "invalid_answer",
            Self::Refused => "refused",
        }
    }

    /// The result of a run that has ended so.
    #[must_use]
    pub fn of(ended: &Result<Summary, RunError>) -> Self {
        match ended {
            Ok(summary) if summary.whole => Self::Completed,
            Ok(_) => Self::Incomplete,
            Err(RunError::Api(ApiError::Unavailable { .. })) => Self::Unavailable,
            Err(RunError::Api(ApiError::Unauthorized(_))) => Self::Unauthorized,
            Err(RunError::Api(
                ApiError::TooLarge | ApiError::NotFound(_) | ApiError::Invalid(_),
            )) => Self::InvalidAnswer,
            Err(_) => Self::Refused,
        }
    }
}
