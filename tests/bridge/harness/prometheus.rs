//! A real Prometheus, and the tool that comes with it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::free_port;
use crate::eventually::eventually;

/// What a program said, and whether it was content.
#[derive(Debug)]
pub struct Said {
    pub content: bool,
    pub text: String,
}

/// Runs `promtool`.
pub fn promtool(arguments: &[impl AsRef<OsStr>]) -> Said {
    promtool_reading("", arguments)
}

/// The same with this text to read.
pub fn promtool_reading(input: &str, arguments: &[impl AsRef<OsStr>]) -> Said {
    let mut child = program("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut stdin = child.stdin.take().expect("piped");
    // It may end before it has read what it does not need.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("a child of ours");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        content: output.status.success(),
        text: text(&output.stdout) + &text(&output.stderr),
    }
}

/// One of the two programs: from where the environment says, or from the PATH.
fn named(name: &str) -> PathBuf {
    let folder = std::env::var_os("HOOKFERRY_TEST_PROMETHEUS").unwrap_or_default();
    PathBuf::from(folder).join(name)
}

fn program(name: &str) -> Command {
    Command::new(named(name))
}

/// A server with a port and a folder of its own; dropping it kills it.
pub struct Prometheus {
    child: Child,
    folder: TempDir,
    root: String,
}

impl Prometheus {
    /// Starts it with this configuration, in which `{self}` stands for its own address, and returns
    /// once it answers.
    pub async fn start(configuration: &Value) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let address = format!("127.0.0.1:{}", free_port());
        let text = configuration.to_string().replace("{self}", &address);
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, text).expect("writable");
        let log = std::fs::File::create(folder.path().join("log")).expect("writable");
        // Should the tests be killed, it goes too.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(named("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}/data",
                folder.path().display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus starts");
        let mut prometheus = Self {
            child,
            folder,
            root: format!("http://{address}"),
        };
        eventually("Prometheus is ready", async || prometheus.is_ready()).await;
        prometheus
    }

    fn is_ready(&mut self) -> Option<()> {
        let ended = self.child.try_wait().expect("a child of ours");
        assert!(ended.is_none(), "Prometheus ended: {}", self.log());
        let answer = ureq::get(format!("{}/-/ready", self.root)).call();
        answer.is_ok().then_some(())
    }

    /// Asks its API, and returns the data; asserts that there is no error and no warning.
    pub fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let request = ureq::get(format!("{}/api/v1/{path}", self.root))
            .query_pairs(parameters.iter().copied())
            .config()
            .http_status_as_error(false)
            .build();
        let mut answer = request.call().expect("Prometheus answers");
        let text = answer.body_mut().read_to_string().expect("text");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        let is_good = answer["status"] == "success" && answer["warnings"].is_null();
        assert!(is_good, "{path} {parameters:?}: {answer}");
        answer["data"].clone()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the log of Prometheus:\n{}", self.log());
        }
    }
}
