//! What the provider could not deliver is fetched from its own record of events, and goes the way that
//! a delivery goes.

mod check;
mod command;
mod copies;
mod faults;
mod github;
mod missed;
mod oracle;
mod pages;
mod schedule;
mod way;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::eventually::{eventually, eventually_within};
use crate::harness::delivery::event_at;
use crate::harness::events_api::{KEY, Recorded, Row};
use crate::harness::{Bridge, EventsApi, Outlet, Seen, Setup};

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;
/// A request is tried five times, with seconds in between.
const PATIENCE: Duration = Duration::from_secs(90);

/// A bridge whose source recovers from a provider's API.
pub struct RecoverySetup {
    pub setup: Setup,
    pub api: EventsApi,
    keys: BTreeMap<&'static str, String>,
}

impl RecoverySetup {
    /// A bridge to the store that looks every second, whatever the age of an event.
    pub async fn store() -> Self {
        Self::of(Setup::store(), EventsApi::start().await)
    }

    /// The same of any setup and API.
    pub fn of(setup: Setup, api: EventsApi) -> Self {
        let key = setup.path("key");
        std::fs::write(&key, format!("{KEY}\n")).expect("writable");
        let keys = BTreeMap::from([
            ("key", format!("{{ file = {key:?} }}")),
            ("url", format!("{:?}", api.url())),
            ("ca_file", format!("{:?}", api.ca_file())),
            ("every", "\"1s\"".to_owned()),
            ("younger_than", "\"0s\"".to_owned()),
        ]);
        let setup = setup.top("duplicate_window = \"30d\"");
        Self { setup, api, keys }.rendered()
    }

    /// The same with this value, as TOML, of a key.
    pub fn with(mut self, key: &'static str, value: &str) -> Self {
        self.keys.insert(key, value.to_owned());
        self.rendered()
    }

    /// The same without a key.
    pub fn without(mut self, key: &str) -> Self {
        self.keys.remove(key);
        self.rendered()
    }

    /// The same, asking another API.
    pub fn asking(mut self, api: EventsApi) -> Self {
        self.api = api;
        let (url, ca_file) = (self.api.url(), self.api.ca_file());
        self.with("url", &format!("{url:?}"))
            .with("ca_file", &format!("{ca_file:?}"))
    }

    fn rendered(mut self) -> Self {
        let keys = self.keys.iter();
        let keys: String = keys.map(|(key, it)| format!("{key} = {it}\n")).collect();
        self.setup.source_keys = format!("[source.{}.recovery]\n{keys}", self.source());
        self
    }

    pub fn source(&self) -> &str {
        &self.setup.source
    }

    /// The key's file.
    pub fn key(&self) -> PathBuf {
        self.setup.path("key")
    }

    pub async fn start(&self) -> Bridge {
        self.setup.start().await
    }

    /// Has a spool, which only a bridge makes, before anything is on the record.
    pub async fn with_spool(self) -> Self {
        self.start().await.stop().await;
        self.api.records_anew();
        self
    }

    /// Waits until so many runs have ended in this way.
    pub async fn ends(&self, bridge: &Bridge, result: &str, least: f64) {
        let labels = [("source", self.source()), ("result", result)];
        let what = format!("{least} runs end as {result}");
        eventually_within(PATIENCE, &what, async || {
            let metrics = bridge.metrics().await;
            (metrics.sum("backfill_runs_total", &labels) >= least).then_some(())
        })
        .await;
    }

    /// Waits for a run that began after this was called, and has completed.
    pub async fn looks_again(&self, bridge: &Bridge) {
        let labels = [("source", self.source()), ("result", "completed")];
        let metrics = bridge.metrics().await;
        let before = metrics.sum("backfill_runs_total", &labels);
        // The first of them may have been under way.
        self.ends(bridge, "completed", before + 2.0).await;
    }

    /// How many events were found to be so.
    pub async fn found(&self, bridge: &Bridge, result: &str) -> f64 {
        let labels = [("source", self.source()), ("result", result)];
        let metrics = bridge.metrics().await;
        metrics.sum("backfill_events_total", &labels)
    }

    /// Waits until at least so many were.
    pub async fn finds(&self, bridge: &Bridge, result: &str, least: f64) {
        let what = format!("{least} events are {result}");
        eventually_within(PATIENCE, &what, async || {
            (self.found(bridge, result).await >= least).then_some(())
        })
        .await;
    }

    /// Waits until so many messages are on the topics of the store, and asserts that there are no
    /// more.
    pub async fn published(&self, bridge: &Bridge, count: usize) -> Vec<Seen> {
        published(bridge, self.source(), count).await
    }

    /// What was asked was asked politely, and the key is in no line of the log.
    pub fn assert_polite(&self, bridge: &Bridge) {
        self.api.assert_polite();
        assert_keeps_the_key(bridge);
    }
}

/// A bridge that has looked for everything, when nothing was there, and looks no more for an hour.
pub async fn idle() -> (RecoverySetup, Bridge) {
    let recovery = RecoverySetup::store().await;
    let bridge = recovery.start().await;
    is_audited(&recovery).await;
    recovery.looks_again(&bridge).await;
    bridge.stop().await;
    let recovery = recovery.with("every", "\"1h\"");
    let bridge = recovery.start().await;
    recovery.ends(&bridge, "completed", 1.0).await;
    (recovery, bridge)
}

/// Waits until events of every status were asked for.
pub async fn is_audited(recovery: &RecoverySetup) {
    eventually("an audit is made", async || {
        let recorded = recovery.api.recorded();
        recorded.iter().any(Recorded::is_of_all).then_some(())
    })
    .await;
}

/// See [`RecoverySetup::published`].
pub async fn published(bridge: &Bridge, source: &str, count: usize) -> Vec<Seen> {
    let what = format!("{count} messages are on the topics");
    eventually_within(PATIENCE, &what, async || {
        let seen = Outlet::Store.read(bridge, source).await;
        (seen.len() >= count).then_some(())
    })
    .await;
    bridge.drained().await;
    let seen = Outlet::Store.read(bridge, source).await;
    assert_eq!(seen.len(), count, "{seen:?}");
    seen
}

/// The key is in no line of the log, nor what it looks like as a user's name.
pub fn assert_keeps_the_key(bridge: &Bridge) {
    use base64::Engine as _;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{KEY}:"));
    let log = bridge.log();
    assert!(!log.contains(KEY) && !log.contains(&basic), "{log}");
}

/// The time so many seconds ago.
pub fn ago(seconds: i64) -> String {
    (Timestamp::now() - SignedDuration::from_secs(seconds)).to_string()
}

/// The body of an event of so many seconds ago.
pub fn missed(object: &str, seconds: i64, number: usize) -> String {
    event_at("sample.uploaded", object, &ago(seconds), number)
}

/// Failed events of so many objects, of an hour ago.
pub fn failed(count: usize) -> Vec<Row> {
    let row = |number: usize| Row::object(&missed(&format!("missed{number}"), HOUR, number));
    (0..count).map(row).collect()
}

/// Failed events that are older than a day.
pub fn old(count: usize) -> Vec<Row> {
    let row = |number: usize| Row::object(&missed("old", 2 * DAY, number));
    (0..count).map(row).collect()
}

/// The bodies, sorted.
pub fn bodies(seen: &[Seen]) -> Vec<&[u8]> {
    let mut bodies: Vec<&[u8]> = seen.iter().map(|one| one.body.as_slice()).collect();
    bodies.sort_unstable();
    bodies
}

/// The bodies of these rows, sorted.
pub fn bodies_of(rows: &[Row]) -> Vec<&[u8]> {
    let mut bodies: Vec<&[u8]> = rows.iter().map(Row::body).collect();
    bodies.sort_unstable();
    bodies
}

/// It was fetched, and nobody signed it.
pub fn assert_backfilled(seen: &Seen) {
    assert_eq!(seen.header("hookferry-origin"), "backfill", "{seen:?}");
    assert!(
        !seen.headers.contains_key("hookferry-signature"),
        "{seen:?}"
    );
}

/// It was delivered, and its signature came with it.
pub fn assert_delivered(seen: &Seen) {
    assert_eq!(seen.header("hookferry-origin"), "webhook", "{seen:?}");
    assert!(!seen.header("hookferry-signature").is_empty(), "{seen:?}");
}

/// Waits until a line of the log says this of the source, at this level.
pub async fn says(bridge: &Bridge, source: &str, level: &str) {
    eventually(&format!("the log has a {level} of {source}"), async || {
        (lines(bridge, source, level) > 0).then_some(())
    })
    .await;
}

/// How many lines there are of the source at this level.
pub fn lines(bridge: &Bridge, source: &str, level: &str) -> usize {
    let level = format!("\"level\":\"{level}\"");
    let log = bridge.log();
    let of_it = log.lines();
    of_it
        .filter(|line| line.contains(&level) && line.contains(source))
        .count()
}
