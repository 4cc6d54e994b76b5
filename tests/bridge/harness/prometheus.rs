//! A real Prometheus, and the tool that comes with it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::free_port;
use crate::eventually::eventually;

/// A release of Prometheus that operators have, each of which must take our rules.
#[derive(Clone, Copy, Debug)]
pub enum Release {
    /// Debian's.
    Two,
    /// The one that docker-compose.yml names.
    Three,
}

impl Release {
    pub const ALL: [Self; 2] = [Self::Two, Self::Three];

    /// One of its two programs: from where the environment says; of Debian's, or from the PATH.
    fn program(self, name: &str) -> PathBuf {
        let folder = match self {
            Self::Two => std::env::var_os("HOOKFERRY_TEST_PROMETHEUS").unwrap_or_default(),
            Self::Three => std::env::var_os("HOOKFERRY_TEST_PROMETHEUS3").expect(
                "HOOKFERRY_TEST_PROMETHEUS3 names no folder: run tests/run, or set it to the one that \
                 tests/brokers/prometheus3 has filled",
            ),
        };
        PathBuf::from(folder).join(name)
    }

    /// Runs its `promtool`.
    pub fn promtool(self, arguments: &[impl AsRef<OsStr>]) -> Said {
        self.promtool_reading("", arguments)
    }

    /// The same with this text to read.
    pub fn promtool_reading(self, input: &str, arguments: &[impl AsRef<OsStr>]) -> Said {
        let mut child = Command::new(self.program("promtool"))
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
}

/// What a program said, and whether it was content.
#[derive(Debug)]
pub struct Said {
    pub content: bool,
    pub text: String,
}

/// Runs the `promtool` of every release: they are content when each of them is.
pub fn promtool(arguments: &[impl AsRef<OsStr>]) -> Said {
    let said = Release::ALL.map(|release| release.promtool(arguments));
    Said {
        content: said.iter().all(|said| said.content),
        text: said.map(|said| said.text).concat(),
    }
}

/// A server with a port and a folder of its own; dropping it kills it.
pub struct Prometheus {
    child: Child,
    folder: TempDir,
    root: String,
}

impl Prometheus {
    /// Starts one of this release with this configuration, in which `{self}` stands for its own address,
    /// and returns once it answers.
    pub async fn start(release: Release, configuration: &Value) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let address = format!("127.0.0.1:{}", free_port());
        let text = configuration.to_string().replace("{self}", &address);
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, text).expect("writable");
        let log = std::fs::File::create(folder.path().join("log")).expect("writable");
        // Should the tests be killed, it goes too.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(release.program("prometheus"))
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

    /// Asks its API, and returns the data; asserts that there is no error, no warning, and no remark, of
    /// which release 3 has some.
    pub fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let request = ureq::get(format!("{}/api/v1/{path}", self.root))
            .query_pairs(parameters.iter().copied())
            .config()
            .http_status_as_error(false)
            .build();
        let mut answer = request.call().expect("Prometheus answers");
        let text = answer.body_mut().read_to_string().expect("text");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        let is_silent = answer["warnings"].is_null() && answer["infos"].is_null();
        let is_good = answer["status"] == "success" && is_silent;
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
