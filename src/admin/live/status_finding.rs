//! A finding: something of the bridge that is not as it should be, in words.

use std::fmt::Display;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StatusLevel {
    /// As it should be.
    Good,
    /// Something wants to be looked at.
    Warning,
    /// Events are refused, or wait for something that does not get better by itself.
    Bad,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct StatusFinding {
    pub level: StatusLevel,
    pub text: String,
    pub remedy: &'static str,
    /// Where the runbook says more.
    pub runbook: Option<String>,
}

/// A finding, what to do about it, and the section of the runbook that says more.
pub(super) fn finding(
    level: StatusLevel,
    text: impl Into<String>,
    (remedy, section): (&'static str, &str),
) -> StatusFinding {
    StatusFinding {
        level,
        text: text.into(),
        remedy,
        runbook: Some(format!("/runbook#{section}")),
    }
}

/// A span of seconds, in its largest unit.
pub(super) fn span(seconds: i64) -> impl Display {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
