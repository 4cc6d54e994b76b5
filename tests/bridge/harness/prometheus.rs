//! A real Prometheus, and the tool that comes with it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a program said, and whether it was content.
#[derive(Debug)]
pub struct Said {
    pub content: bool,
    pub text: String,
}

/// Runs `promtool`.
pub fn promtool(arguments: &[impl AsRef<OsStr>]) -> Said {
    let output = program("promtool")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("promtool starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        content: output.status.success(),
        text: text(&output.stdout) + &text(&output.stderr),
    }
}

/// One of the two programs: from where the environment says, or from the PATH.
fn program(name: &str) -> Command {
    let Some(folder) = std::env::var_os("HOOKFERRY_TEST_PROMETHEUS") else {
        return Command::new(name);
    };
    Command::new(PathBuf::from(folder).join(name))
}
