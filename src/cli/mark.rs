//! A sign in front of a line: well, watch out, wrong. In colour on a terminal only.

use std::fmt;
use std::io::IsTerminal as _;

use crate::sink::Severity;

/// The signs, coloured or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    coloured: bool,
}

/// One sign.
pub(super) struct Mark {
    sign: &'static str,
    colour: Option<&'static str>,
}

impl Marks {
    /// For standard output. `NO_COLOR` is heeded (<https://no-color.org>).
    pub(super) fn for_output() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            coloured: !unwanted && std::io::stdout().is_terminal(),
        }
    }

    /// The sign of a finding.
    pub(super) fn of(self, severity: Severity) -> Mark {
        let (sign, colour) = match severity {
            Severity::Good => ("✓", "\x1b[32m"),
            Severity::Warning => ("!", "\x1b[33m"),
            Severity::Error => ("✗", "\x1b[31m"),
        };
        Mark {
            sign,
            colour: self.coloured.then_some(colour),
        }
    }

    /// The sign of something that holds or does not.
    pub(super) fn whether(self, holds: bool) -> Mark {
        self.of(if holds {
            Severity::Good
        } else {
            Severity::Error
        })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.colour {
            Some(colour) => write!(f, "{colour}{}\x1b[0m", self.sign),
            None => f.write_str(self.sign),
        }
    }
}
