//! Standard output, where a reader that goes away (`| head`) is no reason to panic.

use std::fmt::Display;
use std::io::{self, ErrorKind, StdoutLock, Write as _};

use anyhow::anyhow;
use serde::Serialize;

use super::command_error::CommandError;

/// Standard output, line by line.
pub(super) struct Output(StdoutLock<'static>);

impl Output {
    /// Standard output, for this command alone.
    pub(super) fn new() -> Self {
        Self(io::stdout().lock())
    }

    /// Writes a line, which is out when this returns.
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), CommandError> {
        written(writeln!(self.0, "{text}"))
    }

    /// Writes a value as one line of JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), CommandError> {
        self.line(json(value)?)
    }
}

/// A value as JSON, on one line.
pub(super) fn json(value: &impl Serialize) -> Result<String, CommandError> {
    serde_json::to_string(value).map_err(|error| CommandError::Failed(error.into()))
}

/// What the result of a write means for the command.
pub(super) fn written(result: io::Result<()>) -> Result<(), CommandError> {
    result.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => CommandError::Unread,
        _ => CommandError::Failed(anyhow!("the output cannot be written: {error}")),
    })
}
