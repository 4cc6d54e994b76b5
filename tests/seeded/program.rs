//! The program with a bug on purpose: the one that `HOOKFERRY_SEEDED_BUG` names. The suite runs it
//! to show that its checks can fail; it is no part of a release. Where none is named it has none.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(error) = hookferry::seeded::activate() {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    hookferry::cli::run()
}
