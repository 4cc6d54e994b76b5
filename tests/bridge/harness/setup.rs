//! A configuration in a folder of its own, as an operator would write it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{Bridge, Program};
use crate::eventually::eventually;

/// The secret every delivery is signed with unless a test says otherwise.
pub const SECRET: &str = "whsec_test_secret";

/// The operators' token where their listener has one, as it must beyond loopback.
pub const ADMIN_TOKEN: &str = "a-token-of-the-tests";

/// The parts of a configuration file; each text is TOML that is put into its table.
pub struct Setup {
    folder: TempDir,
    /// The spool's folder: `spool` in that of everything else, unless a test says otherwise.
    pub spool_folder: PathBuf,
    pub source: String,
    /// The address both listeners are on.
    pub host: String,
    pub top: String,
    pub ingress: String,
    pub admin: String,
    pub spool: String,
    pub in_memory: bool,
    pub source_keys: String,
    pub sinks: Vec<(String, String)>,
    pub routes: Option<String>,
    pub more: String,
}

impl Setup {
    fn new(sinks: Vec<(String, String)>) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("secret"), SECRET).expect("writable");
        std::fs::write(folder.path().join("token"), ADMIN_TOKEN).expect("writable");
        let text = String::new;
        Self {
            spool_folder: folder.path().join("spool"),
            folder,
            source: super::unique("src"),
            host: "127.0.0.1".to_owned(),
            top: text(),
            ingress: text(),
            admin: text(),
            spool: text(),
            in_memory: false,
            source_keys: text(),
            sinks,
            routes: None,
            more: text(),
        }
    }

    /// A bridge to the embedded store.
    pub fn store() -> Self {
        Self::new(Vec::new()).and_store()
    }

    /// A bridge to the RabbitMQ at `url`.
    pub fn rabbitmq(url: &str) -> Self {
        Self::new(Vec::new()).and_rabbitmq(url)
    }

    /// A bridge to a Kafka, whose topics it makes itself.
    pub fn kafka(brokers: &str) -> Self {
        Self::new(Vec::new()).and_kafka(
            brokers,
            "create_topics = { partitions = 3, replication = 1 }\n",
        )
    }

    /// One more sink: the store.
    pub fn and_store(mut self) -> Self {
        let path = self.folder.path().join("topics");
        self.sinks.push((
            "store".to_owned(),
            format!("type = \"store\"\npath = {path:?}\n"),
        ));
        self
    }

    /// One more sink: a RabbitMQ. Short timeouts, so that outages of a test are noticed in its time.
    pub fn and_rabbitmq(mut self, url: &str) -> Self {
        let text = format!(
            "type = \"rabbitmq\"\nurl = \"{url}\"\npublish_timeout = \"2s\"\nretry_delay_max = \"500ms\"\n"
        );
        self.sinks.push(("rabbitmq".to_owned(), text));
        self
    }

    /// One more sink: a Kafka.
    pub fn and_kafka(mut self, brokers: &str, keys: &str) -> Self {
        let text = format!(
            "type = \"kafka\"\nbrokers = \"{brokers}\"\npublish_timeout = \"3s\"\nretry_delay_max = \"500ms\"\n{keys}"
        );
        self.sinks.push(("kafka".to_owned(), text));
        self
    }

    /// Sets the keys above all tables.
    pub fn top(mut self, text: &str) -> Self {
        self.top = text.to_owned();
        self
    }

    /// Sets keys of the public listener.
    pub fn ingress(mut self, text: &str) -> Self {
        self.ingress = text.to_owned();
        self
    }

    /// Sets keys of the operators' listener.
    pub fn admin(mut self, text: &str) -> Self {
        self.admin = text.to_owned();
        self
    }

    /// Sets keys of the spool.
    pub fn spool(mut self, text: &str) -> Self {
        self.spool = text.to_owned();
        self
    }

    /// Sets keys of the source.
    pub fn source_keys(mut self, text: &str) -> Self {
        self.source_keys = text.to_owned();
        self
    }

    /// Keeps the spool in memory.
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// A file of this bridge's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration's text.
    pub fn text(&self) -> String {
        let (source, host, folder) = (&self.source, &self.host, self.folder.path().display());
        let mut admin = self.admin.clone();
        if host != "127.0.0.1" && !admin.contains("token") {
            let _ = writeln!(admin, "token = {{ file = \"{folder}/token\" }}");
        }
        let mut text = self.top.clone();
        text.push('\n');
        let _ = write!(
            text,
            "[ingress]\nlisten = \"{host}:0\"\n{}\n[admin]\nlisten = \"{host}:0\"\n{admin}\n[log]\nformat = \"json\"\n",
            self.ingress
        );
        let place = if self.in_memory {
            "path = \"memory\"".to_owned()
        } else {
            format!("path = {:?}", self.spool_folder)
        };
        let _ = write!(text, "[spool]\n{place}\n{}\n", self.spool);
        let _ = write!(
            text,
            "[source.{source}]\nprovider = \"onecodex\"\nsecrets = [{{ file = \"{folder}/secret\" }}]\n{}\n",
            self.source_keys
        );
        for (name, keys) in &self.sinks {
            let _ = write!(text, "[sink.{name}]\n{keys}\n");
        }
        match &self.routes {
            Some(routes) => text.push_str(routes),
            None => {
                let names: Vec<&str> = self.sinks.iter().map(|(name, _)| name.as_str()).collect();
                let _ = write!(
                    text,
                    "[[route]]\nsource = \"{source}\"\nsinks = {names:?}\n"
                );
            }
        }
        text.push('\n');
        text.push_str(&self.more);
        text
    }

    /// Writes the file.
    pub fn write(&self) -> PathBuf {
        let path = self.path("hookferry.toml");
        std::fs::write(&path, self.text()).expect("writable");
        path
    }

    /// Starts the bridge and returns once it is ready.
    pub async fn start(&self) -> Bridge {
        Bridge::start(&self.write()).await
    }

    /// Starts a bridge that may have a bug on purpose.
    pub async fn start_as(&self, program: Program) -> Bridge {
        Bridge::start_as(program, &self.write()).await
    }

    /// Starts the bridge in the hope that it ends by itself: its exit code and what it said.
    pub async fn fails(&self) -> (Option<i32>, String) {
        ends(&self.write()).await
    }

    /// The same with a bridge that may have a bug on purpose.
    pub async fn fails_as(&self, program: Program) -> (Option<i32>, String) {
        ends_as(program, &self.write()).await
    }
}

/// Runs the bridge until it ends by itself: its exit code and what it said.
pub async fn ends(config: &Path) -> (Option<i32>, String) {
    ends_as(Program::Released, config).await
}

async fn ends_as(program: Program, config: &Path) -> (Option<i32>, String) {
    ends_by(&mut program.command(), config).await
}

/// The same by a command that runs the program, such as `setpriv`.
pub async fn ends_by(command: &mut Command, config: &Path) -> (Option<i32>, String) {
    let said = config.with_extension("said");
    let file = std::fs::File::create(&said).expect("writable");
    let child = command
        .args(["serve", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .expect("the program starts");
    let mut running = Running(child);
    let status = eventually("the bridge ends by itself", async || {
        running.0.try_wait().expect("a child of ours")
    })
    .await;
    let said = std::fs::read_to_string(&said).expect("written");
    (status.code(), said)
}

/// A program that must not outlive its test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
