//! A broker of a test's own, for faults that nobody else may share: it is stopped, frozen, killed
//! and told to behave otherwise.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::eventually::{eventually_blocking, eventually_within};

/// Packages may have to be installed first.
const START: Duration = Duration::from_secs(300);

/// A private broker; dropping it stops it.
pub struct Node {
    kind: &'static str,
    folder: TempDir,
    script: Child,
    variables: HashMap<String, String>,
}

impl Node {
    /// A RabbitMQ.
    pub async fn rabbitmq() -> Self {
        Self::start("rabbitmq").await
    }

    /// An Apache Kafka.
    pub async fn kafka() -> Self {
        Self::start("kafka").await
    }

    /// A RabbitMQ that speaks TLS as well: with the certificates that the closure puts into a
    /// folder, as `ca.pem`, `broker.pem` and `broker.key`.
    pub async fn rabbitmq_with_tls(certify: impl FnOnce(&Path)) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let tls = folder.path().join("tls");
        std::fs::create_dir(&tls).expect("writable");
        certify(&tls);
        Self::start_in("rabbitmq", folder).await
    }

    async fn start(kind: &'static str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        Self::start_in(kind, folder).await
    }

    async fn start_in(kind: &'static str, folder: TempDir) -> Self {
        let script = run(kind, folder.path());
        let mut node = Self {
            kind,
            folder,
            script,
            variables: HashMap::new(),
        };
        node.ready().await;
        node
    }

    async fn ready(&mut self) {
        let ready = self.folder.path().join("ready");
        let what = format!("a {} of one's own is ready", self.kind);
        let text = eventually_within(START, &what, async || {
            let ended = self.script.try_wait().expect("a child of ours");
            assert!(ended.is_none(), "{}", self.log());
            std::fs::read_to_string(&ready).ok()
        })
        .await;
        self.variables = text.lines().filter_map(variable).collect();
    }

    /// The AMQP URL.
    pub fn url(&self) -> String {
        self.variable("HOOKFERRY_TEST_AMQP_URL")
    }

    /// The AMQP URL over TLS.
    pub fn tls_url(&self) -> String {
        self.variable("HOOKFERRY_TEST_AMQPS_URL")
    }

    /// The bootstrap brokers.
    pub fn brokers(&self) -> String {
        self.variable("HOOKFERRY_TEST_KAFKA_BROKERS")
    }

    /// Its folder, with its configuration and its logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends the broker's own process a signal by its name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = match self.kind {
            "rabbitmq" => "HOOKFERRY_TEST_RABBITMQ_PID",
            _ => "HOOKFERRY_TEST_KAFKA_PID",
        };
        let status = Command::new("kill")
            .args([format!("-{name}"), self.variable(pid)])
            .status()
            .expect("kill is there");
        assert!(status.success(), "the broker is gone");
    }

    /// `kill -9`, and nothing of it runs when this returns.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.script.wait().expect("ours to wait for");
        let _ = std::fs::remove_file(self.folder.path().join("ready"));
    }

    /// Starts it again after [`Self::kill`]: with its data, on its ports.
    pub async fn restart(&mut self) {
        self.script = run(self.kind, self.folder.path());
        self.ready().await;
    }

    /// Runs `rabbitmqctl`, and asserts that it worked.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let program = self.variable("HOOKFERRY_TEST_RABBITMQCTL");
        let output = Command::new(program)
            .args(arguments)
            .output()
            .expect("rabbitmqctl starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{arguments:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    fn variable(&self, name: &str) -> String {
        self.variables[name].clone()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("start.log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of the broker's script:\n{}", self.log());
        }
        let _ = Command::new("kill")
            .arg(self.script.id().to_string())
            .status();
        eventually_blocking("the broker stops", || self.script.try_wait().ok()?);
    }
}

/// Runs the script that runs the broker. Should the tests be killed, it is told to stop.
fn run(kind: &str, folder: &Path) -> Child {
    let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/brokers", kind]
        .iter()
        .collect();
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("start.log"))
        .expect("writable");
    Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "--"])
        .arg(script)
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the script starts")
}

/// `export NAME=VALUE` or `export NAME='VALUE'`.
fn variable(line: &str) -> Option<(String, String)> {
    let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
    Some((name.to_owned(), value.trim_matches('\'').to_owned()))
}
