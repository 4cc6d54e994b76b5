//! The bridge as it is shipped, in a folder of its own, and what it says of itself.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::delivery::{SECRET, SOURCE};
use crate::usage::Usage;
use crate::viewers::Viewers;

/// The first sink's name, whatever it is: what was spooled for one is delivered by the next.
const SINK: &str = "out";
/// The name of a second one, which is away.
const SECOND: &str = "away";
/// How long a bridge may take for whatever is waited for.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often it is looked at; each look costs it a scrape.
const LOOK: Duration = Duration::from_millis(200);
/// What it uses less of in this time, in seconds of processor time, is no work.
const REST: (Duration, f64) = (Duration::from_secs(1), 0.05);
/// Events of a page of the spool: as many as there can be.
const PAGE: usize = 1000;

/// Where a bridge delivers to.
#[derive(Debug, Clone)]
pub enum Sink {
    /// The store, in the bridge's own folder.
    Store,
    /// A Kafka.
    Kafka {
        /// Its brokers.
        brokers: String,
        /// Partitions of the topics that are created.
        partitions: i32,
    },
    /// A RabbitMQ.
    RabbitMq {
        /// Its URL.
        url: String,
        /// The exchange, which is there already.
        exchange: String,
    },
    /// A broker that is away.
    Nowhere,
}

impl Sink {
    fn keys(&self, folder: &Path) -> String {
        match self {
            Self::Store => format!("type = \"store\"\npath = {:?}\n", folder.join("topics")),
            Self::Kafka {
                brokers,
                partitions,
            } => format!(
                "type = \"kafka\"\nbrokers = \"{brokers}\"\ncreate_topics = {{ partitions = {partitions}, replication = 1 }}\n"
            ),
            Self::RabbitMq { url, exchange } => {
                format!("type = \"rabbitmq\"\nurl = \"{url}\"\nexchange = \"{exchange}\"\n")
            }
            // Nobody listens on port 1.
            Self::Nowhere => "type = \"kafka\"\nbrokers = \"127.0.0.1:1\"\n".to_owned(),
        }
    }
}

/// A folder for a bridge, which outlives it; removed when it is dropped.
#[derive(Debug)]
pub struct Home {
    folder: PathBuf,
}

impl Home {
    /// An empty folder of this name, on the disk that the build is on.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}"));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("secret"), SECRET)?;
        Ok(Self { folder })
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The spool's index of ids.
    pub fn ids(&self) -> PathBuf {
        self.spool().join("ids.db")
    }

    fn spool(&self) -> PathBuf {
        self.file("spool")
    }

    fn configure(
        &self,
        sinks: &[(&str, &Sink)],
        (public, admin): (SocketAddr, SocketAddr),
    ) -> anyhow::Result<PathBuf> {
        let (spool, secret) = (self.spool(), self.file("secret"));
        let names: Vec<&str> = sinks.iter().map(|(name, _)| *name).collect();
        let mut text = format!(
            "[ingress]\nlisten = \"{public}\"\n[admin]\nlisten = \"{admin}\"\n\
             [spool]\npath = {spool:?}\nmax_events = 4000000\nmax_size = \"8GiB\"\n\
             [source.{SOURCE}]\nprovider = \"onecodex\"\nsecrets = [{{ file = {secret:?} }}]\n\
             [[route]]\nsource = \"{SOURCE}\"\nsinks = {names:?}\n"
        );
        for (name, sink) in sinks {
            let _ = write!(text, "[sink.{name}]\n{}", sink.keys(&self.folder));
        }
        let path = self.file("hookferry.toml");
        fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What is left is replaced by the next run.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A running bridge.
#[derive(Debug)]
pub struct Bridge {
    process: Child,
    /// Its public listener.
    pub address: SocketAddr,
    admin: SocketAddr,
    /// From its start until it was ready.
    pub ready_after: Duration,
}

impl Bridge {
    /// Starts it with one sink and returns once it is ready.
    pub fn start(home: &Home, sink: &Sink) -> anyhow::Result<Self> {
        Self::with(home, &[(SINK, sink)])
    }

    /// Starts it with a second sink, which is away, and returns once it is ready.
    pub fn start_with_one_away(home: &Home, sink: &Sink) -> anyhow::Result<Self> {
        Self::with(home, &[(SINK, sink), (SECOND, &Sink::Nowhere)])
    }

    fn with(home: &Home, sinks: &[(&str, &Sink)]) -> anyhow::Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let configuration = home.configure(sinks, (address, admin))?;
        let log = fs::File::create(home.file("log"))?;
        let begun = Instant::now();
        let process = Command::new(env!("CARGO_BIN_EXE_hookferry"))
            .args(["serve", "--config"])
            .arg(configuration)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("the bridge")?;
        let mut bridge = Self {
            process,
            address,
            admin,
            ready_after: Duration::ZERO,
        };
        until(Duration::from_millis(1), || {
            Ok(bridge.get("/readyz").is_ok())
        })?;
        bridge.ready_after = begun.elapsed();
        Ok(bridge)
    }

    /// What it has used.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.process.id())
    }

    /// The sum of a metric's series, such as `events_delivered_total`, or the one with these labels.
    pub fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.get("/metrics")?;
        let value = |line: &str| {
            let rest = line.strip_prefix("hookferry_")?.strip_prefix(name)?;
            let is_name = rest.starts_with(['{', ' ']);
            is_name.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        };
        Ok(text.lines().filter_map(value).sum())
    }

    /// Waits until at most so many events wait for the first sink.
    pub fn drain_to(&self, events: f64) -> anyhow::Result<()> {
        let waiting = format!("spool_events{{sink=\"{SINK}\"}}");
        until(LOOK, || Ok(self.metric(&waiting)? <= events))
    }

    /// Waits until it has nothing more to do: such as the ids that go into the index behind the
    /// answers.
    pub fn rest(&self) -> anyhow::Result<()> {
        let (pause, least) = REST;
        let mut before = f64::NEG_INFINITY;
        until(pause, || {
            let now = self.usage()?.cpu_seconds;
            let used = now - before;
            before = now;
            Ok(used < least)
        })
    }

    /// Looks at the spool as operators and their tools do: the numbers, and the page of what waits
    /// after a sequence. Returns the last sequence of that page, or 0 behind the end.
    pub fn look(&self, after: u64) -> anyhow::Result<u64> {
        self.get("/metrics")?;
        self.get("/spool")?;
        let page = self.get(&format!("/spool/events?after={after}&limit={PAGE}"))?;
        let page: serde_json::Value = serde_json::from_str(&page)?;
        let events = page.as_array().context("a list of events")?;
        let last = events.last().and_then(|last| last["sequence"].as_u64());
        Ok(last.unwrap_or_default())
    }

    /// People who look at its page.
    pub fn viewers(&self, count: usize) -> anyhow::Result<Viewers> {
        Viewers::of(self.admin, count)
    }

    /// Waits until so many events have been delivered.
    pub fn deliver(&self, events: f64) -> anyhow::Result<()> {
        until(
            LOOK,
            || Ok(self.metric("events_delivered_total")? >= events),
        )
    }

    /// Stops it, as an operator does.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.process.wait()?;
        Ok(())
    }

    fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut answer = ureq::get(format!("http://{}{path}", self.admin)).call()?;
        Ok(answer.body_mut().read_to_string()?)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Looks every so often whether it is so by now.
fn until(pause: Duration, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !is_so()? {
        anyhow::ensure!(
            begun.elapsed() < PATIENCE,
            "waited in vain for {PATIENCE:?}"
        );
        std::thread::sleep(pause);
    }
    Ok(())
}
