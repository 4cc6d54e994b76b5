//! The log of a command that a person runs: warnings and errors, as text.

use crate::config::LogSettings;
use crate::config::file::LogFormat;
use crate::telemetry;

/// Starts it.
pub(super) fn start() {
    telemetry::start(&LogSettings {
        format: LogFormat::Text,
        filter: "warn".into(),
    });
}
