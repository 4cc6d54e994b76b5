//! A broker of a test's own, for faults that nobody else may share: it is stopped, frozen, killed
//! and told to behave otherwise.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::Authority;
use crate::eventually::{eventually_blocking, eventually_within};

/// Packages may have to be installed first.
const START: Duration = Duration::from_secs(300);

/// What a broker of one's own has beside what every one has; `tests/brokers/kafka` and
/// `tests/brokers/rabbitmq` say how it is written.
#[derive(Debug, Default)]
pub struct Wishes {
    pub listeners: Vec<String>,
    /// Lines of `server.properties`, or of `rabbitmq.conf`.
    pub properties: String,
    /// RabbitMQ's plugins, by their names.
    pub plugins: Vec<&'static str>,
    pub format_arguments: Vec<String>,
    /// Where its data shall lie, such as on a disk that fills.
    pub data: Option<PathBuf>,
}

impl Wishes {
    /// One more listener, that tells its clients another address than it is bound to where a proxy
    /// stands before it.
    pub fn listener(mut self, name: &str, protocol: &str, bound: &str, advertised: &str) -> Self {
        self.listeners
            .push(format!("{name} {protocol} {bound} {advertised}"));
        self
    }

    fn write(&self, folder: &Path) {
        let write = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text).expect("writable");
        };
        let lines = |lines: &[String]| {
            lines
                .iter()
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        };
        write("listeners", &lines(&self.listeners));
        write("more.properties", &self.properties);
        write("plugins", &format!("[{}].\n", self.plugins.join(",")));
        write("format.arguments", &lines(&self.format_arguments));
        let place = folder.join("data");
        if let Some(data) = self.data.as_ref().filter(|_| !place.exists()) {
            std::os::unix::fs::symlink(data, place).expect("a folder of ours");
        }
    }
}

/// A port for a listener that must be known before its broker runs, below the range that the kernel
/// hands to outgoing connections, as those that the scripts choose.
pub fn free_port() -> u16 {
    let random = |_| 20_000 + u16::try_from(rand::random::<u32>() % 11_000).expect("small");
    let free = |port: &u16| std::net::TcpListener::bind(("0.0.0.0", *port)).is_ok();
    (0..100).map(random).find(free).expect("a free port")
}

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
        Self::start("rabbitmq", &Wishes::default()).await
    }

    /// An Apache Kafka.
    pub async fn kafka() -> Self {
        Self::kafka_with(&Wishes::default()).await
    }

    /// An Apache Kafka with what a test wants of it.
    pub async fn kafka_with(wishes: &Wishes) -> Self {
        Self::start("kafka", wishes).await
    }

    /// A RabbitMQ with what a test wants of it.
    pub async fn rabbitmq_with(wishes: &Wishes) -> Self {
        Self::start("rabbitmq", wishes).await
    }

    /// A RabbitMQ that speaks TLS as well, with this certificate and its key in one PEM file.
    pub async fn rabbitmq_with_tls(authority: &Authority, certificate: &Path) -> Self {
        Self::rabbitmq_with_tls_and(authority, certificate, &Wishes::default()).await
    }

    /// The same with what else a test wants of it.
    pub async fn rabbitmq_with_tls_and(
        authority: &Authority,
        certificate: &Path,
        wishes: &Wishes,
    ) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let tls = folder.path().join("tls");
        std::fs::create_dir(&tls).expect("writable");
        std::fs::copy(authority.certificate(), tls.join("ca.pem")).expect("writable");
        std::fs::copy(certificate, tls.join("broker.pem")).expect("writable");
        Self::start_in(folder, "rabbitmq", wishes).await
    }

    async fn start(kind: &'static str, wishes: &Wishes) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        Self::start_in(folder, kind, wishes).await
    }

    async fn start_in(folder: TempDir, kind: &'static str, wishes: &Wishes) -> Self {
        wishes.write(folder.path());
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
        self.gone();
    }

    /// Tells it to stop, and nothing of it runs when this returns.
    pub fn shut_down(&mut self) {
        self.signal("TERM");
        self.gone();
    }

    /// Waits for the end of a broker that ends.
    pub fn gone(&mut self) {
        self.script.wait().expect("ours to wait for");
        let _ = std::fs::remove_file(self.folder.path().join("ready"));
    }

    /// Starts it again after its end: with its data, on its ports.
    pub async fn restart(&mut self) {
        self.script = run(self.kind, self.folder.path());
        self.ready().await;
    }

    /// The same with other wishes; its data stay where they are.
    pub async fn restart_with(&mut self, wishes: &Wishes) {
        wishes.write(self.folder.path());
        self.restart().await;
    }

    /// Runs `rabbitmqctl`, and asserts that it worked.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let program = self.ctl_program();
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

    /// The `rabbitmqctl` of this node.
    pub fn ctl_program(&self) -> String {
        self.variable("HOOKFERRY_TEST_RABBITMQCTL")
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
        .env("HOOKFERRY_TEST_CONTAINERS", "no")
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
