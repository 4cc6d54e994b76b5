//! Which program is tested: the one that is released, or one with a bug on purpose.

use std::process::Command;

/// A program.
#[derive(Debug, Clone, Copy)]
pub enum Program {
    /// The one that is released.
    Released,
    /// The same in an environment that asks for a bug, which it must not know.
    Asked(&'static str),
    /// The one that was built with the feature `seeded-bugs`, with this bug of `src/seeded.rs`.
    Seeded(&'static str),
}

impl Program {
    /// How to start it.
    pub fn command(self) -> Command {
        // A file that may not grow shall be an error to the program, not the end of it.
        let mut command = Command::new("env");
        command.arg("--ignore-signal=XFSZ");
        match self {
            Self::Released => {}
            Self::Asked(bug) | Self::Seeded(bug) => {
                command.env("HOOKFERRY_SEEDED_BUG", bug);
            }
        }
        command.arg(match self {
            Self::Released | Self::Asked(_) => env!("CARGO_BIN_EXE_hookferry").to_owned(),
            Self::Seeded(_) => seeded(),
        });
        command
    }
}

fn seeded() -> String {
    std::env::var("HOOKFERRY_TEST_SEEDED").expect(
        "HOOKFERRY_TEST_SEEDED names no program: run tests/run, or build hookferry-seeded with \
         --features seeded-bugs and set it to the path",
    )
}
