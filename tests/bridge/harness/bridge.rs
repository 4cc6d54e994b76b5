//! The running program: started, asked, told to stop, killed.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::metrics::Metrics;
use super::program::{self, Program};
use super::setup::ADMIN_TOKEN;
use super::{Answer, Connection, Post};
use crate::eventually::{eventually, eventually_within};

/// A bridge in a process of its own; dropping it kills it.
pub struct Bridge {
    child: Child,
    pub ingress: SocketAddr,
    pub admin: SocketAddr,
    /// The listener for metrics and health alone, where there is one.
    pub metrics_listener: Option<SocketAddr>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Bridge {
    /// Starts it and returns once it says that it is ready.
    pub async fn start(config: &Path) -> Self {
        Self::start_as(Program::Released, config).await
    }

    /// Starts a program that may have a bug on purpose.
    pub async fn start_as(program: Program, config: &Path) -> Self {
        Self::start_by(program.command(), config).await
    }

    /// The same through a command that becomes the bridge, such as `unshare`: in a world of its own.
    pub async fn start_through(command: &[impl AsRef<OsStr>], config: &Path) -> Self {
        let mut through = Command::new(&command[0]);
        through.args(&command[1..]).arg(program::RELEASED);
        Self::start_by(through, config).await
    }

    /// The same by a command to which only its arguments are missing.
    pub async fn start_by(command: Command, config: &Path) -> Self {
        let mut bridge = Self::launch_as(command, config);
        bridge.ready().await;
        bridge
    }

    /// Starts it, and does not wait for anything: it has no addresses yet.
    pub fn launch(config: &Path) -> Self {
        Self::launch_as(Program::Released.command(), config)
    }

    /// Launches it by a command to which only its arguments are missing.
    pub fn launch_as(mut command: Command, config: &Path) -> Self {
        let mut child = command
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let sink = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.lock().expect("no panic inside").push(line);
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            child,
            ingress: nowhere,
            admin: nowhere,
            metrics_listener: None,
            log,
        }
    }

    /// Waits until it says that it is ready, and where.
    async fn ready(&mut self) {
        let ready = eventually("the bridge is ready", async || {
            let ended = self.child.try_wait().expect("a child of ours");
            assert!(ended.is_none(), "the bridge ended at once: {ended:?}");
            self.said("the bridge is ready")
        })
        .await;
        let address = |key: &str| {
            let text = ready[key].as_str()?;
            Some(text.parse().expect("an address"))
        };
        let logged = |key: &str| address(key).expect("logged");
        (self.ingress, self.admin) = (logged("ingress"), logged("admin"));
        self.metrics_listener = address("metrics");
    }

    /// The first log line with this message, as JSON.
    pub fn said(&self, message: &str) -> Option<Value> {
        let log = self.log.lock().expect("no panic inside");
        log.iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|line| {
                line["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(message))
            })
    }

    /// The whole log.
    pub fn log(&self) -> String {
        self.log.lock().expect("no panic inside").join("\n")
    }

    /// From now on no file may grow beyond so many bytes: with 0, no file can be written, as on a
    /// disk that has failed. Without a number, all is well again.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        // The soft limit alone, which its owner may raise again.
        let status = Command::new("prlimit")
            .args(["--pid", &self.pid().to_string()])
            .arg(format!("--fsize={limit}:"))
            .status()
            .expect("prlimit is there");
        assert!(status.success(), "the bridge is gone");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The memory it has resident now, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most memory it has had resident so far, in bytes, as the kernel counts it.
    pub fn peak_memory_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the bridge is there");
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|line| line.split_whitespace().next());
        kib.expect("it is there").parse::<u64>().expect("a number") * 1024
    }

    /// The processor time it has taken so far. The metric of that name counts whole seconds.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        let stat = stat.expect("the bridge is there");
        // The fields are counted from behind the name, which may hold anything.
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        let ticks = fields.split(' ').skip(11).take(2);
        let ticks: u64 = ticks
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum();
        // Linux shows a hundredth of a second to every program, whatever it counts in itself.
        Duration::from_millis(ticks * 10)
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.pid().to_string()])
            .status()
            .expect("kill is there");
        assert!(status.success(), "the bridge is gone");
    }

    /// Sends `SIGHUP` and waits until the log says once more how that went.
    ///
    /// # Panics
    /// When it went otherwise.
    pub async fn reload(&self, worked: bool) {
        // Also where nothing new was found.
        let outcome = if worked {
            "is in force"
        } else {
            "the old one stays"
        };
        let said = || self.log().matches(outcome).count();
        let before = said();
        self.signal("HUP");
        eventually(outcome, async || (said() > before).then_some(())).await;
        let shown = f64::from(u8::from(worked));
        self.shows("config_last_reload_successful", &[], shown)
            .await;
    }

    /// `kill -9`, and the process is gone when this returns.
    pub fn kill(mut self) {
        self.child.kill().expect("ours to kill");
        self.child.wait().expect("ours to wait for");
    }

    /// How it has ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours")
    }

    /// Waits for the end that a signal has asked for.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually("the bridge stops", async || {
            self.child.try_wait().expect("a child of ours")
        })
        .await
    }

    /// `SIGTERM`, and asserts that the bridge stops well.
    pub async fn stop(mut self) {
        self.signal("TERM");
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// Sends one delivery on a connection of its own.
    pub async fn post(&self, post: &Post) -> Answer {
        post.to(self.ingress).await.expect("the bridge answers")
    }

    /// Sends one signed delivery and returns its id; asserts that it was accepted as new.
    pub async fn accepted(&self, source: &str, body: impl Into<Vec<u8>>) -> String {
        let answer = self.post(&Post::signed(source, body)).await;
        assert_eq!(
            (answer.status, answer.outcome()),
            (200, "accepted".to_owned()),
            "{answer:?}"
        );
        answer.id()
    }

    /// Asks the operators' listener.
    pub async fn ask(&self, path: &str) -> Answer {
        let mut connection = Connection::open(self.admin)
            .await
            .expect("the listener is there");
        let request = self.operators_request("GET", path);
        connection.send(request.as_bytes()).await.expect("sent");
        connection
            .answer()
            .await
            .expect("readable")
            .expect("answered")
    }

    /// A request to the operators' listener as the commands make it, without a body.
    pub fn operators_request(&self, method: &str, path: &str) -> String {
        let host = self.admin;
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n\
             x-hookferry-request: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )
    }

    /// One scrape.
    pub async fn metrics(&self) -> Metrics {
        let answer = self.ask("/metrics").await;
        assert_eq!(answer.status, 200);
        Metrics::parse(&answer.text())
    }

    /// Waits until a sum over a metric's series is at least `least`.
    pub async fn counts(&self, name: &str, labels: &[(&str, &str)], least: f64) {
        let what = format!("{name}{labels:?} reaches {least}");
        eventually(&what, async || {
            (self.metrics().await.sum(name, labels) >= least).then_some(())
        })
        .await;
    }

    /// Waits until the metric is exactly `value`.
    pub async fn shows(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name}{labels:?} becomes {value}");
        eventually(&what, async || {
            // The values are whole numbers.
            let seen = self.metrics().await.sum(name, labels);
            ((seen - value).abs() < f64::EPSILON).then_some(())
        })
        .await;
    }

    /// Waits until nothing is left to deliver.
    pub async fn drained(&self) {
        self.shows("spool_events", &[], 0.0).await;
    }

    /// The same for what takes its time.
    pub async fn drained_within(&self, patience: Duration) {
        eventually_within(patience, "nothing is left to deliver", async || {
            let waiting = self.metrics().await.sum("spool_events", &[]);
            (waiting < 0.5).then_some(())
        })
        .await;
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the log of bridge {}:\n{}", self.pid(), self.log());
        }
    }
}
