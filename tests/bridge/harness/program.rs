//! Which program is tested: the one that is released, or one with a bug on purpose.

use std::process::Command;

/// Where the released program is.
pub const RELEASED: &str = env!("CARGO_BIN_EXE_hookferry");

/// A program.
#[derive(Debug, Clone, Copy)]
pub enum Program {
    /// The one that is released.
    Released,
    /// The same in an environment that asks for a bug, which it must not know.
    Asked(&'static str),
    /// The one that was built with the feature `seeded-bugs`, with this bug of `src/seeded.rs`.
    Seeded(&'static str),
    /// The one that was built with the feature `otlp`: the same file, without a bug.
    Exporting,
}

impl Program {
    /// How to start it.
    pub fn command(self) -> Command {
        match self {
            Self::Released => Command::new(RELEASED),
            Self::Asked(bug) => with_bug(bug, RELEASED),
            Self::Seeded(bug) => with_bug(bug, &seeded()),
            Self::Exporting => Command::new(seeded()),
        }
    }
}

fn with_bug(bug: &str, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("HOOKFERRY_SEEDED_BUG", bug);
    command
}

fn seeded() -> String {
    std::env::var("HOOKFERRY_TEST_SEEDED").expect(
        "HOOKFERRY_TEST_SEEDED names no program: run tests/run, or build hookferry-seeded with \
         --features seeded-bugs,otlp and set it to the path",
    )
}
