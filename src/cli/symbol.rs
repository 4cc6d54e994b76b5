//! The symbol in front of a printed finding: good, warning or error. Coloured on a terminal only.

use std::fmt;
use std::io::IsTerminal as _;

use crate::sink::Severity;

/// The symbols, coloured or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbols {
    coloured: bool,
}

/// One symbol.
pub(super) struct Symbol {
    text: &'static str,
    colour: Option<&'static str>,
}

impl Symbols {
    /// For standard output. `NO_COLOR` is heeded (<https://no-color.org>).
    pub(super) fn for_output() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            coloured: !unwanted && std::io::stdout().is_terminal(),
        }
    }

    /// The symbol of a finding.
    pub(super) fn of(self, severity: Severity) -> Symbol {
        let (text, colour) = match severity {
            Severity::Good => ("✓", "\x1b[32m"),
            Severity::Warning => ("!", "\x1b[33m"),
            Severity::Error => ("✗", "\x1b[31m"),
        };
        Symbol {
            text,
            colour: self.coloured.then_some(colour),
        }
    }

    /// The symbol of something that holds or does not.
    pub(super) fn whether(self, holds: bool) -> Symbol {
        self.of(if holds {
            Severity::Good
        } else {
            Severity::Error
        })
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.colour {
            Some(colour) => write!(f, "{colour}{}\x1b[0m", self.text),
            None => f.write_str(self.text),
        }
    }
}
