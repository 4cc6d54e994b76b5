//! strace, which makes system calls fail, take their time, or be the last thing a program does.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Bridge;
use crate::eventually::eventually;

/// strace reads the list of threads once when it attaches: it misses a thread that one not yet
/// traced starts meanwhile, and has to attach again.
const ONE_ATTEMPT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

/// What is done to which calls: `CALL:WHAT` in strace's words, on these files only.
#[derive(Debug, Clone)]
pub struct Injection {
    call: String,
    what: String,
    files: Vec<PathBuf>,
}

/// A tracer of a running bridge; the bridge goes on untroubled when it is dropped.
pub struct Strace(Child);

impl Injection {
    /// Injects into each of the calls named, divided by commas.
    pub fn new(call: &str, what: impl Into<String>) -> Self {
        Self {
            call: call.to_owned(),
            what: what.into(),
            files: Vec::new(),
        }
    }

    /// The program is killed at its `nth` such call.
    pub fn kill_at(call: &str, nth: usize) -> Self {
        Self::new(call, format!("signal=KILL:when={nth}"))
    }

    /// Calls on these files of a folder only, and on the folder itself.
    pub fn on(mut self, folder: &Path, names: &[&str]) -> Self {
        self.files = vec![folder.to_owned()];
        self.files
            .extend(names.iter().map(|name| folder.join(name)));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e"]);
        command.arg(format!("trace={}", self.call));
        command.arg("-e");
        command.arg(format!("inject={}:{}", self.call, self.what));
        for file in &self.files {
            command.arg("-P").arg(file);
        }
        command
    }

    /// A command that runs `program` with the injection in place from its first call on. The
    /// program is the child, and strace a grandchild that ends with it.
    pub fn around(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command();
        command.arg("-D").arg(program);
        command
    }

    /// Injects into a running bridge, from now on.
    pub async fn attach(&self, bridge: &Bridge) -> Strace {
        eventually("every thread is traced", async || {
            let strace = self.attach_once(bridge);
            let began = Instant::now();
            while began.elapsed() < ONE_ATTEMPT {
                if is_traced(bridge.pid()) {
                    return Some(strace);
                }
                tokio::time::sleep(PAUSE).await;
            }
            None
        })
        .await
    }

    fn attach_once(&self, bridge: &Bridge) -> Strace {
        let mut command = self.command();
        let strace = command
            .args(["-p", &bridge.pid().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is there");
        Strace(strace)
    }
}

/// Whether each thread of the process has a tracer, or has ended: the injection may come to pass, and
/// kill the program, before anybody looks.
fn is_traced(process: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else {
        return true;
    };
    threads.flatten().all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let says = |key: &str, value: &str| {
            status
                .lines()
                .any(|line| line.split_whitespace().take(2).eq([key, value]))
        };
        says("State:", "Z") || !says("TracerPid:", "0")
    })
}

impl Drop for Strace {
    fn drop(&mut self) {
        // Its tracees are let go of by the kernel.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
