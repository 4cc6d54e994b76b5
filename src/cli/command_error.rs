//! Why a command failed, and its exit code.

use std::process::ExitCode;

use crate::telemetry;

/// Why a command has not done what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// It was asked for wrongly, or the configuration is wrong.
    #[error("{0}")]
    Usage(String),
    /// It went wrong.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
    /// The answer is no, and has been given already.
    #[error("the answer is no")]
    Negative,
    /// Nobody reads the output any more, as after `| head`: that is no failure of ours.
    #[error("nobody reads the output")]
    Unread,
}

impl CommandError {
    /// Says what is left to say, and gives the exit code.
    pub(super) fn exit(&self) -> ExitCode {
        match self {
            Self::Usage(text) => {
                say(text);
                ExitCode::from(2)
            }
            Self::Failed(error) => {
                say(&format!("{error:#}"));
                ExitCode::FAILURE
            }
            Self::Negative => ExitCode::FAILURE,
            Self::Unread => ExitCode::SUCCESS,
        }
    }
}

/// Says it on standard error; where that is gone too, the exit code is all there is.
pub(super) fn say(text: &str) {
    telemetry::say(&format!("hookferry: {text}"));
}
